"""The command `libvirt-amqp`: one module per subcommand, imported when it is asked for, so that `ping` stays light."""

import importlib
import math
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click
from click.core import ParameterSource

from libvirt_amqp import __version__
from libvirt_amqp.errors import CallError, NoAnswer, Unroutable
from libvirt_amqp.local import setting, settings_file
from libvirt_amqp.url import DEFAULT_URL

EXIT_ERROR, EXIT_BROKER, EXIT_NO_AGENT = 1, 3, 4
_COMMANDS = (
    "serve",
    "watch",
    "call",
    "hosts",
    "ping",
    "console",
    "download",
    "upload",
    "screenshot",
    "schema",
    "doctor",
)


class Seconds(click.FloatRange):
    """A time to wait: more than nothing, at most a year, and a number."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=366 * 86_400)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """Refuse what compares with nothing."""
        seconds = super().convert(value, param, context)
        if math.isnan(seconds):
            self.fail(f"{value} is no number.", param, context)
        return seconds


SECONDS = Seconds()


def _use_broker(context: click.Context, _parameter: click.Parameter, url: str | None) -> None:
    if url is not None:
        context.obj = url


def broker_option(**more: Any) -> Callable[[Any], Any]:
    """Return the option `--broker`: before the subcommand with a default, behind it for who writes it there."""
    return click.option("--broker", metavar="URL", expose_value=False, callback=_use_broker, **more)


broker_again = broker_option(help="The AMQP broker, as before the subcommand.")


def hand_over_broker(context: click.Context) -> None:
    """Let a `--broker` that was typed stand above the agent's settings: for commands that read those."""
    if ParameterSource.COMMANDLINE in _sources(context):
        os.environ["LIBVIRT_AMQP_BROKER_URL"] = context.obj


def _sources(context: click.Context) -> set[ParameterSource | None]:
    """Return where the broker's URL may come from, before the subcommand and behind it."""
    return {one.get_parameter_source("broker") for one in (context, context.parent) if one is not None}


def _installed_broker() -> str:
    """Return the URL that the agent of this machine is told by its file, else that of a broker beside it."""
    return setting({}, "broker_url") or DEFAULT_URL


def _unread(context: click.Context | None) -> str:
    """Say that the settings' file was not to be read, where a broker in it would have been asked."""
    if context is None or _sources(context) & {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}:
        return ""
    _, why = settings_file()
    return f" ({why}; --broker names another)" if why else ""


class LazyGroup(click.Group):
    """Imports `libvirt_amqp.cli.NAME` for the subcommand NAME."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names in the order in which people meet them."""
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return the subcommand, None for an unknown one."""
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__package__}.{name}").command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version")
@broker_option(
    envvar="LIBVIRT_AMQP_BROKER_URL",
    default=_installed_broker,
    help="The AMQP broker: amqp://user:password@host:port/vhost [default: LIBVIRT_AMQP_BROKER_URL, else broker_url in "
    "/etc/libvirt-amqp.toml, else guest on this machine].",
)
def group() -> None:
    """Libvirt over AMQP: events, calls and light statistics of virtualization hosts.

    \b
    An agent runs beside libvirt on every host:   libvirt-amqp serve
    See what it says:                             libvirt-amqp watch
    Ask it:                                       libvirt-amqp call host1 domain/web virDomainGetInfo

    Exit codes: 0 success, 1 answered with an error, 2 wrong usage, 3 no broker, 4 no agent or no answer.
    """  # noqa: D301 (click's mark for a paragraph that is not wrapped again)


def main() -> None:
    """Run the command; errors are one line each."""
    try:
        group()
    except BrokenPipeError:  # `libvirt-amqp watch | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a subcommand's work; an error becomes one line and an exit code."""
    import asyncio  # noqa: PLC0415 (these two are most of what a command costs, and not every one needs them)

    from libvirt_amqp.broker import BrokerUnavailable  # noqa: PLC0415

    try:
        asyncio.run(_until_told_to_end(work))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    except BrokenPipeError:
        raise
    except BrokerUnavailable as error:
        fail(f"{error}{_unread(click.get_current_context(silent=True))}", EXIT_BROKER)
    except (Unroutable, NoAnswer) as error:
        fail(str(error), EXIT_NO_AGENT)
    except CallError as error:
        fail(describe(error), EXIT_ERROR)
    except OSError as error:  # of a file: those of the broker have a class of their own
        fail(f"{error.filename or 'output'}: {error.strerror}", EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(130)


async def _until_told_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Do the work; a closed terminal or a SIGTERM ends it in order, so that a console is not left locked."""
    import asyncio  # noqa: PLC0415 (as in `run`)

    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


def fail(message: str, code: int) -> None:
    """Say what went wrong, and leave."""
    click.echo(f"libvirt-amqp: {message}", err=True)
    sys.exit(code)


def describe(error: CallError) -> str:
    """Return an error as one line: what kind, libvirt's name of it, the message."""
    data = error.data or {}
    name = data.get("codeName") or type(error).__name__
    return f"{name}: {error.message}"
