"""/slow says how it ends: its delay is over, or it was cancelled. Run by tests/bench/leaving.py, as leaving:NAME

  app      FastAPI. WAY=def makes /slow a plain def, and WAY=stream a stream; MIDDLEWARE=1 adds a middleware that does
           nothing
  flask    Flask, with time.sleep
  PORT     (python3 leaving.py PORT) asyncio alone, with its streams"""
import asyncio
import os
import sys
import time

DELAY = float(os.environ.get("DELAY", "10"))
TEXT = "That was slow!"


def say(how):
    print(f"/slow {how}", flush=True)


def sleep_in_a_thread():
    time.sleep(DELAY)
    say("is over")
    return TEXT


async def sleep():
    try:
        await asyncio.sleep(DELAY)
        say("is over")
    except asyncio.CancelledError:
        say("is cancelled")
        raise
    return TEXT


async def stream():
    yield await sleep()


# ---- asyncio alone

async def converse(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    body = await sleep() if head.startswith(b"GET /slow") else "That was fast!"
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body.encode())
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(converse, "127.0.0.1", int(sys.argv[1]))
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())


# ---- frameworks

def __getattr__(name):
    """Import only the framework that is asked for."""
    return {"app": make_fastapi, "flask": make_flask}[name]()


def make_fastapi():
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse, StreamingResponse
    app = FastAPI(openapi_url=None)
    slow = {"def": sleep_in_a_thread, "stream": lambda: StreamingResponse(stream())}.get(os.environ.get("WAY"), sleep)
    app.get("/slow", response_class=PlainTextResponse)(slow)
    app.get("/fast", response_class=PlainTextResponse)(lambda: "That was fast!")
    if os.environ.get("MIDDLEWARE"):
        @app.middleware("http")
        async def pass_on(request, call_next):
            return await call_next(request)
    return app


def make_flask():
    from flask import Flask
    app = Flask(__name__)
    app.add_url_rule("/slow", view_func=sleep_in_a_thread)
    app.add_url_rule("/fast", "fast", lambda: "That was fast!")
    return app
