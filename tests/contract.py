"""What a message and a result have to look like by the contract that this version prints."""

from functools import cache
from typing import Any

from jsonschema import Draft7Validator, FormatChecker

from libvirt_amqp.messages import TYPE_PREFIX
from libvirt_amqp.schema.calls import openrpc
from libvirt_amqp.schema.channels import asyncapi


def check_message(name: str, body: Any) -> None:
    """Validate the body of `domain.lifecycle`, `request`, `reply`, ... by the AsyncAPI document."""
    _message(name).validate(body)


def check_published(body: dict[str, Any]) -> str:
    """Validate what an agent published by its own type, and return that."""
    name: str = body["type"].removeprefix(TYPE_PREFIX)
    check_message(name, body)
    return name


def check_result(method: str, result: Any) -> None:
    """Validate the result of a call by the OpenRPC document."""
    _method(method)["result"].validate(result)


def check_params(method: str, params: dict[str, Any]) -> None:
    """Validate the arguments of a call by the OpenRPC document."""
    validators = _method(method)["params"]
    assert params.keys() <= validators.keys(), method
    assert {name for name, (required, _) in validators.items() if required} <= params.keys(), method
    for name, value in params.items():
        validators[name][1].validate(value)


@cache
def _message(name: str) -> Draft7Validator:
    return _validator(asyncapi()["components"]["messages"][name]["payload"], asyncapi())


@cache
def _method(name: str) -> dict[str, Any]:
    method = next(method for method in openrpc()["methods"] if method["name"] == name)
    params = {p["name"]: (p["required"], _validator(p["schema"], openrpc())) for p in method["params"]}
    return {"params": params, "result": _validator(method["result"]["schema"], openrpc())}


def _validator(schema: dict[str, Any], document: dict[str, Any]) -> Draft7Validator:
    whole = {"allOf": [schema], "components": document["components"]}
    return Draft7Validator(whole, format_checker=FormatChecker())
