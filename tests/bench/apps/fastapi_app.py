"""The same with async def. MISTAKE=1: with time.sleep in it, which keeps the whole loop waiting."""
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
