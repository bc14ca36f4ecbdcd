"""Checks the way to the broker in the order in which it is gone: address, TLS and login, virtual host."""

import asyncio
import os
import re
import socket
from urllib.parse import unquote

from app.doctor.finding import Finding, ok, wrong
from libvirt_amqp.broker import BrokerUnavailable, open_link
from libvirt_amqp.url import describe, parse_url

ADDRESS, LOGIN = "broker address", "broker login"
_SECONDS = 5
_TLS_PORT, _PORT = 5671, 5672


async def check(url: str, permit: str) -> tuple[list[Finding], str | None]:
    """Look at address and login; returns the broker's product as well, None when it did not let us in.

    `permit` is the line that lets an agent do what it does in the virtual host.
    """
    address = await _address(url)
    if address.mend is not None:
        return [address], None
    try:
        link = await open_link(url, "libvirt-amqp doctor")
    except BrokerUnavailable as error:
        return [address, _refused(url, str(error), permit)], None
    await link.close()
    return [address, ok(LOGIN, f"user {user(url)}, virtual host {vhost(url)}: {link.product}")], link.product


def user(url: str) -> str:
    """Return whom the broker takes us for: by the URL, or by a client certificate, whose name has to be filled in."""
    target = parse_url(url)
    if target.query.get("auth", "").lower() == "external":
        return "NAME_IN_CERTIFICATE"
    return target.user or "guest"


def vhost(url: str) -> str:
    """Return the virtual host: what follows the first slash, or the default one."""
    return unquote(parse_url(url).raw_path[1:]) or "/"


async def _address(url: str) -> Finding:
    target = parse_url(url)
    host, port = target.host or "", target.port or (_TLS_PORT if target.scheme == "amqps" else _PORT)
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except socket.gaierror as error:
        return wrong(ADDRESS, f"{host}: {error.strerror}", f"getent hosts {host}   (else mend LIBVIRT_AMQP_BROKER_URL)")
    except TimeoutError:
        text = f"{describe(url)}: no answer within {_SECONDS} s"
        return wrong(ADDRESS, text, f"let TCP port {port} of {host} through   (firewall, network of the container)")
    except OSError as error:
        text = f"{describe(url)}: {os.strerror(error.errno) if error.errno else error}"
        return wrong(ADDRESS, text, f"systemctl start rabbitmq-server   (on {host}; else mend LIBVIRT_AMQP_BROKER_URL)")
    writer.close()
    return ok(ADDRESS, f"{describe(url)} answers")


def _refused(url: str, error: str, permit: str) -> Finding:
    name, place = user(url), vhost(url)
    known = {
        r"ACCESS_REFUSED|AuthenticationError|Login was refused|Authentication failed": (
            f"user {name} or its password is refused (guest may come from the broker's own machine only)",
            f"rabbitmqctl change_password {name} PASSWORD   (or add_user; then LIBVIRT_AMQP_BROKER_URL)",
        ),
        r"virtual host|vhost|OpenOk|NOT_ALLOWED": (
            f"virtual host {place} is missing, or not for user {name}",
            f"rabbitmqctl add_vhost {place}; {permit}",
        ),
        r"CERTIFICATE_VERIFY_FAILED|certificate is refused": (
            "the broker's certificate is not trusted",
            "append ?cafile=/path/to/ca.pem to LIBVIRT_AMQP_BROKER_URL",
        ),
        r"CERTIFICATE_REQUIRED|client certificate|our certificate": (
            "the broker wants another client certificate",
            "append ?certfile=/path/to/cert.pem&keyfile=/path/to/key.pem to LIBVIRT_AMQP_BROKER_URL",
        ),
        r"WRONG_VERSION_NUMBER|no TLS on this port": (
            "there is no TLS on this port",
            "amqp:// instead of amqps:// in LIBVIRT_AMQP_BROKER_URL, or the port for TLS (5671)",
        ),
        r"[Rr]eset|closed the connection at once|InvalidFrame|EOF|ended": (
            "there is something else than AMQP on this port, or TLS",
            "amqps:// instead of amqp:// in LIBVIRT_AMQP_BROKER_URL, or the port for AMQP (5672)",
        ),
    }
    for pattern, (meaning, mend) in known.items():
        if re.search(pattern, error):
            return wrong(LOGIN, f"{meaning}: {error}", mend)
    return wrong(LOGIN, error, "rabbitmqctl status   (on the broker's machine; its log says more)")
