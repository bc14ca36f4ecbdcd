"""Checks the way to the broker in the order in which it is gone: address, TLS and login, virtual host."""

import asyncio
import ipaddress
import os
import socket

from app.doctor.finding import Finding, ok, wrong
from app.doctor.login import refusal, user, vhost
from app.doctor.place import in_container
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
        return [address, wrong(LOGIN, *refusal(url, str(error), permit))], None
    await link.close()
    return [address, ok(LOGIN, f"user {user(url)}, virtual host {vhost(url)}: {link.product}")], link.product


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
        return wrong(ADDRESS, text, _start(host))
    writer.close()
    return ok(ADDRESS, f"{describe(url)} answers")


def _start(host: str) -> str:
    if in_container() and _is_loopback(host):
        name = "amqp://USER:PASSWORD@BROKER/"
        return (
            f"LIBVIRT_AMQP_BROKER_URL={name}   ({host} is this container; for a broker on the machine: --network host)"
        )
    return f"systemctl start rabbitmq-server   (on {host}; else mend LIBVIRT_AMQP_BROKER_URL)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
