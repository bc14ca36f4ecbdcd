"""`libvirt-amqp schema`: the contract for machines."""

import json
from typing import Any

import click

from libvirt_amqp import catalogue
from libvirt_amqp.schema import calls, channels
from libvirt_amqp.schema.types import components


@click.group("schema")
def command() -> None:
    """Print the contract for machines: JSON, on standard output.

    Numbers of enums and flags have their names in the components that the schemas refer to, under x-names.
    """


@command.command("openrpc")
@click.argument("methods", nargs=-1)
def openrpc(methods: tuple[str, ...]) -> None:
    """Print the OpenRPC document of all calls, or the description of the METHODS named.

    The document is what the agent's method rpc.discover returns; a single method comes with the types it refers to.
    """
    document = calls.openrpc()
    if not methods:
        _show(document)
    for name in methods:
        _show(_described(document, name))


@command.command("asyncapi")
def asyncapi() -> None:
    """Print the AsyncAPI document of exchanges and messages: events, statistics, requests and replies."""
    _show(channels.asyncapi())


def _described(document: dict[str, Any], name: str) -> dict[str, Any]:
    for method in document["methods"]:
        if method["name"] == name:
            return {**method, "components": {"schemas": components(method)}}
    function = catalogue.load().functions.get(name)
    if function is None:
        raise click.BadParameter(f"{name!r} is no function of libvirt and no method of an agent", param_hint="METHODS")
    return {"name": name, "x-left-out": function.left_out}


def _show(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=1))
