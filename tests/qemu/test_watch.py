"""The watched connection, beside a libvirtd that is lost at the worst moment."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from conftest import eventually
from private_libvirtd import PrivateLibvirtd

from app.hypervisor import Connection, Hypervisor, event_loop


@pytest.fixture
async def hypervisor(fresh_daemon: PrivateLibvirtd) -> AsyncIterator[Hypervisor]:
    fresh_daemon.start()
    hypervisor = Hypervisor(fresh_daemon.test_uri, read_only=False)
    yield hypervisor
    await hypervisor.close()


async def test_a_libvirtd_restarted_right_after_the_registrations_is_a_loss_and_they_are_made_again(
    fresh_daemon: PrivateLibvirtd, hypervisor: Hypervisor
) -> None:
    reports: list[str] = []
    heard: list[str] = []

    def register(connection: Any) -> Callable[[], None]:
        number = connection.domainEventRegisterAny(None, 0, lambda *_: heard.append("event"), None)
        if not reports.count("registered"):
            fresh_daemon.kill()
            fresh_daemon.start()
        reports.append("registered")

        def deregister() -> None:
            with contextlib.suppress(Exception):
                connection.domainEventDeregisterAny(number)

        return deregister

    hypervisor.watch(register, lambda *_: None, lambda _: reports.append("found"), lambda _: reports.append("lost"))
    await eventually(lambda: reports == ["registered", "found", "lost", "registered", "found"])
    await hypervisor.call(lambda connection: connection.lookupByName("test").suspend())
    await eventually(lambda: heard)


async def test_a_new_connection_does_not_know_why_the_one_before_was_lost(fresh_daemon: PrivateLibvirtd) -> None:
    event_loop.start()
    fresh_daemon.start()
    connection = Connection(fresh_daemon.test_uri, read_only=True)
    connection.open()
    fresh_daemon.kill()
    await eventually(lambda: connection.reason == "eof")
    fresh_daemon.start()
    connection.open()
    assert connection.reason == ""
    connection.close()
