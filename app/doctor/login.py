"""What a broker's refusal means, from TLS to the virtual host, and the line that mends it."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote

from libvirt_amqp.url import parse_url

BY_CERTIFICATE = "NAME_IN_CERTIFICATE"
"""Stands for the user that a client certificate names."""


class Way(NamedTuple):
    """How we wanted to come in; `permit` lets an agent do what it does in the virtual host."""

    url: str
    error: str
    permit: str

    @property
    def query(self) -> dict[str, str]:
        """The options behind the `?`."""
        return dict(parse_url(self.url).query)

    @property
    def at(self) -> str:
        """Host and port."""
        target = parse_url(self.url)
        return f"{target.host}:{target.port or 5671}"

    def append(self, options: str) -> str:
        """Return how to give the URL options that it does not have."""
        return f"append {'&' if '?' in self.url else '?'}{options} to LIBVIRT_AMQP_BROKER_URL"


def refusal(url: str, error: str, permit: str) -> tuple[str, str]:
    """Return what it means, with what was said, and what mends it."""
    way = Way(url, error, permit)
    for pattern, meaning, mend in _KNOWN:
        if re.search(pattern, error):
            name = {"user": user(url), "vhost": vhost(url)}
            return f"{meaning.format(**name)}: {error}", mend(way)
    return error, "rabbitmqctl status   (on the broker's machine; its log says more)"


def user(url: str) -> str:
    """Return whom the broker takes us for: by the URL, or by a client certificate, whose name has to be filled in."""
    target = parse_url(url)
    if target.query.get("auth", "").lower() == "external":
        return BY_CERTIFICATE
    return target.user or "guest"


def vhost(url: str) -> str:
    """Return the virtual host: what follows the first slash, or the default one."""
    return unquote(parse_url(url).raw_path[1:]) or "/"


def _password(way: Way) -> str:
    if user(way.url) != BY_CERTIFICATE:
        then = "or add_user, or the like of another broker; then LIBVIRT_AMQP_BROKER_URL"
        return f"rabbitmqctl change_password {user(way.url)} PASSWORD   ({then})"
    made = f"rabbitmqctl add_user {BY_CERTIFICATE} x; rabbitmqctl clear_password {BY_CERTIFICATE}"
    name = f"openssl x509 -noout -subject -in {way.query.get('certfile')}"
    return f"{made}   ({name}; or rabbitmq-plugins enable rabbitmq_auth_mechanism_ssl, and auth_mechanisms)"


def _vhost(way: Way) -> str:
    return f"rabbitmqctl add_vhost {vhost(way.url)}; {way.permit}"


def _trust(way: Way) -> str:
    if trusted := way.query.get("cafile") or way.query.get("capath"):
        issuer = f"openssl s_client -connect {way.at} </dev/null | openssl x509 -noout -issuer"
        return f"cafile= with the authority that signed it, not {trusted}   (which one: {issuer})"
    return way.append("cafile=/path/to/ca.pem")


def _names(way: Way) -> str:
    names = f"openssl s_client -connect {way.at} </dev/null | openssl x509 -noout -ext subjectAltName"
    return f"a name of the broker's certificate as host in LIBVIRT_AMQP_BROKER_URL   ({names})"


def _renew(way: Way) -> str:
    return (
        f"openssl s_client -connect {way.at} </dev/null | openssl x509 -noout -dates   (renew the broker's certificate)"
    )


def _identity(way: Way) -> str:
    """A broker that closes before the login may want a certificate, or another one than ours."""
    ours = way.query.get("certfile")
    if ours is None:
        return way.append("certfile=/path/to/cert.pem&keyfile=/path/to/key.pem")
    look = f"openssl x509 -noout -dates -issuer -in {ours}"
    return f"{look}   (renew it, or have it signed by an authority in the broker's ssl_options.cacertfile)"


def _file(way: Way) -> str:
    """The client's own files: `tls.context` names the one that will not do."""
    found = re.search(r"has (cafile|certfile) (\S+?)(?: with keyfile (\S+))?: (.*)", way.error)
    if found is None:
        return "mend LIBVIRT_AMQP_BROKER_URL"
    option, first, key, why = found.groups()
    files = [first, *([key] if key and key != first else [])]
    bad = next((file for file in files if not os.access(file, os.R_OK)), files[-1])
    if why.startswith("Permission denied"):
        return f"chgrp {os.getgid()} {bad}; chmod 0640 {bad}   (and the folders above it: chmod o+x)"
    if why.startswith("they do not belong together"):
        look = f"openssl pkey -pubout -in {bad}; openssl x509 -noout -pubkey -in {first}"
        return f"{look}   (certfile and keyfile of one pair print the same)"
    name = "keyfile" if bad == key and key != first else option
    return f"{name}=/path/to/one/in/PEM in LIBVIRT_AMQP_BROKER_URL, or put it at {bad}   ({why})"


def _plain(_way: Way) -> str:
    return "amqp:// instead of amqps:// in LIBVIRT_AMQP_BROKER_URL, or the port for TLS (5671)"


def _tls(_way: Way) -> str:
    return "amqps:// instead of amqp:// in LIBVIRT_AMQP_BROKER_URL, or the port for AMQP (5672)"


_KNOWN: tuple[tuple[str, str, Callable[[Way], str]], ...] = (
    (r"URL has (cafile|certfile) ", "a file that the URL names will not do", _file),
    (r"URL has|URL needs", "the URL is not as it has to be", lambda _: "mend LIBVIRT_AMQP_BROKER_URL   (as said)"),
    (r"mechanism EXTERNAL", "there is no user of the certificate's name, or no login by certificates", _password),
    (
        r"ACCESS_REFUSED|AuthenticationError|Login was refused|Authentication failed",
        "user {user} or its password is refused (guest may come from the broker's own machine only)",
        _password,
    ),
    (r"virtual host|vhost|OpenOk|NOT_ALLOWED", "virtual host {vhost} is missing, or not for user {user}", _vhost),
    (r"certificate is refused: .*(mismatch|not valid for)", "the broker's certificate has other names", _names),
    (r"certificate is refused: .*(expired|not yet valid)", "the broker's certificate is out of date", _renew),
    (r"CERTIFICATE_VERIFY_FAILED|certificate is refused", "the broker's certificate is not trusted", _trust),
    (r"client certificate|our certificate|before the login", "the broker wants another client certificate", _identity),
    (r"WRONG_VERSION_NUMBER|no TLS on this port", "there is no TLS on this port", _plain),
    (
        r"[Rr]eset|closed the connection at once|InvalidFrame|EOF|ended",
        "there is something else than AMQP on this port, or TLS",
        _tls,
    ),
)
