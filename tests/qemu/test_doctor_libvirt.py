"""`libvirt-amqp doctor`, libvirt's half: every refusal is provoked, and comes with the line that mends it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import eventually
from examined import STRANGER, Found, examine
from namespaces import unshare
from private_libvirtd import PrivateLibvirtd
from private_rabbitmq import free_port
from sweep.privileged import PrivilegedLibvirtd

from app.doctor import libvirt
from app.doctor.ask import Answer
from app.doctor.place import find, in_container
from app.doctor.socket import SYSTEM_URI

RO, RW = "libvirt read-only", "libvirt read-write"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"BROKER_URL": f"amqp://127.0.0.1:{free_port()}/", "HOST": "d1", "STATE_DIR": str(tmp_path / "state")}
    for name, value in ({"ACCESS": "full"} | values).items():
        monkeypatch.setenv(f"LIBVIRT_AMQP_{name}", value)


@pytest.fixture
def own_daemon() -> Iterator[PrivateLibvirtd]:
    """Yield a libvirtd that is the test's own, and runs."""
    with PrivateLibvirtd() as daemon:
        yield daemon


class PolkitLibvirtd(PrivilegedLibvirtd):
    """Asks polkit about everybody; there is no system bus in its namespace."""

    def _write(self, name: str, text: str) -> None:
        super()._write(name, text.replace('"none"', '"polkit"') if name.endswith("libvirtd.conf") else text)


class ForgetfulLibvirtd(PrivilegedLibvirtd):
    """Knows nobody but who is in its passwd: elsewhere systemd's module makes up a nobody."""

    RULES: ClassVar[str] = "passwd: files\ngroup: files\n"

    def _command(self) -> list[str | Path]:
        *before, script, folder, program, option, value = super()._command()
        script = f'mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf\n{script}'
        return [*before, script, folder, program, option, value]

    def _write_configuration(self) -> None:
        super()._write_configuration()
        self._write("nsswitch.conf", self.RULES)


def open_up(daemon: PrivateLibvirtd) -> None:
    """Let everybody come as far as the socket."""
    for folder in daemon.socket.parents[:3]:
        folder.chmod(0o755)
    daemon.socket.chmod(0o777)


def told(found: Found, text: str, mend: str) -> None:
    """Assert that it is wrong, in these words, and that the line begins so or has that."""
    assert (found.status, text in found.text, mend in (found.mend or "")) == ("wrong", True, True), found


async def test_a_libvirtd_that_lets_us_in_is_well(own_daemon: PrivateLibvirtd) -> None:
    found = (await examine(URI=own_daemon.uri)).found
    for check in ("socket", "user", RO, RW, "libvirt's limits"):
        assert found[check].status == "ok", found[check]


async def test_the_test_driver_needs_neither_socket_nor_daemon() -> None:
    found = (await examine(URI="test:///default")).found
    assert {found[check].status for check in ("socket", RO, RW, "libvirt's limits")} == {"ok"}
    assert "user" not in found


async def test_a_socket_that_is_not_there_is_told(tmp_path: Path) -> None:
    uri = f"qemu+unix:///session?socket={tmp_path}/libvirt-sock"
    found = (await examine(URI=uri)).found
    told(found["socket"], "no such file", "libvirtd --daemon")
    told(found[RO], "there is no socket", "libvirtd --daemon")


async def test_no_session_is_started_for_whoever_is_not_root_and_the_systems_libvirt_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LIBVIRT_DEFAULT_URI", "LIBVIRT_AMQP_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    found = (await examine(*STRANGER)).found
    told(found[RO], "libvirt's own choice", SYSTEM_URI)
    assert not list(tmp_path.glob("run/libvirt/*")), found
    assert "LIBVIRT_AMQP_URI=qemu:///system" in (found["socket"].mend or ""), found


async def test_a_session_is_advised_against(own_daemon: PrivateLibvirtd) -> None:
    found = (await examine(URI=own_daemon.uri)).found["session"]
    assert (found.status, (found.mend or "").startswith(SYSTEM_URI)) == ("advice", True), found


async def test_the_systems_socket_is_sought_where_libvirt_seeks_it() -> None:
    place = find("qemu:///system", read_only=True)
    assert place is not None
    assert [str(path) for path in place.candidates] == [
        "/run/libvirt/virtqemud-sock-ro",
        "/run/libvirt/libvirt-sock-ro",
    ]
    assert find("qemu+ssh://there/system", read_only=True) is None


async def test_in_a_container_without_the_folder_the_mount_is_given() -> None:
    found = (await examine(*hidden_run(), URI="qemu:///system")).found
    told(found["socket"], "no such file", "mount the folder" if in_container() else "systemctl enable --now libvirtd")


def hidden_run() -> tuple[str, ...]:
    """Run a command where /run is empty."""
    return (*unshare("--mount"), "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")


async def test_a_folder_where_the_socket_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "libvirt-sock").mkdir()
    found = (await examine(URI=f"qemu+unix:///session?socket={tmp_path}/libvirt-sock")).found
    told(found["socket"], "is no socket", "mount the folder, not the file")


async def test_a_socket_that_nobody_listens_to_is_told(own_daemon: PrivateLibvirtd) -> None:
    own_daemon.kill()
    found = (await examine(URI=own_daemon.uri)).found
    told(found[RW], "nobody listens at the socket", "mount the folder" if in_container() else "libvirtd --daemon")


async def test_a_socket_that_is_mounted_as_a_file_is_advised_against(
    own_daemon: PrivateLibvirtd, tmp_path: Path
) -> None:
    mounted = tmp_path / "libvirt-sock"
    mounted.touch()
    open_up(own_daemon)
    script = f'mount --bind "{own_daemon.socket}" "{mounted}" && exec "$@"'
    prefix = (*unshare("--mount"), "sh", "-c", script, "sh")
    found = (await examine(*prefix, URI=f"qemu+unix:///session?socket={mounted}")).found["socket"]
    assert (found.status, "the file itself is mounted" in found.text) == ("advice", True), found
    assert (found.mend or "").startswith("mount the folder, not the file")


async def test_a_libvirtd_that_hangs_is_told_and_does_not_hang_the_doctor(own_daemon: PrivateLibvirtd) -> None:
    own_daemon.freeze()
    examined = await examine(URI=own_daemon.uri)
    own_daemon.thaw()
    told(examined.found[RO], "libvirtd does not answer", "kill -9 ")
    told(examined.found[RW], "libvirtd does not answer", "(guests go on)")
    assert examined.found["state"].status == "ok"


async def test_a_socket_that_is_for_its_group_is_told_with_the_group(own_daemon: PrivateLibvirtd) -> None:
    open_up(own_daemon)
    own_daemon.socket.chmod(0o070)
    gid = own_daemon.socket.stat().st_gid
    found = (await examine(*STRANGER, URI=own_daemon.uri)).found
    line = f"--group-add {gid} " if in_container() else "usermod -aG "
    told(found["socket"], "may not connect (mode 0070", line)
    told(found[RW], "Permission denied", line)


async def test_a_socket_that_is_for_its_owner_alone_is_told_with_libvirts_setting(own_daemon: PrivateLibvirtd) -> None:
    open_up(own_daemon)
    own_daemon.socket.chmod(0o000)
    found = (await examine(*STRANGER, URI=own_daemon.uri)).found
    told(found["socket"], "may not connect (mode 0000", 'unix_sock_rw_perms = "0770"')


async def test_a_folder_that_may_not_be_entered_is_told(own_daemon: PrivateLibvirtd) -> None:
    open_up(own_daemon)
    own_daemon.socket.parents[1].chmod(0o000)
    found = (await examine(*STRANGER, URI=own_daemon.uri)).found
    own_daemon.socket.parents[1].chmod(0o755)
    told(found["socket"], "may not enter the folder", f"chmod o+x {own_daemon.socket.parents[1]}")


async def test_a_user_that_the_hypervisor_does_not_know_is_told() -> None:
    with ForgetfulLibvirtd() as daemon:
        found = (await examine(*stranger_to_everybody(), URI=daemon.uri)).found
    told(found["user"], "is unknown in the hypervisor's passwd", "--user 65534" if in_container() else "useradd ")
    told(found[RO], "Failed to find user record for uid", "--user 65534" if in_container() else "useradd ")
    told(found[RW], "the hypervisor does not know this user", "65534" if in_container() else "useradd ")


def stranger_to_everybody() -> tuple[str, ...]:
    """Run a command as a user that such a daemon cannot know: ours, from outside of its namespace, or 10001."""
    return () if STRANGER[0] == "unshare" else tuple(STRANGER)


async def test_polkit_without_a_bus_is_told() -> None:
    with PolkitLibvirtd() as daemon:
        found = (await examine(URI=daemon.uri)).found
    told(found[RW], "libvirtd asks polkit, which is not there", 'auth_unix_rw = "none"')
    told(found[RW], "Unable to get system bus", "apt-get install dbus polkitd")


def test_polkits_refusal_is_answered_with_the_hypervisors_group() -> None:
    """What a stock Debian 12 says to a known user outside of group libvirt."""
    error = "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'"
    place = find("qemu:///system", read_only=False)
    finding = libvirt.check(RW, Answer("qemu:///system", error), place, "full", is_needed=True)
    assert (finding.status, "polkit does not let this user in" in finding.text) == ("wrong", True)
    assert (finding.mend or "").startswith("usermod -aG libvirt ")


async def test_what_read_only_access_does_not_need_is_not_wrong(own_daemon: PrivateLibvirtd) -> None:
    error = Answer("qemu:///system", "authentication unavailable: no polkit agent available")
    for access in ("read-only", "full"):
        finding = libvirt.check(RW, error, None, access, is_needed=False)
        assert (finding.status, f"ACCESS={access} does not need" in finding.text) == ("ok", True)
    assert (await examine(URI=own_daemon.uri, ACCESS="read-only")).wrong == {"broker address"}


@pytest.mark.parametrize(("name", "value"), [("max_client_requests", 1), ("max_clients", 20), ("max_workers", 8)])
async def test_a_limit_that_is_too_low_is_told_with_the_file_that_sets_it(
    fresh_daemon: PrivateLibvirtd, name: str, value: int
) -> None:
    file = fresh_daemon.socket.parents[2] / "libvirtd.conf"
    file.write_text(f"{file.read_text()}{name} = {value}\n")
    fresh_daemon.start()
    await eventually(fresh_daemon.socket.exists)
    found = (await examine(URI=fresh_daemon.uri)).found["libvirt's limits"]
    told(found, f"{name} = {value}: ", f"(in {file}; restart the daemon)")


async def test_a_driver_that_is_not_installed_is_told(own_daemon: PrivateLibvirtd) -> None:
    found = (await examine(URI=f"ch+unix:///session?socket={own_daemon.socket}")).found
    told(found[RW], "no such driver", "libvirt-daemon-driver-")


def test_a_user_without_a_home_is_told_where_a_daemon_of_its_own_looks() -> None:
    program = "import os; from app.doctor.limits import configuration; print(configuration(os.getpid()).parent)"
    environment = {"PATH": os.environ["PATH"]}
    command = [*STRANGER, sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("/.config/libvirt\n", "")
