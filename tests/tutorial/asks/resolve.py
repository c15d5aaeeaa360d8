"""In which thread does asyncio look up a name? (The look-up itself is replaced: this needs no network.)"""
import asyncio
import socket
import threading


def look_up(*_, **__):
    return [("looked up in", threading.current_thread().name)]


async def main():
    print(await asyncio.get_running_loop().getaddrinfo("example.org", 80))


socket.getaddrinfo = look_up
asyncio.run(main())
