"""Ways to be slow for a second in FastAPI, for the tutorial: uvicorn --app-dir tests/tutorial slow_ways:app"""
import asyncio
import faulthandler
import os
import signal
import time

from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI(openapi_url=None, default_response_class=PlainTextResponse)
faulthandler.register(signal.SIGUSR1, all_threads=False)  # kill -USR1: print the line that the main thread is at


def compute():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass


async def blocking_coroutine():
    time.sleep(1)


@app.get("/fast")
async def fast():
    return "fast"


@app.get("/await")
async def awaits():
    await asyncio.sleep(1)
    return "awaited"


@app.get("/mistake")
async def mistake():
    time.sleep(1)
    return "blocked the loop"


@app.get("/plain")
def plain():
    time.sleep(1)
    return "blocked a thread"


@app.get("/to-thread")
async def to_thread():
    await asyncio.to_thread(time.sleep, 1)
    return "blocked a thread"


@app.get("/compute")
async def compute_in_loop():
    compute()
    return "computed in the loop"


@app.get("/compute-in-thread")
def compute_in_thread():
    compute()
    return "computed in a thread"


@app.get("/later")
async def later(tasks: BackgroundTasks):
    tasks.add_task(blocking_coroutine)
    return "blocks the loop later"


@app.get("/later-in-thread")
async def later_in_thread(tasks: BackgroundTasks):
    tasks.add_task(time.sleep, 1)
    return "blocks a thread later"


@app.get("/pid")
async def pid():
    return str(os.getpid())


@app.get("/report")
async def report():
    await asyncio.sleep(1)
    print("the report is finished", flush=True)
    return "finished"


def plain_dependency():
    pass  # it is a plain def, so it takes a thread of the pool


@app.get("/depends", dependencies=[Depends(plain_dependency)])
async def depends():
    return "fast, as soon as there was a thread"
