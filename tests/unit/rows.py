"""A journal in memory, for what uses one."""

from datetime import datetime


class Rows:
    """A journal in memory: what one run keeps, the next one is given."""

    def __init__(self, kept: dict[str, bytes] | None = None) -> None:
        self.kept = dict(kept or {})
        self.rows = dict(self.kept)
        self.former_sequence: str | None = None
        self.former_alive: datetime | None = None
        self.alive = 0.0

    def heard_until(self, moment: float) -> None:
        self.alive = moment

    def keep(self, subject: str, row: bytes | None) -> None:
        if row is None:
            self.rows.pop(subject, None)
        else:
            self.rows[subject] = row
