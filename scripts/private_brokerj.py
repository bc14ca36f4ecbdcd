"""An Apache Qpid Broker-J of our own: one Java process on loopback, its own port, its own folder, no management.

    with PrivateBrokerJ() as broker:
        print(broker.url)

Used by the tests; `scripts/install brokerj` brings Java and the broker.
"""

import contextlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

from fetch_brokerj import HOME
from private_process import PrivateProcess, ServerFailed
from private_rabbitmq import free_port


class PrivateBrokerJ(PrivateProcess):
    """A start takes 3 s.  `context` is added to the broker's own context variables, `users` to guest/guest.

    Durable exchanges, queues and messages are on disk (Berkeley DB), so that they outlive `stop` and `kill`.
    """

    name = "Broker-J"
    prefix = "libvirt-amqp-brokerj-"
    ready_seconds = 60.0

    def __init__(self, context: dict[str, str] | None = None, users: dict[str, str] | None = None) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._initial = self._path / "initial.json"
        self._initial.write_text(json.dumps(_configuration(self.port, context or {}, users or {})))

    def _command(self) -> list[str | Path]:
        java = shutil.which("java")
        if java is None or not HOME.is_dir():
            raise ServerFailed("Broker-J is not here: scripts/install brokerj brings it")
        # A tenth of a second per hundred classes is what a start costs: the quick compiler alone, and no G1 threads.
        options = ["-Xmx256m", "-XX:MaxDirectMemorySize=256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [
            java,
            *options,
            f"-DQPID_HOME={HOME}",
            f"-DQPID_WORK={self._path}",
            f"-Dderby.stream.error.file={self._path / 'derby.log'}",
            "-cp",
            f"{HOME / 'lib'}/*",
            "org.apache.qpid.server.Main",
            *("-st", "JSON", "-icp", self._initial),
        ]

    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(self._path)}

    def _is_open(self) -> bool:
        """Say whether it has said that it is ready (its port is open a little before its virtual host is)."""
        with contextlib.suppress(OSError):
            if b"BRK-1004" not in self._log.read_bytes()[self._said :]:
                return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def start(self) -> None:
        """Start it; what a former run said does not count."""
        self._said = self._log.stat().st_size if self._log.exists() else 0
        super().start()


def _configuration(port: int, context: dict[str, str], users: dict[str, str]) -> dict[str, Any]:
    """Return what the broker begins with; later starts go on with what it has made of it."""
    passwords = {"guest": "guest"} | users
    return {
        "name": "libvirt-amqp",
        "modelVersion": "9.0",
        # A sender cannot claim another user's name, as on RabbitMQ.
        "context": {"qpid.broker_msg_auth": "true"} | context,
        "authenticationproviders": [
            {
                "name": "plain",
                "type": "Plain",
                "secureOnlyMechanisms": [],
                "users": [{"name": name, "type": "managed", "password": word} for name, word in passwords.items()],
            }
        ],
        "ports": [
            {
                "name": "AMQP",
                "type": "AMQP",
                "port": port,
                "bindingAddress": "127.0.0.1",
                "authenticationProvider": "plain",
                "virtualhostaliases": [
                    {"name": "nameAlias", "type": "nameAlias"},
                    {"name": "defaultAlias", "type": "defaultAlias"},
                    {"name": "hostnameAlias", "type": "hostnameAlias"},
                ],
            }
        ],
        "virtualhostnodes": [
            {
                "name": "default",
                "type": "JSON",
                "defaultVirtualHostNode": "true",
                "virtualHostInitialConfiguration": json.dumps({"type": "BDB"}),
            }
        ],
    }
