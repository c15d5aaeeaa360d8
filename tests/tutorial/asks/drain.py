"""A client that does not read. With drain, the writer waits. Without it, the bytes pile up here."""
import asyncio
import socket
import sys


async def converse(_, writer):
    for _ in range(100):
        writer.write(bytes(1_000_000))
        if "drain" in sys.argv:
            await writer.drain()


def begin(reader, writer):
    conversations.append((asyncio.ensure_future(converse(reader, writer)), writer))


async def main():
    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    silent = socket.create_connection(server.sockets[0].getsockname())
    await asyncio.sleep(1)
    print(f"{conversations[0][1].transport.get_write_buffer_size() / 1e6:.0f} MB wait in this process")
    silent.close()


conversations = []  # the task of each, and its writer
asyncio.run(main())
