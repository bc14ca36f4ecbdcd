"""`make run`: a broker of its own, an agent, what comes over the bus, and a round of calls that causes some of it.

    scripts/demo.py [URI]

URI is libvirt's connection URI (default: LIBVIRT_AMQP_URI, else test:///default).  The round of calls is made on the
test driver only.  LIBVIRT_AMQP_BROKER_URL, when set, is used instead of a private broker.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from private_process import ServerFailed
from private_rabbitmq import PrivateRabbitMQ

from libvirt_amqp.client import Client, connect
from libvirt_amqp.errors import CallError
from libvirt_amqp.keys import Address

COMMAND = Path(sys.executable).parent / "libvirt-amqp"
STOP_SECONDS = 20
PAUSE = 1.5
"""Seconds between two calls of the round, so that a person can follow."""

DOMAIN_XML = """<domain type='test'><name>visitor</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type>hvm</type></os></domain>"""


def main() -> int:
    """Run until Ctrl-C; leaves no process behind."""
    uri = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("LIBVIRT_AMQP_URI") or "test:///default"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host = os.environ.get("LIBVIRT_AMQP_HOST", "demo" if uri.startswith("test:") else "")
    try:
        with contextlib.ExitStack() as stack:
            broker = os.environ.get("LIBVIRT_AMQP_BROKER_URL") or stack.enter_context(own_broker())
            state = stack.enter_context(tempfile.TemporaryDirectory(prefix="libvirt-amqp-demo-"))
            environment = {
                "LIBVIRT_AMQP_ACCESS": "full",
                "LIBVIRT_AMQP_STATE_DIR": state,
                "LIBVIRT_AMQP_LOG_LEVEL": "warning",
                **os.environ,
                "LIBVIRT_AMQP_BROKER_URL": broker,
                "LIBVIRT_AMQP_URI": uri,
                **({"LIBVIRT_AMQP_HOST": host} if host else {}),
            }
            access = environment["LIBVIRT_AMQP_ACCESS"]
            say(f"watching: {COMMAND.name} watch; the agent starts on {uri}, LIBVIRT_AMQP_ACCESS={access}")
            stack.enter_context(child("watch", environment))
            agent = stack.enter_context(child("serve", environment))
            say("Ctrl-C stops everything")
            asyncio.run(show(broker, host, agent, calls=uri.startswith("test:") and access == "full"))
            say("the agent has ended")
            return agent.wait()
    except ServerFailed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 0


def say(text: str) -> None:
    """Tell the person what happens, apart from what comes over the bus."""
    print(f"--- {text}", flush=True)


@contextlib.contextmanager
def own_broker() -> Iterator[str]:
    """Start a private RabbitMQ node, and stop it in the end."""
    say("starting a private RabbitMQ node (5 to 8 s)")
    with PrivateRabbitMQ() as broker:
        say(f"the broker listens on {broker.url}")
        yield broker.url


@contextlib.contextmanager
def child(subcommand: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a subcommand beside us; Ctrl-C reaches only us, and we stop it in order."""
    process = subprocess.Popen([COMMAND, subcommand], env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def show(broker: str, host: str, agent: subprocess.Popen[bytes], *, calls: bool) -> None:
    """Make the round of calls, then only watch, until the agent ends by itself (another one serves the host, say)."""
    round_ = asyncio.create_task(round_of_calls(broker, host)) if calls else None
    while agent.poll() is None:
        if round_ is not None and round_.done():
            round_.result()
        await asyncio.sleep(0.2)
    if round_ is not None:
        round_.cancel()


async def round_of_calls(broker: str, host: str) -> None:
    """Make the calls, over the broker, as a user would; then only watch."""
    connection = Address(host, "connect")
    async with connect(broker, "libvirt-amqp demo") as client:
        await ready(client, host)
        test = Address.of(await call(client, connection, "virDomainLookupByName", name="test"))
        for method in ("virDomainSuspend", "virDomainResume", "virDomainShutdown", "virDomainCreate"):
            await call(client, test, method)
        visitor = Address.of(await call(client, connection, "virDomainDefineXML", xml=DOMAIN_XML))
        await call(client, visitor, "virDomainUndefine")
    say("that was the round of calls; statistics come every 10 s, heartbeats every 5 s")


async def ready(client: Client, host: str) -> None:
    """Wait until the agent answers and its libvirt is connected."""
    while True:
        with contextlib.suppress(CallError):
            answer = await client.call(Address(host, "agent"), "ping", timeout=2)
            if answer["libvirt"]["connected"]:
                return
        await asyncio.sleep(0.1)


async def call(client: Client, address: Address, method: str, **params: str) -> dict[str, str]:
    """Make one call and say so."""
    await asyncio.sleep(PAUSE)
    say(f"call {address.key(method)}")
    result: dict[str, str] = await client.call(address, method, params)
    return result


if __name__ == "__main__":
    sys.exit(main())
