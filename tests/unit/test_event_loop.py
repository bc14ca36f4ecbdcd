import threading
from collections.abc import Callable, Iterator

import libvirt
import pytest

from app.hypervisor import event_loop, quiet


@pytest.fixture
def domain() -> Iterator[libvirt.virDomain]:
    event_loop.start()
    connection = libvirt.open("test:///default")
    yield connection.lookupByName("test")
    connection.close()


@pytest.fixture
def heard(domain: libvirt.virDomain) -> Iterator[threading.Semaphore]:
    """Yield what counts the events of the domain."""
    events = threading.Semaphore(0)
    connection = domain.connect()
    kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
    number = connection.domainEventRegisterAny(None, kind, lambda *_: events.release(), None)
    yield events
    connection.domainEventDeregisterAny(number)


def changes(domain: libvirt.virDomain) -> None:
    domain.suspend()
    domain.resume()


def test_events_are_heard_while_somebody_hangs_in_quiet_calls(
    domain: libvirt.virDomain, heard: threading.Semaphore
) -> None:
    with quiet():
        for _ in range(20):
            changes(domain)
            assert heard.acquire(timeout=10)
            assert heard.acquire(timeout=10)


def test_events_of_quiet_calls_are_heard_after_them(domain: libvirt.virDomain, heard: threading.Semaphore) -> None:
    for _ in range(100):
        with quiet():
            changes(domain)
    for _ in range(200):
        assert heard.acquire(timeout=10)


def test_two_may_be_quiet_at_once(domain: libvirt.virDomain, heard: threading.Semaphore) -> None:
    def work(do: Callable[[], None]) -> None:
        for _ in range(200):
            with quiet():
                do()

    threads = [threading.Thread(target=work, args=(do,)) for do in (lambda: changes(domain), domain.info)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for _ in range(400):
        assert heard.acquire(timeout=10)
