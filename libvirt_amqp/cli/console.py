"""`libvirt-amqp console`: a guest's serial console or a channel, here in the terminal."""

import asyncio
import contextlib
import os
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any

import click

from libvirt_amqp.cli import broker_again, run
from libvirt_amqp.cli.objects import resolve
from libvirt_amqp.client import connect
from libvirt_amqp.streams import Stream, open_stream

ESCAPE = b"\x1d"
"""Ctrl-], as in virsh."""
FORCE = 1
"""VIR_DOMAIN_CONSOLE_FORCE, VIR_DOMAIN_CHANNEL_FORCE."""


@click.command("console")
@click.argument("host")
@click.argument("domain")
@click.option("--device", help="The alias of a console, serial or parallel device [default: the first console].")
@click.option("--channel", help="The name of a channel, instead of a console.")
@click.option("--force", is_flag=True, help="Take it from whoever has it open.")
@broker_again
@click.pass_obj
def command(broker: str, host: str, domain: str, device: str | None, channel: str | None, *, force: bool) -> None:  # noqa: PLR0913
    """Talk to DOMAIN (name, uuid or id) of HOST, `any` for whichever host has it, on its serial console.

    Ctrl-] ends it.  Where the input is no terminal, it is sent and the answer is shown until the guest ends.
    """
    flags = FORCE if force else 0
    if channel is not None:
        method, params = "virDomainOpenChannel", {"name": channel, "flags": flags}
    else:
        method, params = "virDomainOpenConsole", {"dev_name": device, "flags": flags}
    run(_talk(broker, host, domain, method, params))


async def _talk(broker: str, host: str, domain: str, method: str, params: dict[str, Any]) -> None:
    async with connect(broker, "libvirt-amqp console") as client:
        address = await resolve(client, host, f"domain/{domain}")
        async with await open_stream(client, address, method, params) as stream:
            with _raw_terminal():
                await _both_ways(stream)


async def _both_ways(stream: Stream) -> None:
    """Until the guest ends or Ctrl-] is typed."""
    tasks = {asyncio.create_task(_show(stream)), asyncio.create_task(_send(stream))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _show(stream: Stream) -> None:
    async for piece in stream:
        await _print(piece)


async def _print(piece: bytes) -> None:
    """Print in a thread that nobody waits for at the end: a terminal stopped by Ctrl-S must stop nothing else."""
    loop = asyncio.get_running_loop()
    printed = asyncio.Event()
    failed: list[OSError] = []

    def write() -> None:
        try:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except OSError as error:
            failed.append(error)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(printed.set)

    threading.Thread(target=write, daemon=True).start()
    await printed.wait()
    if failed:
        raise failed[0]


async def _send(stream: Stream) -> None:
    """Send what is typed; the end of a file is not the end of the conversation."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    descriptor = sys.stdin.fileno()

    def ready() -> None:
        data = os.read(descriptor, 4096)
        typed.put_nowait(data)
        if not data:
            loop.remove_reader(descriptor)

    try:
        loop.add_reader(descriptor, ready)
    except PermissionError:  # a file cannot be waited for
        typed.put_nowait(sys.stdin.buffer.read())
    try:
        while True:
            data = await typed.get()
            if ESCAPE in data and sys.stdin.isatty():
                return
            if not data:
                await asyncio.get_running_loop().create_future()
            await stream.write(data)
            await stream.flush()
    finally:
        loop.remove_reader(descriptor)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Hand every key to the guest, and give the terminal back as it was."""
    if not sys.stdin.isatty():
        yield
        return
    click.echo("Connected; Ctrl-] ends it.\r", err=True)
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
