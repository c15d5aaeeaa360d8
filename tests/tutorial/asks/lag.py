"""Two alarms for a loop that something blocks: asyncio's own, and a metric of ten lines."""
import asyncio
import logging
import time


async def watch_lag(every=0.1):
    worst = 0.0
    while True:
        due = time.monotonic() + every
        await asyncio.sleep(every)
        lag = time.monotonic() - due
        if lag > worst + 0.05:
            worst = lag
            print(f"the loop was {worst:.1f} s late")


async def mistake():
    time.sleep(0.5)


async def main():
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 0.2  # with debug: log what takes longer
    watching = loop.create_task(watch_lag())
    await asyncio.sleep(0.25)
    await loop.create_task(mistake())
    await asyncio.sleep(0.25)
    watching.cancel()


logging.basicConfig(format="%(message)s")
asyncio.run(main(), debug=True)
