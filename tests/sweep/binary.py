"""Bytes as they are written in JSON."""

import base64
import uuid


def as_bytes(raw: bytes) -> dict[str, str]:
    """Return what an argument of type `bytes` is."""
    return {"$base64": base64.b64encode(raw).decode()}


def uuid_bytes(text: str) -> dict[str, str]:
    """Return the 16 bytes of a uuid."""
    return as_bytes(uuid.UUID(text).bytes)
