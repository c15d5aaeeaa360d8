"""Look into a function that waits in an await."""
import asyncio


async def f():
    x = 42
    await asyncio.sleep(0)
    return x


coroutine = f()       # nothing of f has run yet
coroutine.send(None)  # run it to its first await
print("variables:", coroutine.cr_frame.f_locals, " line:", coroutine.cr_frame.f_lineno)
coroutine.close()
