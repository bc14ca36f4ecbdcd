from libvirt_amqp.catalogue import load
from libvirt_amqp.objects import CLASSES
from sweep.sweep import HOST_DECIDES, NAMERS, Sweep
from sweep.table import FILE, page, succeeded

FUNCTIONS = load().served()
TARGET = 359 + 12  # plain functions, and those of streams


def test_every_served_function_is_called_over_the_bus(sweep: Sweep) -> None:
    assert set(sweep.outcomes) == set(FUNCTIONS)


def test_every_call_succeeds_with_a_result_of_its_schema_or_is_refused_by_libvirt_as_expected(sweep: Sweep) -> None:
    assert not sweep.wrong, "\n".join(sweep.wrong)


def test_a_function_succeeds_if_any_driver_here_has_it(sweep: Sweep) -> None:
    assert len(succeeded(sweep.outcomes)) >= TARGET


def test_objects_of_every_class_are_reached_by_their_keys(sweep: Sweep) -> None:
    reached = {FUNCTIONS[name].cls for name in succeeded(sweep.outcomes)} - {"stream"}
    assert reached == CLASSES.keys() - {"agent"}
    assert len(reached) == 13


def test_every_object_that_a_function_returns_is_accepted_as_a_receiver(sweep: Sweep) -> None:
    returning = {name for name in succeeded(sweep.outcomes) if _returns_objects(name)}
    assert sweep.accepted == returning


def test_the_table_in_the_documentation_is_what_comes_out(sweep: Sweep) -> None:
    made = page(sweep.outcomes)
    assert _of_every_host(FILE.read_text()) == _of_every_host(made), "`make coverage` writes it anew"


def _of_every_host(text: str) -> list[str]:
    """Return the rows that do not depend on the host's hardware."""
    rows = [line for line in text.splitlines() if line.startswith("| `vir")]
    return [row for row in rows if row.split("`")[1] not in HOST_DECIDES]


def _returns_objects(name: str) -> bool:
    kinds = {kind.removeprefix("[]") for _, kind in FUNCTIONS[name].outputs}
    return bool(kinds & (NAMERS.keys() | {"struct virDomainStatsRecord"}))
