"""Step 1: two coroutines, resumed by hand.

A coroutine stops at an `await`, and whoever holds it decides when it goes on. Nothing in this file is a loop: we
are the loop.

In asyncio: Task.__step (tasks.py) calls send; Future.__await__ (futures.py) has the yield."""


class Pause:
    """The smallest thing that can be awaited: `await` runs __await__ until it yields."""

    def __await__(self):
        yield "a pause"  # the coroutine stops here, and send returns this value


async def work(name):
    print(name, "begins")
    await Pause()
    print(name, "goes on")
    await Pause()
    return f"{name} is done"


a, b = work("a"), work("b")  # this runs no line of work: it only makes two frames
print("send returns", a.send(None))
print("send returns", b.send(None))
a.send(None)  # what is sent would be the value of the yield; here, nobody looks at it
b.send(None)
for coroutine in b, a:  # in any order: each frame knows where it stopped
    try:
        coroutine.send(None)
    except StopIteration as end:  # the coroutine has returned, and this is how send says so
        print(end.value)
