"""A broker's URL: what it needs, and how it is shown."""

import contextlib

from yarl import URL

DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/"


def parse_url(url: str) -> URL:
    """Read a broker's URL.  Raises ValueError with what it needs, without the password."""
    target = None
    with contextlib.suppress(ValueError):
        target = URL(url)
    if target is None or target.scheme not in {"amqp", "amqps"} or not target.host or target.port == 0:
        raise ValueError(
            "needs the form amqp://user:password@host:port/vhost, or amqps://; "
            "what is special in a user or password is percent-encoded",
        )
    try:
        target.host.encode("idna")  # as the resolver does
    except UnicodeError as error:
        raise ValueError(
            "needs a host that can be looked up: between the dots of its name are 1 to 63 characters"
        ) from error
    return target


def describe(url: str) -> str:
    """Return where a URL points, without user and password, fit for a log line."""
    parsed = URL(url)
    return f"{parsed.scheme}://{parsed.host}:{parsed.port or (5671 if parsed.scheme == 'amqps' else 5672)}{parsed.path}"
