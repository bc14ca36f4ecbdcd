"""A private RabbitMQ that speaks TLS and knows users by their certificates, and a CA for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme
from documented import blocks
from private_rabbitmq import PrivateRabbitMQ, free_port


class Certificates:
    """Files in a folder: `NAME.pem` and `NAME.key` of whoever is issued one, and `ca.pem`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(folder / "ca.pem")

    def issue(self, name: str, *names: str, stem: str | None = None) -> None:
        """Write a certificate of the common name `name`, valid for `names`."""
        made = self._ca.issue_cert(*(names or (name,)), common_name=name)
        path = self.folder / (stem or name)
        made.cert_chain_pems[0].write_to_path(path.with_suffix(".pem"))
        made.private_key_pem.write_to_path(path.with_suffix(".key"))


class TLSBroker(PrivateRabbitMQ):
    """Has the documented configuration, with its files in `certificates`; also a plain port, for the administrator."""

    def __init__(self, certificates: Certificates) -> None:
        self.tls_port = free_port()
        self._certificates = certificates
        (settings,) = blocks("5. TLS", "ini")
        folder = str(certificates.folder)
        settings = settings.replace("/etc/rabbitmq/tls", folder).replace("5671", f"127.0.0.1:{self.tls_port}")
        super().__init__(settings, plugins=("rabbitmq_auth_mechanism_ssl",))

    def url_of(self, user: str, host: str = "localhost", ca: str = "ca.pem") -> str:
        """Return the documented URL of a user with a certificate."""
        folder = self._certificates.folder
        files = f"cafile={folder}/{ca}&certfile={folder}/{user}.pem&keyfile={folder}/{user}.key"
        return f"amqps://{host}:{self.tls_port}/?auth=external&{files}"


@contextmanager
def tls_broker(folder: Path) -> Iterator[TLSBroker]:
    """Start a broker that `host1` and `operator` may log in to."""
    certificates = Certificates(folder)
    certificates.issue("broker", "localhost")
    with TLSBroker(certificates) as broker:
        for user in ("host1", "operator"):
            certificates.issue(user)
            broker.ctl("add_user", user, "unused")
            broker.ctl("clear_password", user)
            broker.ctl("set_permissions", user, ".*", ".*", ".*")
        yield broker
