import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEST_UUID, Start
from private_rabbitmq import free_port

from libvirt_amqp.cli.objects import resolve
from libvirt_amqp.client import Client

COMMAND = Path(sys.executable).parent / "libvirt-amqp"


@pytest.fixture(autouse=True)
async def agent(start_agent: Start) -> None:
    await start_agent("h1")


async def cli(url: str, *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [COMMAND, *arguments],
        env=os.environ | {"LIBVIRT_AMQP_BROKER_URL": url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def test_an_object_is_called_by_name_uuid_or_id(broker_url: str) -> None:
    for name in ("test", TEST_UUID, TEST_UUID.upper(), "1"):
        code, out, _ = await cli(broker_url, "call", "h1", f"domain/{name}", "virDomainGetState")
        assert code == 0
        assert json.loads(out)["state"] == 1


async def test_every_uuid_of_an_object_may_be_written_in_upper_case(client: Client) -> None:
    text = f"network-port/{TEST_UUID.upper()}/{TEST_UUID.upper()}"
    assert (await resolve(client, "h1", text)).words == (TEST_UUID, TEST_UUID)


async def test_flags_have_names_and_files_can_be_given(broker_url: str, tmp_path: Path) -> None:
    flags = "flags=VIR_DOMAIN_XML_INACTIVE|VIR_DOMAIN_AFFECT_CURRENT"
    code, out, _ = await cli(broker_url, "call", "--raw", "h1", "domain/test", "virDomainGetXMLDesc", flags)
    assert code == 0
    assert out.startswith("<domain")
    (tmp_path / "net.xml").write_text("<network><name>from-file</name></network>")
    file = f"xml=@{tmp_path / 'net.xml'}"
    assert (await cli(broker_url, "call", "h1", "connect", "virNetworkDefineXML", file))[0] == 0
    assert (await cli(broker_url, "call", "h1", "network/from-file", "virNetworkUndefine"))[0] == 0


async def test_every_failure_has_an_exit_code_and_one_line(broker_url: str) -> None:
    failures = {
        ("call", "h1", "domain/nobody", "virDomainGetInfo"): (1, "VIR_ERR_NO_DOMAIN"),
        ("call", "h1", "domain/test", "virDomainFoo"): (1, "no function"),
        ("call", "h1", "dragon/x", "virDomainGetInfo"): (2, "no class"),
        ("call", "h1", "domain/test", "virDomainGetInfo", "x"): (2, "NAME=VALUE"),
        ("call", "nobody", "connect", "virConnectGetType"): (4, "no agent"),
        ("ping", "nobody"): (4, "no agent"),
        ("--broker", f"amqp://127.0.0.1:{free_port()}/", "ping", "h1"): (3, "127.0.0.1"),
        ("--broker", "nonsense", "ping", "h1"): (3, "amqp://"),
        ("ping", "h1", "--broker", f"amqp://127.0.0.1:{free_port()}/"): (3, "127.0.0.1"),
        ("--broker", "nonsense", "serve"): (2, "amqp://"),
        ("serve", "--broker", "nonsense"): (2, "amqp://"),
        ("watch", "--class", "nwfilter"): (2, "domain"),
        ("watch", "--host", "any"): (2, "no host"),
        ("call", "h1", "domain", "virDomainGetInfo"): (2, "domain/<name, uuid or id>"),
        ("call", "h1", "storage-vol/x", "virStorageVolGetInfo"): (2, "storage-vol/<name or uuid>/<name>"),
        ("--broker", "amqp://u:sekret@x:abc/", "ping", "h1"): (3, "amqp://"),
        ("--broker", f"amqp://{'x' * 64}/", "ping", "h1"): (3, "host that can be looked up"),
        ("--broker", f"amqp://{'x' * 64}/", "serve"): (2, "host that can be looked up"),
    }
    for arguments, (code, says) in failures.items():
        got, _, err = await cli(broker_url, *arguments)
        assert (got, says in err, "Traceback" in err) == (code, True, False), (arguments, err)


async def test_the_broker_can_be_named_behind_the_subcommand_too(broker_url: str) -> None:
    nobody = f"amqp://127.0.0.1:{free_port()}/"
    assert (await cli(nobody, "ping", "h1", "--broker", broker_url))[0] == 0
    assert (await cli(nobody, "--broker", nobody, "ping", "--broker", broker_url, "h1"))[0] == 0


async def test_ping_and_hosts_see_the_agent(broker_url: str) -> None:
    assert (await cli(broker_url, "ping", "h1"))[0] == 0
    code, out, _ = await cli(broker_url, "hosts", "--wait", "2")
    assert code == 0
    assert "h1" in out


async def test_hosts_says_how_often_statistics_come_and_who_is_missing(broker_url: str) -> None:
    code, out, err = await cli(broker_url, "hosts", "h1", "h7", "--wait", "1")
    assert code == 4
    assert "every 0.5 s" in next(line for line in out.splitlines() if line.startswith("h1 "))
    assert "no, never heard" in next(line for line in out.splitlines() if line.startswith("h7 "))
    assert "not alive: h7" in err


async def test_hosts_follows_an_agent_to_its_death(broker_url: str, start_agent: Start) -> None:
    agent = await start_agent("h2")
    process = await asyncio.create_subprocess_exec(
        COMMAND, "--broker", broker_url, "hosts", "--follow", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert " yes " in await line_of(process, "h2")
        await agent.stop()
        assert "no, since" in await asyncio.wait_for(line_of(process, "h2"), 10)
    finally:
        process.terminate()
        await process.wait()


async def line_of(process: asyncio.subprocess.Process, host: str) -> str:
    """Wait for the next row of a host."""
    assert process.stdout is not None
    while not (line := (await process.stdout.readline()).decode()).startswith(f"{host} "):
        assert line, "it has ended"
    return line


async def test_schema_prints_openrpc(broker_url: str) -> None:
    code, out, _ = await cli(broker_url, "schema", "openrpc", "virDomainMigrateToURI3")
    assert code == 0
    assert {p["name"] for p in json.loads(out)["params"]} == {"dconnuri", "params", "flags"}


async def test_watch_shows_what_happens_as_json_lines(broker_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "--broker",
        broker_url,
        "watch",
        "--host",
        "h1",
        "--object",
        "test",
        "--event",
        "lifecycle",
        "--json",
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    reading = asyncio.create_task(process.stdout.readline())
    while not reading.done():
        await cli(broker_url, "call", "h1", "domain/test", "virDomainSuspend")
        await cli(broker_url, "call", "h1", "domain/test", "virDomainResume")
    line = json.loads(reading.result())
    assert line["body"]["type"] == "org.libvirt.domain.lifecycle"
    process.terminate()
    await process.wait()


async def test_an_object_is_found_on_whichever_host_has_it(broker_url: str) -> None:
    for name in ("test", TEST_UUID):
        code, out, _ = await cli(broker_url, "call", "any", f"domain/{name}", "virDomainGetName")
        assert (code, json.loads(out)) == (0, "test")
    code, _, err = await cli(broker_url, "call", "any", "node-device/computer", "virNodeDeviceGetName")
    assert code == 2
    assert "can be found" in err


@pytest.mark.feature("streams: a screenshot becomes a file")
async def test_a_screenshot_becomes_a_file(broker_url: str, tmp_path: Path) -> None:
    code, _, err = await cli(broker_url, "screenshot", "h1", "test", str(tmp_path / "screen.png"))
    assert code == 0
    assert "image/png" in err
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")


async def test_a_call_with_progress_gives_its_result(broker_url: str) -> None:
    code, out, _ = await cli(broker_url, "call", "--progress", "h1", "domain/test", "virDomainGetName")
    assert (code, json.loads(out)) == (0, "test")
