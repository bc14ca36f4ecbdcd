"""`libvirt-amqp hosts`: who is alive and who no longer, heard from the heartbeats."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import click

from libvirt_amqp.broker import BrokerUnavailable
from libvirt_amqp.cli import EXIT_NO_AGENT, SECONDS, broker_again, fail, run
from libvirt_amqp.client import connect
from libvirt_amqp.keys import STATS, is_of

DEAD_AFTER_BEATS = 2
"""A heartbeat lives as long on the bus, so a subscriber that comes later hears nothing of such a host either."""
_LOOK_SECONDS = 0.1
_ROW = "{:<24} {:<20} {:<8} {:<8} {:<8} {:<22} {:<18} {}"
_HEADER = _ROW.format("HOST", "ALIVE", "AGENT", "LIBVIRT", "DRIVER", "CONNECTED", "STATISTICS", "UPTIME")


@click.command("hosts")
@click.argument("host", nargs=-1)
@click.option(
    "--wait",
    type=SECONDS,
    default=6.0,
    show_default=True,
    help="Seconds to listen, or until a host is never heard (agents beat every 5 s by default).",
)
@click.option("--follow", is_flag=True, help="Go on listening, and print a host again when something changes.")
@broker_again
@click.pass_obj
def command(broker: str, host: tuple[str, ...], wait: float, *, follow: bool) -> None:
    """List the hosts whose agents are heard, and HOSTs that have to be there.

    A host that is silent for two of its beats is dead.  Exit code 4 when no host is alive, or a HOST is not.
    """
    run(_follow(broker, host, wait) if follow else _list(broker, host, wait))


class Roster:
    """What the hosts said last.  Moments are seconds of time.monotonic()."""

    def __init__(self, expected: tuple[str, ...] = ()) -> None:
        self._beats: dict[str, tuple[dict[str, Any], str, float]] = {}
        """The data of the last heartbeat, its time, and when it came."""
        self._expected = expected

    def take(self, body: dict[str, Any], now: float) -> None:
        """Take a heartbeat."""
        self._beats[body["data"]["object"]["host"]] = (body["data"], body["time"], now)

    def hosts(self) -> list[str]:
        """Return who was heard, and who has to be there."""
        return sorted({*self._beats, *self._expected})

    def is_alive(self, host: str, now: float) -> bool:
        """Say whether a host has been heard within two of its beats."""
        if host not in self._beats:
            return False
        data, _, came = self._beats[host]
        return now - came <= float(data["interval"]) * DEAD_AFTER_BEATS

    def state(self, host: str, now: float) -> tuple[Any, ...]:
        """Return what has to change for a host to be news."""
        if host not in self._beats:
            return (False,)
        data = self._beats[host][0]
        polling = data.get("polling", {})
        known = (data["epoch"], data["versions"], data["libvirt"], polling.get("interval_in_force"))
        return (self.is_alive(host, now), *known, polling.get("stale"))

    @property
    def hosts_heard(self) -> int:
        """Of how many hosts a beat has come."""
        return len(self._beats)

    def has_heard(self, host: str) -> bool:
        """Say whether a beat of a host has come."""
        return host in self._beats

    def line(self, host: str, now: float) -> str:
        """Return a row of the table."""
        if host not in self._beats:
            return _ROW.format(host, "no, never heard", "?", "?", "?", "?", "?", "?")
        data, last, _ = self._beats[host]
        alive = "yes" if self.is_alive(host, now) else f"no, since {_clock(last)}"
        versions, libvirt = data["versions"], data["libvirt"]
        connected = "yes" if libvirt["connected"] else f"no, since {_clock(libvirt['since'])}"
        libvirt_version, driver = versions["libvirt"] or "?", versions["driver"] or "?"
        statistics, uptime = _statistics(data.get("polling")), f"{data['uptime']:.0f} s"
        return _ROW.format(host, alive, versions["agent"], libvirt_version, driver, connected, statistics, uptime)


def _clock(moment: str) -> str:
    return f"{moment[11:19]} UTC"


def _statistics(polling: dict[str, Any] | None) -> str:
    """Return how often they come, and how many domains do not answer; an older agent does not tell."""
    if polling is None:
        return "?"
    stale = f", {polling['stale']} stale" if polling["stale"] else ""
    return f"every {polling['interval_in_force']:g} s{stale}"


async def _listen(broker: str, roster: Roster, heard: Callable[[], None] = lambda: None) -> None:
    async with connect(broker, "libvirt-amqp hosts") as client:
        async for message in client.subscribe({STATS: ["*.agent.heartbeat"]}):
            if is_of(message.key, message.body["data"]["object"]["host"]):
                roster.take(message.body, time.monotonic())
                heard()


async def _keep_listening(broker: str, roster: Roster, heard: Callable[[], None]) -> None:
    """Listen again whenever the connection is lost, once there was one; say so once for each loss."""
    told = ""
    while True:
        try:
            await _listen(broker, roster, heard)
        except BrokerUnavailable as error:
            if not roster.hosts_heard:
                raise
            if str(error) != told:
                click.echo(f"{error}; trying again", err=True)
            told = str(error)
            await asyncio.sleep(_LOOK_SECONDS)


async def _list(broker: str, expected: tuple[str, ...], seconds: float) -> None:
    roster = Roster(expected)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _listen(broker, roster)
    now = time.monotonic()
    if not roster.hosts():
        fail(f"no heartbeat within {seconds:g} s", EXIT_NO_AGENT)
    click.echo(_HEADER)
    for host in roster.hosts():
        click.echo(roster.line(host, now))
    dead = [host for host in expected or roster.hosts() if not roster.is_alive(host, now)]
    if expected and dead:
        fail(f"not alive: {', '.join(dead)}", EXIT_NO_AGENT)
    if len(dead) == len(roster.hosts()):
        fail("no host is alive", EXIT_NO_AGENT)


async def _follow(broker: str, expected: tuple[str, ...], seconds: float) -> None:
    """Print a host whenever its state has changed: at its beat, or when none comes, at first within `seconds`."""
    roster = Roster(expected)
    begun = time.monotonic()
    told: dict[str, tuple[Any, ...]] = {}

    def tell() -> None:
        now = time.monotonic()
        for host in roster.hosts():
            if not roster.has_heard(host) and now - begun < seconds:
                continue
            if told.get(host) != (state := roster.state(host, now)):
                told[host] = state
                click.echo(roster.line(host, now))

    click.echo(_HEADER)
    listening = asyncio.ensure_future(_keep_listening(broker, roster, tell))
    while not (await asyncio.wait({listening}, timeout=_LOOK_SECONDS))[0]:
        tell()
    listening.result()
