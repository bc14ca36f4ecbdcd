"""`libvirt-amqp schema`: the contract for machines."""

import json

import click

from libvirt_amqp import catalogue, schema


@click.group("schema")
def command() -> None:
    """Print the contract for machines: JSON, on standard output."""


@command.command("openrpc")
@click.argument("methods", nargs=-1)
def openrpc(methods: tuple[str, ...]) -> None:
    """Print the OpenRPC document of all calls, or the description of the METHODS named."""
    if not methods:
        click.echo(json.dumps(schema.openrpc(), indent=1))
        return
    functions = catalogue.load().functions
    for name in methods:
        function = functions.get(name)
        if function is None:
            raise click.BadParameter(f"{name!r} is no function of libvirt", param_hint="METHODS")
        if function.left_out is not None:
            click.echo(json.dumps({"name": name, "x-left-out": function.left_out}, indent=1))
        else:
            click.echo(json.dumps(schema.method(function), indent=1))
