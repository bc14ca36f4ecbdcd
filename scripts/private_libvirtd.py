"""A libvirtd of our own: unprivileged, its own folder, socket and host uuid, nothing of the system's.

    with PrivateLibvirtd() as daemon:
        print(daemon.uri)

Used by the tests.  Two of them are two hosts: a guest can be migrated from one to the other.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = shutil.which("libvirtd", path="/usr/sbin:/usr/bin:/sbin:/bin") or "libvirtd"
NOBODY = 65534
"""Whom root becomes: libvirtd is a session daemon for anyone but root.

It also keeps a guest's start at 0.4 s: root may open /dev/kvm even where it is not as udev makes it (0660, group kvm),
and libvirtd then probes QEMU anew at every start, 7 s each.
"""
READY_SECONDS = 20.0
STOP_SECONDS = 10.0


class DaemonFailed(RuntimeError):
    """libvirtd did not start, or left processes behind; the message has the end of its output or their numbers."""


class PrivateLibvirtd:
    """`start`, `stop`, `kill`, `freeze` and `thaw` may be called in any order; the socket stays the same.

    Guests survive the daemon and are found again by the next `start`; `close` ends them.  `cache` is another one's
    `cache`: what that one learned about QEMU (2 to 5 s) need not be learned again.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="libvirtd-")
        self._path = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None
        self.cache = cache or self._path / "cache"
        self.socket = self._path / "run" / "libvirt" / "libvirt-sock"
        self._write_configuration()

    @property
    def uri(self) -> str:
        """The URI of its QEMU driver."""
        return f"qemu+unix:///session?socket={self.socket}"

    @property
    def test_uri(self) -> str:
        """The URI of the test driver in it: in memory, so as new after every start."""
        return f"test+unix:///default?socket={self.socket}"

    @property
    def running(self) -> bool:
        """Whether the daemon is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the daemon and wait until its socket is open (0.1 s).  Raises DaemonFailed."""
        become = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self._path,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **become,  # type: ignore[call-overload]  # mypy does not look into the dict
            )
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if self._is_open():
                return
            time.sleep(0.01)
        tail = self._log.read_text(errors="replace")[-2000:]
        self.close()
        raise DaemonFailed(f"libvirtd did not start: {tail}")

    def stop(self) -> None:
        """Stop the daemon in good order; its guests go on."""
        self._signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """Kill the daemon at once; its guests go on."""
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        """Stop the daemon from running; connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen daemon go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill everything, the guests included, and remove the folder.  Raises DaemonFailed when something survives."""
        self.kill()
        end = time.monotonic() + STOP_SECONDS
        while left := self.processes():
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if time.monotonic() > end:
                raise DaemonFailed(f"processes left behind: {left}")
            time.sleep(0.01)
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    def processes(self) -> list[int]:
        """Return every process with our folder in its command line or environment: the daemon, its QEMUs."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._is_ours(entry)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._path / "libvirtd.log"

    def _command(self) -> list[str | Path]:
        return [PROGRAM, "-f", self._path / "libvirtd.conf", "-t", "0"]

    def _write_configuration(self) -> None:
        for name in ("run", "cache", "data", "config/libvirt"):
            (self._path / name).mkdir(parents=True)
        # Without a uuid of its own it would be the machine's, and a migration between two of them is refused.
        (self._path / "libvirtd.conf").write_text(f'host_uuid = "{uuid.uuid4()}"\nlog_outputs = "3:stderr"\n')
        # Else a virtlogd would be started beside it.
        (self._path / "config" / "libvirt" / "qemu.conf").write_text('stdio_handler = "file"\n')
        if os.geteuid() == 0:
            for path in (self._path, *self._path.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self._path),
            "XDG_RUNTIME_DIR": str(self._path / "run"),
            "XDG_CONFIG_HOME": str(self._path / "config"),
            "XDG_CACHE_HOME": str(self.cache),
            "XDG_DATA_HOME": str(self._path / "data"),
        }

    def _is_open(self) -> bool:
        """Say whether somebody listens: the socket of a killed daemon is still there, and refuses."""
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def _is_ours(self, entry: Path) -> bool:
        """Say whether a process was started from here: libvirtd puts QEMU into a session of its own."""
        folder = f"{self._path}/".encode()
        return entry.name != str(os.getpid()) and any(folder in _read(entry / name) for name in ("cmdline", "environ"))

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)  # which does nothing when it has ended

    def _wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)


def _read(path: Path) -> bytes:
    """Return what /proc says; nothing of a process that has ended or is another user's."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
