"""A long way to a libvirtd: far_away.py SOCKET LIBVIRTDS_SOCKET SECONDS carries every byte that much later, both ways.

A process of its own: an agent looks for libvirtd behind the sockets of its own process.
"""

import asyncio
import sys


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(65536):
        loop.call_later(seconds, writer.write, data)
    loop.call_later(seconds, writer.close)


async def main(path: str, far_path: str, seconds: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(far_path)
        await asyncio.gather(carry(reader, far_writer, seconds), carry(far_reader, writer, seconds))

    server = await asyncio.start_unix_server(accept, path)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
