"""Streams on a real libvirtd: volumes up and down, a guest's serial console, and every way in which one can end."""

import asyncio
import base64
import contextlib
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broker.test_processes import COMMAND, Process
from conftest import Start, answering, eventually
from private_libvirtd import PrivateLibvirtd

import app.handlers.streams as rooms_streams
from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from libvirt_amqp.streams import Hole, open_stream
from qemu.conftest import CONNECT, HOST, Qemu

MIB = 1024 * 1024
SPARSE = 1
ECHO = bytes.fromhex("bafd03eca80174fbb2f8eceeb2fdebf3")
"""A boot sector: wait for a byte at the serial port (status in 0x3FD), send it back."""

Volume = Callable[[int], Any]


@pytest.fixture
def new_volume(client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu) -> Volume:
    """Return what makes a volume of a size in a new directory pool, over the bus."""

    async def make(size: int) -> Address:
        await qemu_agent()
        folder = daemon.socket.parent / os.urandom(4).hex()
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        xml = f"<pool type='dir'><name>{folder.name}</name><target><path>{folder}</path></target></pool>"
        pool = Address.of(await client.call(CONNECT, "virStoragePoolCreateXML", {"xmlDesc": xml}))
        xml = f"<volume><name>v</name><capacity>{size}</capacity><allocation>0</allocation></volume>"
        return Address.of(await client.call(pool, "virStorageVolCreateXML", {"xmlDesc": xml}))

    return make


async def test_a_volume_comes_back_as_it_was_sent_and_the_agents_memory_stays_flat(
    client: Client, new_volume: Volume
) -> None:
    size = 256 * MIB
    volume = await new_volume(size)
    sent, came = hashlib.sha256(), hashlib.sha256()
    before, block = _resident(), os.urandom(MIB)
    async with await open_stream(client, volume, "virStorageVolUpload", {"offset": 0, "length": size}) as stream:
        for number in range(size // MIB):
            piece = number.to_bytes(8, "big") + block[8:]
            sent.update(piece)
            await stream.write(piece)
    async with await open_stream(client, volume, "virStorageVolDownload", {"offset": 0, "length": 0}) as stream:
        async for piece in stream:
            came.update(piece)
    assert stream.read_bytes == size
    assert came.hexdigest() == sent.hexdigest()
    assert _resident() - before < 48 * MIB  # agent and client, both in this process


async def test_a_slow_reader_fills_neither_the_agent_nor_the_broker(client: Client, new_volume: Volume) -> None:
    volume = await new_volume(128 * MIB)
    path = Path(await client.call(volume, "virStorageVolGetPath"))
    path.write_bytes(os.urandom(MIB) * 128)
    before = _resident()
    stream = await open_stream(client, volume, "virStorageVolDownload", {"offset": 0, "length": 0})
    async for _ in stream:
        break
    await asyncio.sleep(1)  # time in which a server that pushes would have filled it
    workers = _workers()
    assert _resident() - before < 24 * MIB
    assert all(_resident(worker) < 128 * MIB for worker in workers)
    await stream.abort()
    await eventually(lambda: not set(_workers()) & set(workers))


async def test_a_sparse_volume_keeps_its_holes(client: Client, new_volume: Volume) -> None:
    size = 8 * MIB
    volume = await new_volume(size)
    params = {"offset": 0, "length": size, "flags": SPARSE}
    async with await open_stream(client, volume, "virStorageVolUpload", params) as stream:
        await stream.write(b"a" * MIB)
        await stream.write_hole(6 * MIB)
        await stream.write(b"z" * MIB)
    info = await client.call(volume, "virStorageVolGetInfo")
    assert info["allocation"] < 3 * MIB
    async with await open_stream(client, volume, "virStorageVolDownload", params | {"length": 0}) as stream:
        parts = [part async for part in stream.sparse()]
    data = b"".join(part for part in parts if isinstance(part, bytes))
    assert data == b"a" * MIB + b"z" * MIB
    assert [part for part in parts if isinstance(part, Hole)] == [Hole(6 * MIB)]
    async with await open_stream(client, volume, "virStorageVolDownload", params | {"length": 0}) as stream:
        whole = b"".join([piece async for piece in stream])
    assert whole == b"a" * MIB + bytes(6 * MIB) + b"z" * MIB


@pytest.fixture
async def echo_guest(client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu) -> Any:
    """Yield the address of a guest that sends back what comes at its serial port."""
    await qemu_agent()
    disk = daemon.socket.parent / f"echo-{os.urandom(4).hex()}.img"
    disk.write_bytes(ECHO.ljust(510, b"\0") + b"\x55\xaa")
    disk.chmod(0o666)
    xml = f"""<domain type='qemu'>
      <name>{disk.stem}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='pc'>hvm</type></os>
      <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
      <devices>
        <disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='hda' bus='ide'/></disk>
        <serial type='pty'/><console type='pty'/><memballoon model='none'/>
      </devices></domain>"""
    guest = Address.of(await client.call(CONNECT, "virDomainCreateXML", {"xmlDesc": xml}))
    yield guest
    with contextlib.suppress(errors.CallError):
        await client.call(guest, "virDomainDestroy")


async def test_a_guest_answers_on_its_serial_console(client: Client, echo_guest: Address) -> None:
    async with await open_stream(client, echo_guest, "virDomainOpenConsole") as stream:
        pieces = aiter(stream)
        assert await _say(stream, pieces, b"hello") == b"hello"
        assert await _say(stream, pieces, b"and again") == b"and again"


async def test_a_console_ends_with_its_guest(client: Client, echo_guest: Address) -> None:
    stream = await open_stream(client, echo_guest, "virDomainOpenConsole")
    pieces = aiter(stream)
    await _say(stream, pieces, b"x")
    await client.call(echo_guest, "virDomainDestroy")
    with contextlib.suppress(errors.LibvirtFailed):  # libvirt calls it an end or an error, by who was quicker
        assert [piece async for piece in pieces] == []
    with pytest.raises(errors.CallError, match=r"ended|closed|failed"):
        await client.call(echo_guest, "virStreamSend", _send(stream, b"y", stream.written_bytes))


async def test_what_came_before_the_end_is_read_and_who_writes_is_told_at_once(
    client: Client, echo_guest: Address
) -> None:
    stream = await open_stream(client, echo_guest, "virDomainOpenConsole")
    await _say(stream, aiter(stream), b"x")
    await client.call(echo_guest, "virStreamSend", _send(stream, b"unread", stream.written_bytes))
    await client.call(echo_guest, "virDomainDestroy")
    with contextlib.suppress(errors.LibvirtFailed, errors.LibvirtLost):  # or 0, if libvirt was quicker
        await client.call(echo_guest, "virStreamFinish", {"stream": stream.token}, timeout=5)


async def test_a_second_console_is_libvirts_own_error(client: Client, echo_guest: Address) -> None:
    async with await open_stream(client, echo_guest, "virDomainOpenConsole"):
        with pytest.raises(errors.LibvirtFailed, match="console"):
            await open_stream(client, echo_guest, "virDomainOpenConsole")


async def test_an_aborted_stream_is_over_on_both_sides(client: Client, echo_guest: Address) -> None:
    stream = await open_stream(client, echo_guest, "virDomainOpenConsole")
    assert _workers()
    await stream.abort()
    await eventually(lambda: not _workers())
    with pytest.raises(errors.CallError, match=r"aborted|no such stream"):
        await client.call(echo_guest, "virStreamRecv", {"stream": stream.token, "nbytes": 1})
    async with await open_stream(client, echo_guest, "virDomainOpenConsole"):
        pass  # libvirt has let go of it, too


async def test_the_stream_of_a_silent_caller_is_aborted(
    client: Client, echo_guest: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_streams, "IDLE_SECONDS", 0.5)
    stream = await open_stream(client, echo_guest, "virDomainOpenConsole")
    await eventually(lambda: not _workers())
    with pytest.raises(errors.Aborted, match="silent"):
        await client.call(echo_guest, "virStreamSend", _send(stream, b"x"))


async def test_a_stream_is_lost_with_libvirt(client: Client, daemon: PrivateLibvirtd, echo_guest: Address) -> None:
    stream = await open_stream(client, echo_guest, "virDomainOpenConsole")
    daemon.kill()
    with pytest.raises(errors.CallError) as raised:
        async for _ in stream:
            pass
    assert isinstance(raised.value, errors.LibvirtLost | errors.LibvirtFailed)
    daemon.start()


async def test_a_killed_agent_leaves_no_worker_behind(
    client: Client, broker_url: str, daemon: PrivateLibvirtd, echo_guest: Address, tmp_path: Path
) -> None:
    process = Process(tmp_path, broker_url, URI=daemon.uri, HOST="p9")
    try:
        await answering(broker_url, "p9")
        await open_stream(client, Address("p9", "domain", echo_guest.words), "virDomainOpenConsole")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert children
        process.signal(signal.SIGKILL)
        await eventually(lambda: not any(Path(f"/proc/{child}/cmdline").exists() for child in children))
    finally:
        process.close()


async def test_an_upload_ends_when_its_agent_is_killed_and_comes_back(
    client: Client, broker_url: str, daemon: PrivateLibvirtd, new_volume: Volume, tmp_path: Path
) -> None:
    volume = Address("p9", "storage-vol", (await new_volume(64 * MIB)).words)
    process = Process(tmp_path, broker_url, URI=daemon.uri, HOST="p9")
    try:
        await answering(broker_url, "p9")
        stream = await open_stream(client, volume, "virStorageVolUpload", {"offset": 0, "length": 64 * MIB})
        await stream.write(bytes(MIB))
        await stream.flush()
        process.signal(signal.SIGKILL)
        await process.exit_code()
        process = Process(tmp_path, broker_url, URI=daemon.uri, HOST="p9")
        await answering(broker_url, "p9", 30)
        with pytest.raises(errors.CallError):
            await asyncio.wait_for(_write_on(stream), 30)
    finally:
        process.close()


async def test_a_finished_stream_is_finished_again_and_its_end_told_to_its_object_only(
    client: Client, new_volume: Volume, guest: Address
) -> None:
    volume = await new_volume(MIB)
    stream = await open_stream(client, volume, "virStorageVolUpload", {"offset": 0, "length": 1})
    await stream.write(b"x")
    await stream.finish()
    assert await client.call(volume, "virStreamFinish", {"stream": stream.token}) == 0
    with pytest.raises(errors.InvalidParams, match="no such stream of this object"):
        await client.call(guest, "virStreamFinish", {"stream": stream.token})


async def test_a_stream_is_not_opened_for_who_could_not_use_it_or_for_two(client: Client, echo_guest: Address) -> None:
    with pytest.raises(errors.InvalidParams, match="belongs to one caller"):
        await client.call(echo_guest, "virDomainOpenConsole", idempotency_key="k")


async def test_a_stream_that_is_not_open_by_its_deadline_is_not_opened(
    client: Client, daemon: PrivateLibvirtd, echo_guest: Address
) -> None:
    daemon.freeze()
    try:
        with pytest.raises(errors.DeadlinePassed):
            await client.call(echo_guest, "virDomainOpenConsole", timeout=1)
    finally:
        daemon.thaw()
    await eventually(lambda: not _workers())


async def test_a_piece_at_a_wrong_offset_is_refused_and_the_right_one_told(client: Client, new_volume: Volume) -> None:
    volume = await new_volume(MIB)
    stream = await open_stream(client, volume, "virStorageVolUpload", {"offset": 0, "length": 6})
    await client.call(volume, "virStreamSend", _send(stream, b"abc"))
    with pytest.raises(errors.InvalidParams, match="at 3, not at 0") as raised:
        await client.call(volume, "virStreamSend", _send(stream, b"abc"))
    assert raised.value.data == {"offset": 3}
    await client.call(volume, "virStreamSend", _send(stream, b"def", 3))
    await client.call(volume, "virStreamFinish", {"stream": stream.token})
    assert Path(await client.call(volume, "virStorageVolGetPath")).read_bytes()[:6] == b"abcdef"


async def test_a_stream_belongs_to_its_object(client: Client, echo_guest: Address, guest: Address) -> None:
    stream = await open_stream(client, echo_guest, "virDomainOpenConsole")
    with pytest.raises(errors.InvalidParams, match="no such stream of this object"):
        await client.call(guest, "virStreamAbort", {"stream": stream.token})
    await stream.abort()


async def test_a_stream_for_one_direction_is_not_used_in_the_other(client: Client, new_volume: Volume) -> None:
    volume = await new_volume(MIB)
    stream = await open_stream(client, volume, "virStorageVolDownload", {"offset": 0, "length": 0})
    with pytest.raises(errors.InvalidParams, match="cannot be written"):
        await client.call(volume, "virStreamSend", _send(stream, b"x"))
    await stream.abort()


async def test_no_more_streams_are_open_than_the_agent_allows(
    client: Client, new_volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_streams, "MOST_STREAMS", 1)
    volume = await new_volume(MIB)
    stream = await open_stream(client, volume, "virStorageVolDownload", {"offset": 0, "length": 0})
    with pytest.raises(errors.Busy, match="1 streams are open"):
        await open_stream(client, volume, "virStorageVolDownload", {"offset": 0, "length": 0})
    await stream.abort()


async def test_the_command_line_carries_volumes_and_consoles(
    broker_url: str, client: Client, new_volume: Volume, tmp_path: Path
) -> None:
    volume = await new_volume(3 * MIB)
    path = Path(await client.call(volume, "virStorageVolGetPath"))
    there = f"{path.parent.name}/v"
    (tmp_path / "up").write_bytes(content := os.urandom(MIB) + bytes(MIB) + os.urandom(MIB))
    await _command(broker_url, "upload", HOST, there, str(tmp_path / "up"))
    assert path.read_bytes() == content
    for option in ("--sparse", "--broker"):
        more = [option] if option == "--sparse" else [option, broker_url]
        await _command(broker_url, "download", *more, HOST, there, str(tmp_path / "down"))
        assert (tmp_path / "down").read_bytes() == content


async def test_the_command_line_talks_to_a_guest(broker_url: str, echo_guest: Address) -> None:
    console = await asyncio.create_subprocess_exec(
        *[COMMAND, "console", HOST, echo_guest.words[0]],
        env=os.environ | {"LIBVIRT_AMQP_BROKER_URL": broker_url},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert console.stdin is not None
    assert console.stdout is not None
    console.stdin.write(b"hello")
    await console.stdin.drain()
    assert await asyncio.wait_for(console.stdout.readexactly(5), 20) == b"hello"
    console.terminate()
    await console.wait()


async def _command(url: str, *arguments: str) -> None:
    environment = os.environ | {"LIBVIRT_AMQP_BROKER_URL": url}
    command = await asyncio.create_subprocess_exec(COMMAND, *arguments, env=environment)
    assert await asyncio.wait_for(command.wait(), 60) == 0


async def test_a_screenshot_of_the_test_driver_is_a_picture(client: Client, start_agent: Start) -> None:
    await start_agent("h1")
    domain = Address.of(await client.call(Address("h1", "connect"), "virDomainLookupByName", {"name": "test"}))
    async with await open_stream(client, domain, "virDomainScreenshot", {"screen": 0}) as stream:
        picture = b"".join([piece async for piece in stream])
    assert stream.result["return"] == "image/png"
    assert picture.startswith(b"\x89PNG")


async def _write_on(stream: Any) -> None:
    while True:
        await stream.write(bytes(MIB))
        await stream.flush()


def _send(stream: Any, data: bytes, offset: int = 0) -> dict[str, Any]:
    return {"stream": stream.token, "offset": offset, "data": {"$base64": base64.b64encode(data).decode()}}


async def _say(stream: Any, pieces: Any, text: bytes) -> bytes:
    """Write to a console and return what the guest says: as much as was written.

    What comes while the firmware sets up the port is lost, so it is said again until the guest has booted.
    """
    heard, piece = b"", None
    for _ in range(10):
        await stream.write(text)
        while len(heard) < len(text):
            piece = piece or asyncio.ensure_future(anext(pieces))
            if not (await asyncio.wait({piece}, timeout=4))[0]:
                heard = b""
                break
            heard, piece = heard + piece.result(), None
        else:
            return heard
    raise AssertionError("the guest says nothing")


def _resident(process: int | str = "self") -> int:
    """Return the resident memory of a process in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _workers() -> list[int]:
    """Return the workers of streams that this process has started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(child) for child in children if b"streams.worker" in _command_line(child)]


def _command_line(process: str) -> bytes:
    """Return nothing of a process that has ended meanwhile."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""
