"""`libvirt-amqp doctor`: what keeps an agent from working here, and the line that mends it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from libvirt_amqp.cli import EXIT_ERROR, SECONDS, broker_again, hand_over_broker, run

if TYPE_CHECKING:
    from app.doctor import Finding

_COLOURS = {"ok": "green", "advice": "yellow", "unseen": "cyan", "wrong": "red"}


@click.command("doctor")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML file of settings [default: /etc/libvirt-amqp.toml, if it is there].",
)
@click.option("--listen", type=SECONDS, default=6.0, show_default=True, help="Seconds to hear other hosts' clocks.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of findings: check, status, text, mend.")
@broker_again
@click.pass_context
def command(context: click.Context, config: Path | None, listen: float, *, as_json: bool) -> None:
    """Examine what an agent with these settings and this user needs: run it as `serve` is run.

    It looks at the settings, libvirt's socket and what it lets this user do, libvirtd's limits, the broker and its
    permissions, the host's name, the clock and the place for state.  It changes nothing and may run beside an agent.

    Each line is `ok`, `advice` (works, could be better), `unseen` (cannot be told from here) or `wrong`, and what is
    not ok has the line that mends it.

    Exit codes: 0 nothing is wrong, 1 something is.
    """
    from app.doctor import Status, examine  # noqa: PLC0415 (as in `serve`)

    hand_over_broker(context)
    findings: list[Finding] = []

    async def look() -> None:
        findings.extend(await examine(config, listen))

    run(look())
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            _show(finding)
    sys.exit(EXIT_ERROR if any(finding.status is Status.WRONG for finding in findings) else 0)


def _show(finding: "Finding") -> None:
    click.echo(f"{click.style(f'{finding.status:<6}', fg=_COLOURS[finding.status])}  {finding.check}: {finding.text}")
    if finding.mend is not None:
        click.echo(f"        > {finding.mend}")
