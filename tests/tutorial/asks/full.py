"""Five clients ask simultaneously for work of a second, and one worker does it. A queue with room for two refuses the
others with 503. With the argument "unbounded", all wait."""
import asyncio
import sys
import time

ROOM = 0 if "unbounded" in sys.argv else 2  # 0: any number


async def worker(jobs):
    while True:
        done = await jobs.get()
        await asyncio.sleep(1)
        done.set_result("200")


async def ask(jobs):
    begun, done = time.monotonic(), asyncio.get_running_loop().create_future()
    try:
        jobs.put_nowait(done)
        status = await done
    except asyncio.QueueFull:
        status = "503"
    return f"{status} after {time.monotonic() - begun:.0f} s"


async def main():
    jobs = asyncio.Queue(ROOM)
    working = asyncio.create_task(worker(jobs))  # a variable keeps it
    print(", ".join(await asyncio.gather(*(ask(jobs) for _ in range(5)))))
    working.cancel()


asyncio.run(main())
