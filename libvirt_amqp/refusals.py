"""Says in one line why a broker did not let us in: what OpenSSL and the libraries report, as an operator needs it."""

import re

from yarl import URL

_KNOWN = (
    # The reasons are OpenSSL's, seen with Python 3.11 and RabbitMQ 3.10; (1) is what stands there, without its source.
    (
        r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.*?)\.? \(_ssl",
        "the broker's certificate is refused: {}",
    ),
    (r"CERTIFICATE_REQUIRED", "the broker demands a client certificate (certfile)"),
    (r"ALERT_UNKNOWN_CA", "the broker refused our certificate: it does not trust the CA that signed it"),
    (r"ALERT_([A-Z_]*CERTIFICATE[A-Z_]*)", "the broker refused our certificate: {}"),
    (r"WRONG_VERSION_NUMBER", "there is no TLS on this port (amqp:// is for it)"),
    (
        r"Connection\.OpenOk.*Connection\.Close",
        "the broker refused the virtual host: missing, or not for this user",
    ),
)


def reason(error: BaseException, target: URL) -> str:
    """Return what went wrong, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern, meaning in _KNOWN:
        if found := re.search(pattern, text):
            return meaning.format(*found.groups())
    return _of_reset(target) if "ConnectionResetError" in text else text


def _of_reset(target: URL) -> str:
    """Return what it may mean that the connection was reset: the broker's alert does not always arrive before that."""
    if target.scheme == "amqp":
        return "the broker closed the connection at once; if the port is one for TLS, amqps:// is for it"
    doubt = "distrusts our certificate" if "certfile" in target.query else "demands a client certificate (certfile)"
    return f"the broker closed the connection before the login; perhaps it {doubt}"
