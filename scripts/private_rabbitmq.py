"""A RabbitMQ node of our own: an ordinary process on loopback, its own ports, its own folder, nothing of the system's.

    with PrivateRabbitMQ() as broker:
        print(broker.url)

Used by `make run`, the tests and the benches.
"""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

from private_process import PrivateProcess

BIN = Path("/usr/lib/rabbitmq/bin")
"""Not /usr/sbin: the wrappers there demand root or the user rabbitmq."""


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PrivateRabbitMQ(PrivateProcess):
    """A start takes 5 to 8 s.  `extra` is appended to rabbitmq.conf.

    The port mapper that the node starts is in a session of its own and stays until `close`.
    """

    name = "RabbitMQ"
    prefix = "libvirt-amqp-rabbitmq-"
    ready_seconds = 60.0

    def __init__(self, extra: str = "", plugins: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.port, self._distribution, self._epmd = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._write_configuration(extra, plugins)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl; returns its output."""
        command = self._in_root([BIN / "rabbitmqctl", *arguments])
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, text=True
        )
        return done.stdout

    def _command(self) -> list[str | Path]:
        return self._in_root([BIN / "rabbitmq-server"])

    def _in_root(self, command: list[str | Path]) -> list[str | Path]:
        """Return the command as it is started in the root that has the node's programs: here, this machine's."""
        return command

    def _is_open(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _write_configuration(self, extra: str, plugins: tuple[str, ...]) -> None:
        for name in ("home", "log", "mnesia"):
            (self._path / name).mkdir()
        cookie = self._path / "home" / ".erlang.cookie"
        cookie.write_text(os.urandom(16).hex())
        cookie.chmod(0o400)
        (self._path / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        settings = f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console = false\n{extra}"
        (self._path / "rabbitmq.conf").write_text(settings)

    def _environment(self) -> dict[str, str]:
        folder = self._path
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
