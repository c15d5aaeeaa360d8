"""A client that does not read. With drain, the writer waits; without it, the bytes pile up in this process."""
import asyncio
import socket
import sys


async def converse(_, writer):
    for _ in range(100):
        writer.write(bytes(1_000_000))
        if "drain" in sys.argv:
            await writer.drain()


async def main():
    server = await asyncio.start_server(lambda *streams: tasks.append((asyncio.ensure_future(converse(*streams)), *streams)),
                                        "127.0.0.1", 0)
    silent = socket.create_connection(server.sockets[0].getsockname())
    await asyncio.sleep(1)
    print(f"{tasks[0][2].transport.get_write_buffer_size() / 1e6:.0f} MB wait in this process")
    silent.close()


tasks = []
asyncio.run(main())
