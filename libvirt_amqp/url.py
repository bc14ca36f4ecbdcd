"""A broker's URL: what it needs, and how it is shown."""

import contextlib

from yarl import URL

QUERY = ("auth", "cafile", "capath", "certfile", "keyfile", "no_verify_ssl", "heartbeat", "timeout")
"""What may stand behind the `?`; the middle five are for amqps:// only."""
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
    _check_query(target)
    return target


def _check_query(target: URL) -> None:
    """Refuse what would be ignored: a misspelt option leaves a connection less safe than it was meant to be."""
    query = target.query
    for name in query:
        if name not in QUERY:
            raise ValueError(f"has no option {name!r} (there are {', '.join(QUERY)})")
        if name in QUERY[1:6] and target.scheme != "amqps":
            raise ValueError(f"has {name} for TLS, which needs amqps://")
    if query.get("auth", "plain").lower() not in {"plain", "external"}:
        raise ValueError("has an auth that is neither plain nor external")
    if query.get("auth", "plain").lower() == "external" and "certfile" not in query:
        raise ValueError("has auth=external, the login by a client certificate, which needs certfile")
    if "keyfile" in query and "certfile" not in query:
        raise ValueError("has a keyfile without a certfile")


def describe(url: str) -> str:
    """Return where a URL points, without user and password, fit for a log line."""
    parsed = URL(url)
    return f"{parsed.scheme}://{parsed.host}:{parsed.port or (5671 if parsed.scheme == 'amqps' else 5672)}{parsed.path}"
