"""A RabbitMQ node of our own: an ordinary process on loopback, its own ports, its own folder, nothing of the system's.

    with PrivateRabbitMQ() as broker:
        print(broker.url)

Used by `make run`, the tests and the benches.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

BIN = Path("/usr/lib/rabbitmq/bin")
"""Not /usr/sbin: the wrappers there demand root or the user rabbitmq."""
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class BrokerFailed(RuntimeError):
    """The node did not start; the message has the end of its output."""


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PrivateRabbitMQ:
    """`extra` is appended to rabbitmq.conf; `stop`, `kill`, `freeze`, `thaw` and `start` may be called in any order."""

    def __init__(self, extra: str = "", plugins: tuple[str, ...] = ()) -> None:
        self.port, self._distribution, self._epmd = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._extra = extra
        self._plugins = plugins
        self._folder = tempfile.TemporaryDirectory(prefix="libvirt-amqp-rabbitmq-")
        self._process: subprocess.Popen[bytes] | None = None
        self._write_configuration(Path(self._folder.name))

    def start(self) -> None:
        """Start the node and wait until its port is open (5 to 8 s).  Raises BrokerFailed."""
        folder = Path(self._folder.name)
        with (folder / "log" / "stdout").open("ab") as output:
            self._process = subprocess.Popen(
                [BIN / "rabbitmq-server"],
                env=self._environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        tail = (folder / "log" / "stdout").read_text(errors="replace")[-2000:]
        self.close()
        raise BrokerFailed(f"RabbitMQ did not start: {tail}")

    def stop(self) -> None:
        """Stop the node in good order; its data stay."""
        self._signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """Kill the node at once; its data stay."""
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        """Stop the node's processes from running; connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._signal(signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl; returns its output."""
        folder = Path(self._folder.name)
        command: list[str | Path] = [BIN / "rabbitmqctl", *arguments]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, env=self._environment(folder), check=True, capture_output=True, text=True
        )
        return done.stdout

    def close(self) -> None:
        """Stop everything, the port mapper that the node started included, and remove the folder."""
        self.kill()
        self._kill_port_mapper()
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_configuration(self, folder: Path) -> None:
        for name in ("home", "log", "mnesia"):
            (folder / name).mkdir()
        cookie = folder / "home" / ".erlang.cookie"
        cookie.write_text(os.urandom(16).hex())
        cookie.chmod(0o400)
        (folder / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].\n")
        settings = f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console = false\n{self._extra}"
        (folder / "rabbitmq.conf").write_text(settings)

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": f"private{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            # No busy waiting, and the distribution on loopback only.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    def _kill_port_mapper(self) -> None:
        """The node leaves epmd behind, in a session of its own; it is the one with our port in its environment."""
        wanted = f"ERL_EPMD_PORT={self._epmd}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
