"""The puzzle with async def: one thread, and no client waits for another. With MISTAKE=1 in the
environment, /slow calls time.sleep, and the whole event loop waits."""
import asyncio
import os
import time

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

DELAY = float(os.environ.get("DELAY", "10"))
MISTAKE = "MISTAKE" in os.environ
app = FastAPI(openapi_url=None)


@app.on_event("startup")
async def say_what_runs():
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
    parser = "httptools" if "HttpTools" in AutoHTTPProtocol.__name__ else "h11"
    print(f"loop: {loop}, parser: {parser}", flush=True)


@app.get("/fast", response_class=PlainTextResponse)
async def fast():
    return "That was fast!"


@app.get("/slow", response_class=PlainTextResponse)
async def slow():
    if MISTAKE:
        time.sleep(DELAY)
    else:
        await asyncio.sleep(DELAY)
    return "That was slow!"
