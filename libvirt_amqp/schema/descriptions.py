"""What libvirt says about its API in words, and which enum a number is.  Read only when a document is made.

The data (descriptions.json) is extracted by scripts/extract_descriptions.py.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import orjson


@cache
def load() -> dict[str, Any]:
    """Return `functions`, `structs`, `enums` and `params` (typed parameters by the prefix of their macros)."""
    data: dict[str, Any] = orjson.loads(files("libvirt_amqp").joinpath("descriptions.json").read_bytes())
    return data
