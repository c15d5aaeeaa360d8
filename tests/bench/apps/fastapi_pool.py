"""A line that blocks or computes, in FastAPI, and where it is run. WAY in the environment names the route:

  def        /slow is a plain def: FastAPI runs it in a thread of its pool (40; LIMIT sets another number)
  all-def    /fast is a plain def, too
  to_thread  /slow is an async def that awaits asyncio.to_thread
  mistake    /slow is an async def that blocks the loop

WORK=compute has /slow compute instead of sleep."""
import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

try:
    from anyio.to_thread import current_default_thread_limiter
except ImportError:  # FastAPI before 0.69 uses the pool of to_thread
    current_default_thread_limiter = None

DELAY = float(os.environ.get("DELAY", "10"))
WAY = os.environ.get("WAY", "def")
app = FastAPI(openapi_url=None)


def work():
    if os.environ.get("WORK") != "compute":
        time.sleep(DELAY)
        return
    end = time.thread_time() + DELAY
    while time.thread_time() < end:
        pass


@app.on_event("startup")
async def limit_the_pool():
    size = int(os.environ.get("LIMIT", "40"))
    if current_default_thread_limiter:
        current_default_thread_limiter().total_tokens = size
    else:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(size))


async def fast():
    return "That was fast!"


def fast_in_a_thread():
    return "That was fast!"


def slow_in_a_thread():
    work()
    return "That was slow!"


async def slow_in_the_loop():
    work()
    return "That was slow!"


async def slow_with_to_thread():
    await asyncio.to_thread(work)
    return "That was slow!"


SLOW = {"def": slow_in_a_thread, "all-def": slow_in_a_thread, "to_thread": slow_with_to_thread,
        "mistake": slow_in_the_loop}
app.get("/fast", response_class=PlainTextResponse)(fast_in_a_thread if WAY == "all-def" else fast)
app.get("/slow", response_class=PlainTextResponse)(SLOW[WAY])
