"""The wiring: what an agent consists of, what starts after what, and what ends before what."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import libvirt
import structlog

from app import state
from app.alive import Alive
from app.bus import Bus
from app.claim import HostTaken, refuse_if_taken
from app.events.snapshot import Snapshots
from app.events.stream import Stream
from app.handlers.access import Access
from app.handlers.calling import newer_functions
from app.handlers.dispatcher import Dispatcher
from app.handlers.repeats import Repeats
from app.hypervisor import ConnectionDied, Facts, Hypervisor, Loss
from app.journal import Journal
from app.metrics.exporter import Exporter
from app.outbox import Outbox
from app.pollers.heartbeat import Heartbeat, versions
from app.pollers.polling import Plan, Polling
from app.pollers.schedule import Schedule
from app.settings import Settings
from libvirt_amqp import __version__, catalogue
from libvirt_amqp.errors import Busy, LibvirtLost
from libvirt_amqp.url import describe

log = structlog.get_logger()

ASK_AGAIN_SECONDS = 0.5


class Agent:
    """One host's agent.  `running` is how to use it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.instance = uuid.uuid4().hex
        self.host = ""
        self._directory = settings.state_path
        self._state = state.begin(self._directory)
        self._journal: Journal | None = None
        self._hypervisor = Hypervisor(settings.uri, read_only=settings.access != "full")
        self._alive = Alive(self._directory, self.sign_of_life)
        self._bus: Bus | None = None
        self._stream: Stream | None = None
        self._dispatcher: Dispatcher | None = None
        self._heartbeat: Heartbeat | None = None
        self._polling: Polling | None = None
        self._started = time.monotonic()
        self._metrics = self._open_metrics(settings)
        self.ended = asyncio.create_task(self._run(), name="agent")
        """Ends only with an error: HostTaken, or a fault of ours."""

    async def _run(self) -> None:
        """Learn the host's name, then do everything, for ever."""
        await self._alive.start()
        self.host = self._settings.host or self._state.host or await self._ask_libvirt_for_the_name()
        url = self._settings.broker_url.get_secret_value()
        await refuse_if_taken(url, self.host, self.instance)
        journal = self._journal = self._open_journal()
        kept = state.keep(self._directory, state.State(self.host, self._state.epoch))
        if not kept and not journal.works:
            self._state.epoch = await state.begin_anew(self._directory, self._state.epoch)
        log.info(
            "agent_started",
            host=self.host,
            broker=describe(url),
            uri=_without_password(self._settings.uri),
            access=self._settings.access,
            secrets=self._settings.secrets,
            epoch=self._state.epoch,
        )
        outbox = Outbox(journal, int(self._settings.outbox_max_mib * 2**20))
        bus = self._bus = Bus(url, self.instance, self._receive, outbox)
        api = catalogue.load()
        if newer := newer_functions(api):
            log.warning("functions_not_in_catalogue", catalogue=api.libvirt, functions=newer)
        stream = self._stream = Stream(self.host, self._state.epoch, api, bus.publish_event, journal)
        journal.on_renewed = stream.keep_again
        outbox.on_lost = stream.tell_lost
        self._dispatcher = Dispatcher(
            self.host,
            self._hypervisor,
            bus,
            api,
            Access(full=self._settings.access == "full", secrets=self._settings.secrets),
            self._ping,
            Snapshots(self.host, api, lambda: stream.sequence).take,
            Repeats(self._directory if kept else None),
            self._settings.max_request_bytes,
        )
        stream.started({"versions": versions(self._hypervisor), "instance": self.instance})
        self._hypervisor.watch(
            stream.register, stream.look, self._on_libvirt_found, self._on_libvirt_lost, stream.heard_until
        )
        await self._serve(bus, stream, api)

    def _open_journal(self) -> Journal:
        journal = Journal(self._directory, self.instance, self.host)
        journal.belongs_to(self.host)
        if former := journal.former_sequence:  # kept more surely than the file of the state
            self._state.epoch = max(self._state.epoch, int(former.partition("-")[0]) + 1)
        return journal

    async def _serve(self, bus: Bus, stream: Stream, api: catalogue.Catalogue) -> None:
        settings, epoch = self._settings, self._state.epoch
        take = self._metrics.take if self._metrics else None
        polling = self._polling = Polling(
            self._hypervisor, self.host, epoch, _plan(settings), api, bus.publish_sample, stream.domains_seen, take
        )
        beats = Schedule("heartbeat", settings.heartbeat_interval, self.host)
        heartbeat = self._heartbeat = Heartbeat(
            self._hypervisor,
            self.host,
            epoch,
            settings.heartbeat_interval,
            self._health_and_polling,
            bus.publish_sample,
            self._started,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(bus.run(self.host), name="bus")
                await bus.linked.wait()
                tasks.create_task(beats.run(heartbeat.beat), name="heartbeat")
                tasks.create_task(polling.run(), name="polling")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def stop(self) -> None:
        """Drain: no new requests, running ones get the grace period, events are flushed for as long again."""
        grace = self._settings.stop_grace
        if self._dispatcher is not None and self._bus is not None and self._stream is not None:
            log.info("agent_stopping", open_calls=self._hypervisor.open_calls, pending=len(self._bus.outbox))
            end = time.monotonic() + grace
            self._dispatcher.stopping = True
            await self._until(end, self._bus.stop_requests())
            self._hypervisor.refuse_waiting(Busy("the agent is stopping"))
            await self._until(end, self._calls_ended())
            await self._dispatcher.streams.close(Busy("the agent is stopping"))
            self._dispatcher.close()
            self._stream.close({"instance": self.instance})
            if self._is_refused():
                self._bus.outbox.forget_epoch(self._state.epoch)
            await self._until(time.monotonic() + grace, self._bus.flush())
        self.ended.cancel()
        await asyncio.wait({self.ended}, timeout=grace)
        self._is_refused()  # takes note of the error, if there is one
        self._alive.close()
        if self._journal is not None:
            await self._journal.close()
        unfinished = self._hypervisor.open_calls
        await self._hypervisor.close()
        if self._metrics is not None:
            await self._metrics.close()
        log.info("agent_stopped", unfinished_calls=unfinished, unsent_events=len(self._bus.outbox) if self._bus else 0)

    async def _ask_libvirt_for_the_name(self) -> str:
        told = ""
        while True:
            try:
                return str(await self._hypervisor.call(lambda connection: connection.getHostname()))
            except (LibvirtLost, ConnectionDied, libvirt.libvirtError) as error:
                if told != str(error):
                    told = str(error)
                    log.warning("host_name_unknown", reason=told, remedy="waiting for libvirt; HOST can be set")
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _calls_ended(self) -> None:
        while self._hypervisor.open_calls:
            await asyncio.sleep(0.02)

    def _is_refused(self) -> bool:
        """Say whether another agent serves this host: what we had to say of it is not its news."""
        return self.ended.done() and not self.ended.cancelled() and isinstance(self.ended.exception(), HostTaken)

    @staticmethod
    async def _until(end: float, what: Coroutine[Any, Any, None]) -> None:
        """Wait, but not beyond a moment of time.monotonic(); what goes wrong with it does not keep us from ending."""
        try:
            async with asyncio.timeout(end - time.monotonic()):
                await what
        except TimeoutError:
            pass
        except Exception:
            log.exception("stop_broke")

    def _receive(self, delivery: Any) -> None:
        if self._dispatcher is not None:
            self._dispatcher.receive(delivery)

    def _on_libvirt_found(self, facts: Facts) -> None:
        log.info(
            "libvirt_connected", uri=_without_password(facts.uri), driver=facts.driver, libvirt=facts.daemon_version
        )
        if self._stream is not None:
            self._stream.libvirt_found({"versions": versions(self._hypervisor)})

    def _on_libvirt_lost(self, loss: Loss) -> None:
        log.warning("libvirt_lost", reason=loss.reason)
        if self._dispatcher is not None and not loss.is_partial:
            self._dispatcher.streams.abort_all(LibvirtLost(f"libvirt was lost: {loss.reason}"))
        if self._stream is not None:
            self._stream.libvirt_lost(loss.reason, loss.since)

    def sign_of_life(self) -> dict[str, Any]:
        """Return what `ping --local` shows and systemd is told."""
        return {
            "host": self.host,
            "instance": self.instance,
            "agent": __version__,
            "broker": self._bus is not None and self._bus.linked.is_set(),
            "libvirt": self._hypervisor.connected,
        }

    def _ping(self) -> dict[str, Any]:
        libvirt = {"connected": self._hypervisor.connected}
        return {
            "host": self.host,
            "instance": self.instance,
            "versions": versions(self._hypervisor),
            "libvirt": libvirt,
            "access": self._settings.access,
            **self._health(),
        }

    def _open_metrics(self, settings: Settings) -> Exporter | None:
        """Serve /metrics from now on, if it is switched on."""
        if settings.metrics_listen is None:
            return None
        exporter = Exporter(
            settings.metrics_listen,
            self._whole_health,
            settings.stats_interval,
            of_domains=settings.metrics_domains,
            names=settings.metrics_names,
        )
        exporter.start()
        return exporter

    def _whole_health(self) -> dict[str, Any]:
        """Return what a ping and a heartbeat tell, and what only somebody beside the broker can be told."""
        heartbeat = {"interval": self._settings.heartbeat_interval}
        if self._heartbeat is not None:
            heartbeat["counter"] = self._heartbeat.counter
        return {
            **self._ping(),
            **self._health_and_polling(),
            "uptime": time.monotonic() - self._started,
            "broker": {"connected": self._bus is not None and self._bus.linked.is_set()},
            "published": self._bus.published if self._bus else 0,
            "calls": {"open": self._hypervisor.open_calls},
            "heartbeat": heartbeat,
        }

    def _health_and_polling(self) -> dict[str, Any]:
        polling = {"polling": self._polling.health()} if self._polling is not None else {}
        return {**self._health(), **polling}

    def _health(self) -> dict[str, Any]:
        """Return what the bus and the stream know about themselves."""
        if self._bus is None or self._stream is None:
            return {}
        return {
            "sequence": self._stream.sequence,
            "pending": len(self._bus.outbox),
            "lost": self._bus.outbox.lost_total,
            "refused": self._bus.refused,
        }


def _plan(settings: Settings) -> Plan:
    return Plan(
        settings.stats_interval,
        settings.stats_groups,
        settings.stats_groups_interval,
        settings.stats_cpu_share / 100,
        settings.stats_per_host,
        settings.stats_full_every if settings.stats_only_changed else None,
    )


def _without_password(uri: str | None) -> str | None:
    return re.sub(r"://([^:@/]*):[^@/]*@", r"://\1@", uri) if uri else None


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Agent]:
    """Run an agent inside the block; leaving it drains and stops."""
    agent = Agent(settings)
    try:
        yield agent
    finally:
        await agent.stop()
