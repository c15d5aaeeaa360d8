"""Step 2: time. A heap of coroutines that sleep, and a loop that resumes the one that is due next.

In asyncio (base_events.py): call_at puts a timer into the heap _scheduled, and _run_once takes it out."""
import heapq
import itertools
import time

timers = []                  # a heap of (when it is due, a number, the coroutine)
numbers = itertools.count()  # to tell two apart that are due at the same time: coroutines have no order


class Sleep:
    def __init__(self, seconds):
        self.due = time.monotonic() + seconds

    def __await__(self):
        yield self  # send returns this to step, which parks the coroutine

    def park(self, coroutine):
        heapq.heappush(timers, (self.due, next(numbers), coroutine))


def step(coroutine):
    """Run a coroutine to its next await, and park it there."""
    try:
        coroutine.send(None).park(coroutine)
    except StopIteration:  # it has returned
        pass


def run():
    while timers:
        due, _, coroutine = heapq.heappop(timers)
        time.sleep(max(0, due - time.monotonic()))
        step(coroutine)


# ---- what runs on it

async def slow(name, seconds):
    print(name, "begins")
    await Sleep(seconds)
    print(name, "ends")


if __name__ == "__main__":
    begun = time.monotonic()
    for name, seconds in ("a", 1), ("b", 0.9), ("c", 0.8):
        step(slow(name, seconds))
    run()
    print(f"three sleeps in {time.monotonic() - begun:.1f} s")
