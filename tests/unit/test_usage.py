import click
import pytest
from click.testing import CliRunner

from app.events.kinds import kinds as agents_kinds
from libvirt_amqp import catalogue
from libvirt_amqp.cli import group
from libvirt_amqp.cli.kinds import OPEN, known
from libvirt_amqp.cli.objects import _written
from libvirt_amqp.cli.watch import check_filters
from libvirt_amqp.keys import EVENTS, STATS
from libvirt_amqp.objects import CLASSES

BOTH = [EVENTS, STATS]


def test_watch_knows_the_agent_s_names_of_all_events() -> None:
    of_libvirt = {f"{cls}.{event}" for cls in OPEN for event in known(EVENTS)[cls]}
    assert {kind.type for kind in agents_kinds(catalogue.load())} <= of_libvirt


@pytest.mark.parametrize(
    ("cls", "object_", "event"),
    [
        (None, None, "lifecycle"),
        ("domain", "web", "pm-suspend-disk"),
        ("domain", None, "info"),
        ("agent", None, "heartbeat"),
        ("secret", "6695EB01-f6a4-8304-79aa-97f2502e193f", "value-changed"),
        (None, "disk/1", None),
        ("connect", None, None),
    ],
)
def test_what_can_come_is_waited_for(
    cls: str | None, object_: str | None, event: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    check_filters(BOTH, cls, object_, event)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("exchanges", "cls", "object_", "event", "says"),
    [
        (BOTH, "nwfilter", None, None, "of agent, connect, domain, network"),
        ([EVENTS], "connect", None, None, "of agent, domain, network"),
        ([STATS], "network", None, None, "of agent, connect, domain it does"),
        (BOTH, "agent", None, "lifecycle", "known: gap, heartbeat, libvirt-found"),
        ([STATS], None, None, "lifecycle", "known: domains, heartbeat, info, stats"),
        (BOTH, "domain", None, "lifecycle.started", "there is none"),
        (BOTH, None, None, "", "there is none"),
        (BOTH, "agent", "web", None, "without a name"),
        (BOTH, None, "domain/web", None, "--class domain --object web"),
        (BOTH, None, "", None, "needed"),
        (BOTH, "secret", "web", None, "uuid"),
        ([STATS], None, "web", "heartbeat", "known: info, stats"),
    ],
)
def test_what_cannot_come_is_refused_with_what_there_is(
    exchanges: list[str], cls: str | None, object_: str | None, event: str | None, says: str
) -> None:
    with pytest.raises(click.UsageError) as error:
        check_filters(exchanges, cls, object_, event)
    assert says in error.value.message


def test_an_event_that_a_newer_libvirt_may_have_is_waited_for_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    check_filters(BOTH, "network", None, "metadata-change")
    err = capsys.readouterr().err
    assert "'metadata-change'" in err
    assert "known: lifecycle" in err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300", "soon"])
@pytest.mark.parametrize(
    "command",
    [
        ["ping", "h1", "--timeout"],
        ["hosts", "--wait"],
        ["call", "h1", "connect", "virConnectGetType", "--timeout"],
    ],
)
def test_a_time_that_is_none_is_wrong_usage(command: list[str], seconds: str) -> None:
    result = CliRunner().invoke(group, [*command, seconds])
    assert result.exit_code == 2
    assert command[-1] in result.output


def test_call_says_how_the_objects_of_every_class_are_written() -> None:
    usage = CliRunner().invoke(group, ["call", "--help"]).output
    for name, cls in CLASSES.items():
        assert name in usage
        assert _written(cls).count("/") == cls.words
