"""What a check has found: how it stands, in words, and the line that mends it."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """Only `WRONG` makes the command fail."""

    OK = "ok"
    ADVICE = "advice"
    """It works, and could be safer or last longer."""
    UNSEEN = "unseen"
    """It could not be seen from here."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """`mend` is one line: a command where there is one, else what to write and where."""

    check: str
    status: Status
    text: str
    mend: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return what `--json` prints."""
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(check, Status.OK, text)


def unseen(check: str, text: str, mend: str | None = None) -> Finding:
    """Return a finding about what could not be looked at; `mend` is where it can be seen."""
    return Finding(check, Status.UNSEEN, text, mend)


def advice(check: str, text: str, mend: str) -> Finding:
    """Return a finding about what works and could be better."""
    return Finding(check, Status.ADVICE, text, mend)


def wrong(check: str, text: str, mend: str) -> Finding:
    """Return a finding that has to be mended."""
    return Finding(check, Status.WRONG, text, mend)
