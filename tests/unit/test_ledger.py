from datetime import UTC, datetime
from typing import Any

import pytest
from rows import Rows

from app.events.compare import changes
from app.events.ledger import ABSENT, CRASHED, PAUSED, PMSUSPENDED, RUNNING, SHUTOFF, Ledger, State, after

DOMAIN = {"class": "domain", "host": "h1", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "name": "web", "id": 4}
NETWORK = {"class": "network", "host": "h1", "uuid": "dd8fe884-6c02-601e-7551-cca97df1c5df", "name": "default"}
DEVICE = {"class": "node-device", "host": "h1", "name": "pci_0"}
SUBJECT = f"domain/{DOMAIN['uuid']}"


def domain(state: int, *, persistent: bool = True, domain_id: int = 4) -> State:
    active = state != SHUTOFF
    return State(active, persistent, state, domain_id if active else -1)


def words(old: State, new: State, former: dict[str, Any] = DOMAIN, now: dict[str, Any] = DOMAIN) -> str:
    return " ".join(word for _, word in changes(former, old, now, new))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (ABSENT, domain(SHUTOFF), "defined"),
        (ABSENT, domain(RUNNING), "defined started"),
        (ABSENT, domain(PAUSED, persistent=False), "started suspended"),
        (ABSENT, domain(PMSUSPENDED), "defined started pmsuspended"),
        (domain(RUNNING), ABSENT, "stopped undefined"),
        (domain(RUNNING, persistent=False), ABSENT, "stopped"),
        (domain(SHUTOFF), ABSENT, "undefined"),
        (domain(RUNNING), domain(RUNNING, domain_id=5), "stopped started"),
        (domain(RUNNING), domain(PAUSED, domain_id=5), "stopped started suspended"),
        (domain(PAUSED), domain(RUNNING), "resumed"),
        (domain(RUNNING), domain(CRASHED), "crashed"),
        (domain(RUNNING), domain(RUNNING, persistent=False), "undefined"),
        (domain(RUNNING, persistent=False), domain(SHUTOFF), "defined stopped"),
        (domain(RUNNING), State(active=True, persistent=True, state=0, id=4), ""),
        (domain(RUNNING), State(active=True, persistent=None, state=PAUSED, id=4), "suspended"),
        (domain(RUNNING), domain(RUNNING), ""),
    ],
)
def test_a_difference_is_told_by_events_in_a_sensible_order(old: State, new: State, expected: str) -> None:
    assert words(old, new) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (old, new)
        for old in (ABSENT, domain(SHUTOFF), domain(RUNNING), domain(PAUSED, persistent=False, domain_id=5))
        for new in (ABSENT, domain(SHUTOFF), domain(RUNNING), domain(CRASHED), domain(PAUSED, persistent=False))
    ],
)
def test_the_events_of_a_difference_lead_from_the_one_state_to_the_other(old: State, new: State) -> None:
    state: State | None = old if old.is_there else None
    for whose, word in changes({**DOMAIN, "id": old.id}, old, {**DOMAIN, "id": new.id}, new):
        state = after(state, whose, word, (0, None))
    assert (state or ABSENT) == new


def test_node_devices_are_created_and_deleted() -> None:
    active, inactive = State(active=True, persistent=None), State(active=False, persistent=True)
    assert words(ABSENT, active, DEVICE, DEVICE) == "created"
    assert words(active, ABSENT, DEVICE, DEVICE) == "deleted"
    assert words(ABSENT, inactive, DEVICE, DEVICE) == "defined"
    assert words(inactive, active, DEVICE, DEVICE) == "created"
    assert after(None, DEVICE, "created", (0, 0)) == State(active=True, persistent=False)
    assert after(active, DEVICE, "deleted", (1, 0)) is None


def test_another_name_is_another_definition() -> None:
    assert words(domain(SHUTOFF), domain(SHUTOFF), DOMAIN, {**DOMAIN, "name": "mail"}) == "defined"


def test_a_rename_is_no_end() -> None:
    assert after(domain(SHUTOFF), {**DOMAIN, "id": -1}, "undefined", (1, 1)) == domain(SHUTOFF)
    assert after(domain(SHUTOFF), {**DOMAIN, "id": -1}, "undefined", (1, 0)) is None


def test_a_transient_object_is_gone_when_it_stops_and_a_persistent_one_when_it_is_undefined() -> None:
    assert after(domain(RUNNING, persistent=False), DOMAIN, "stopped", (5, 0)) is None
    assert after(domain(RUNNING), DOMAIN, "stopped", (5, 0)) == domain(SHUTOFF)
    assert after(domain(RUNNING), DOMAIN, "undefined", (1, 0)) == domain(RUNNING, persistent=False)
    assert after(State(active=False, persistent=True), NETWORK, "undefined", (1, 0)) is None


def test_rows_survive_the_process_with_states_and_last_sequences() -> None:
    rows = Rows()
    ledger = Ledger(rows)
    ledger.note(SUBJECT, DOMAIN, "0000000001-000000000000001", ("lifecycle", "started"), (2, 0))
    ledger.note(SUBJECT, DOMAIN, "0000000001-000000000000002", ("metadata-change",), (0, None))
    ledger.note("agent", {"class": "agent", "host": "h1"}, "0000000001-000000000000003", ("stopping",), ())
    ledger.now_known("domain")
    again = Ledger(Rows(rows.rows))
    assert again.previous(SUBJECT) == "0000000001-000000000000002"
    assert again.previous("agent") == "0000000001-000000000000003"
    assert again.there("domain")[SUBJECT].state == domain(RUNNING, persistent=False)
    assert again.is_known("domain")
    assert not again.is_known("network")


def test_what_is_gone_keeps_its_last_sequence_and_is_not_there() -> None:
    rows = Rows()
    ledger = Ledger(rows)
    ledger.note(SUBJECT, DOMAIN, "1-1", ("lifecycle", "started"), (2, 0))
    ledger.note(SUBJECT, DOMAIN, "1-2", ("lifecycle", "stopped"), (5, 0))
    for one in (ledger, Ledger(Rows(rows.rows))):
        assert one.there("domain") == {}
        assert one.previous(SUBJECT) == "1-2"


def test_nobody_having_listened_is_remembered_beyond_the_end_of_the_process() -> None:
    rows = Rows()
    since = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
    Ledger(rows).unheard(since)
    later = Rows(rows.rows)
    later.former_alive = datetime(2026, 11, 25, 2, tzinfo=UTC)
    ledger = Ledger(later)
    assert ledger.unheard_since == since
    ledger.unheard(None)
    assert Ledger(Rows(later.rows)).unheard_since is None


def test_the_objects_of_another_hypervisor_are_not_gone_but_forgotten() -> None:
    ledger = Ledger(Rows())
    ledger.begin("one")
    ledger.note(SUBJECT, DOMAIN, "1-1", ("lifecycle", "started"), (2, 0))
    ledger.now_known("domain")
    ledger.begin("one")
    assert ledger.there("domain")
    ledger.begin("two")
    assert ledger.there("domain") == {}
    assert not ledger.is_known("domain")


def test_a_journal_that_begins_anew_gets_every_row_again() -> None:
    rows = Rows()
    ledger = Ledger(rows)
    ledger.begin("one")
    ledger.note(SUBJECT, DOMAIN, "1-1", ("lifecycle", "started"), (2, 0))
    ledger.now_known("domain")
    before = dict(rows.rows)
    rows.rows.clear()
    ledger.keep_again()
    assert rows.rows == before


def test_a_row_that_cannot_be_read_costs_only_itself() -> None:
    assert Ledger(Rows({SUBJECT: b"{", "agent": b"7"})).previous(SUBJECT) is None
