"""`libvirt-amqp serve`: the agent itself."""

import sys
from pathlib import Path

import click

from libvirt_amqp.cli import broker_again, hand_over_broker


@click.command("serve")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file of settings [default: /etc/libvirt-amqp.toml, if it is there].",
)
@broker_again
@click.pass_context
def command(context: click.Context, config: Path | None) -> None:
    """Run the agent of this host.

    Settings come from the environment (LIBVIRT_AMQP_HOST, _URI, _BROKER_URL, _ACCESS, ...) over the file, and --broker
    over both; without any it serves read-only calls of libvirt's default hypervisor through a broker on this machine.

    Exit codes: 0 stopped, 1 a fault, 2 wrong settings, 3 another agent serves this host.
    """
    from app.__main__ import main  # noqa: PLC0415 (the agent's imports are for the agent alone)

    hand_over_broker(context)
    sys.exit(main(config))
