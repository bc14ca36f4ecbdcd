"""TLS to the broker as its URL wants it: whom we trust, and who we are."""

import ssl

from yarl import URL

TRUST, IDENTITY = ("cafile", "capath"), ("certfile", "keyfile")


def context(target: URL) -> ssl.SSLContext | None:
    """Return how to speak TLS, None for a URL without; reads the files anew, so that a renewed one counts.

    The broker's certificate is checked against `cafile` (PEM), `capath`, or the system's, and its names against the
    host in the URL.  Raises ValueError that names the file.
    """
    if target.scheme != "amqps":
        return None
    query = target.query
    cafile, capath, certfile, keyfile = (query.get(name) for name in TRUST + IDENTITY)
    try:
        made = ssl.create_default_context(cafile=cafile, capath=capath)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"has cafile {cafile or capath}: {_why(error)}") from error
    try:
        if certfile is not None:
            made.load_cert_chain(certfile, keyfile, password="")
    except OSError as error:
        raise ValueError(f"has certfile {certfile} with keyfile {keyfile or certfile}: {_why(error)}") from error
    if query.get("no_verify_ssl", "0") != "0":
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _why(error: OSError) -> str:
    """Return what is wrong with a file, as an operator would say it."""
    if isinstance(error, ssl.SSLError):
        apart = error.reason == "KEY_VALUES_MISMATCH"
        return "they do not belong together" if apart else f"it has no such thing in PEM form ({error.reason or error})"
    return error.strerror or str(error)
