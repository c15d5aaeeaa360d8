"""A task that waits for a future, and nobody holds either: the garbage collector takes both."""
import asyncio
import gc


async def wait_for_nobody():
    await asyncio.get_running_loop().create_future()


async def main():
    asyncio.ensure_future(wait_for_nobody())  # nobody keeps the task
    await asyncio.sleep(0)
    print("tasks before:", len(asyncio.all_tasks()))
    gc.collect()
    print("tasks after: ", len(asyncio.all_tasks()))


asyncio.run(main())
