"""Commands in a shell beside an agent that is installed as documented: the settings are in its file alone."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import answering
from examined import STRANGER, examine
from installed import Installed
from namespaces import unshare
from private_rabbitmq import free_port
from test_processes import Process

from libvirt_amqp import local


@pytest.fixture
def agent(broker_url: str, tmp_path: Path) -> Iterator[Installed]:
    """Yield an installation whose agent keeps its state where the unit's StateDirectory= is."""
    installed = Installed(tmp_path, broker_url=broker_url, uri="test:///default")
    process = Process(installed.unit, broker_url, log=tmp_path / "log", HOST="u1")
    yield installed
    process.close()


async def test_beside_the_unit_every_command_finds_its_broker_and_its_agent(agent: Installed, broker_url: str) -> None:
    await answering(broker_url, "u1")
    for arguments in (("ping",), ("ping", "--local"), ("hosts", "u1", "--wait", "2")):
        code, said = await agent.run(*arguments)
        assert (code, "u1" in said) == (0, True), (arguments, said)
    code, said = await agent.run("call", "u1", "connect", "virConnectGetHostname")
    assert code == 0, said


async def test_beside_the_unit_the_doctor_knows_its_agent_and_its_state(
    agent: Installed, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await answering(broker_url, "u1")
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    examined = await examine(*agent.prefix)
    assert (examined.code, examined.found["agent"].status) == (0, "ok"), examined
    assert "the agent of this machine serves u1" in examined.found["agent"].text
    assert "u1 (kept in /var/lib/libvirt-amqp)" in examined.found["host"].text
    assert examined.found["state"].text.startswith("/var/lib/libvirt-amqp is writable")


async def test_the_host_and_the_folder_for_state_of_the_file_count(broker_url: str, tmp_path: Path) -> None:
    state = tmp_path / "elsewhere"
    state.mkdir()
    installed = Installed(tmp_path, broker_url=broker_url, host="u2", state_dir=str(state))
    process = Process(state, broker_url, HOST="u2")
    try:
        await answering(broker_url, "u2")
        for arguments in (("ping",), ("ping", "--local")):
            code, said = await installed.run(*arguments)
            assert (code, said.startswith("u2 is alive")) == (0, True), (arguments, said)
    finally:
        process.close()


async def test_an_option_and_the_environment_stand_above_the_file(tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    installed = Installed(tmp_path, broker_url=f"amqp://127.0.0.1:{port}/", host="u3")
    typed = ("--broker", f"amqp://127.0.0.1:{other}/")
    told = ("env", f"LIBVIRT_AMQP_BROKER_URL={typed[1]}")
    said = [await installed.run("ping"), await installed.run(*typed, "ping"), await installed.run("ping", prefix=told)]
    assert [code for code, _ in said] == [3, 3, 3], said
    assert [f":{port}/" in text for _, text in said] == [True, False, False], said
    assert [f":{other}/" in text for _, text in said] == [False, True, True], said


async def test_a_file_that_is_closed_to_us_is_named_and_its_password_is_not_shown(tmp_path: Path) -> None:
    installed = Installed(tmp_path, broker_url=f"amqp://u:hunter2@127.0.0.1:{free_port()}/", host="u4")
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    installed.file.chmod(0)
    nobody_listens = (*unshare("--net"), *STRANGER)
    for arguments in (("ping",), ("hosts",)):
        code, said = await installed.run(*arguments, prefix=nobody_listens)
        assert (code in {2, 3}, "libvirt-amqp.toml cannot be read: Permission denied" in said) == (True, True), said
        assert ("hunter2" in said, len(said.splitlines())) == (False, 1), said


async def test_a_file_that_is_broken_is_named_and_its_password_is_not_shown(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.file.write_text('broker_url = "amqp://u:hunter2@127.0.0.1/\n')
    code, said = await installed.run("ping")
    assert (code, "libvirt-amqp.toml is no TOML" in said, "hunter2" in said) == (2, True, False), said


@pytest.fixture
def given_by_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a unit's folder that is another user's, where that can be made, with somebody who answers in it."""
    folder = tmp_path / "libvirt-amqp"
    folder.mkdir(mode=0o700)
    (folder / local.STATE_FILE).write_text('{"host": "u5", "epoch": 7}')
    monkeypatch.setattr(local, "UNIT_DIRECTORY", folder)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / local.ALIVE_SOCKET))
        server.listen()
        if os.getuid() == 0:
            os.chown(folder, 65534, -1)
        yield folder


def test_what_root_gave_the_unit_s_user_is_believed(given_by_root: Path, tmp_path: Path) -> None:
    found = local.kept([tmp_path / "ours", given_by_root])
    assert found == local.Kept(7, "u5", given_by_root)


def test_a_unit_s_folder_that_others_may_have_made_is_not_believed(
    given_by_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert local.kept([tmp_path / "ours", given_by_root]) is None
    with pytest.raises(local.NotAlive, match="another user's"):
        local.ask_alive([tmp_path / "ours", given_by_root], 1)


def test_of_two_agents_that_were_here_the_later_one_counts(given_by_root: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    for epoch, host in ((6, "u5"), (8, "tried")):
        (ours / local.STATE_FILE).write_text(f'{{"host": "tried", "epoch": {epoch}}}')
        found = local.kept([ours, given_by_root])
        assert found is not None
        assert found.host == host
