"""libvirt's typed parameters: which type each name has, which values a type takes, and UINTs as libvirt meant them.

The types (typed_params.json) are extracted from libvirt's own description by scripts/extract_typed_params.py.
"""

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import orjson

from libvirt_amqp.catalogue import INTEGERS

RANGES = {
    "INT": INTEGERS["int32"],
    "UINT": INTEGERS["uint32"],
    "LLONG": INTEGERS["int64"],
    "ULLONG": INTEGERS["uint64"],
}
"""The range of every integer type."""

_NUMBER = re.compile(r"\d+")


@cache
def _types() -> dict[str, str]:
    types: dict[str, str] = orjson.loads(files(__package__).joinpath("typed_params.json").read_bytes())
    return types


@lru_cache(maxsize=8192)
def type_of(name: str) -> str | None:
    """Return libvirt's type for a name; None for a name that is not known.

    >>> type_of("inbound.average"), type_of("block.12.backingIndex")
    ('UINT', 'UINT')
    """
    types = _types()
    return types.get(name) or types.get(_NUMBER.sub("*", name))


def unsigned(params: dict[str, Any]) -> dict[str, Any]:
    """Return what the binding gave, with the UINTs that it gives as negative from 2^31 on put right."""
    wrong = [name for name, value in params.items() if isinstance(value, int) and value < 0 and type_of(name) == "UINT"]
    return params | {name: params[name] + 2**32 for name in wrong} if wrong else params
