"""Prometheus families that come into being with their first sample, each series once."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric

from app.metrics.names import Figure


class Families:
    """Samples by family.  Prometheus refuses a whole scrape for one series that is in it twice: the first one stays."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._families: dict[str, Metric] = {}
        self._seen: set[tuple[str, ...]] = set()

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._families.values())

    def add(self, figure: Figure, value: Any, labels: dict[str, str] | None = None) -> None:
        """Add a sample in Prometheus' unit, unless the value is no number."""
        if isinstance(value, int | float):
            kind, suffix = ("counter", "_total") if figure.is_counter else ("gauge", "")
            self._add(figure.name, figure.help, kind, suffix, labels or {}, figure.convert(value))

    def add_info(self, name: str, text: str, labels: dict[str, str]) -> None:
        """Add `name`_info: labels, and 1 as the value."""
        self._add(name, text, "info", "_info", labels, 1.0)

    def _add(  # noqa: PLR0913 (a sample and its family)
        self, name: str, text: str, kind: str, suffix: str, labels: dict[str, str], value: float
    ) -> None:
        series = (name, *labels.values())
        if series in self._seen:
            return
        self._seen.add(series)
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = Metric(self._prefix + name, text, kind)
        family.add_sample(family.name + suffix, {label: _safe(told) for label, told in labels.items()}, value)


def _safe(label: str) -> str:
    """Return a label that UTF-8 can hold, whatever a driver called its devices."""
    return label.encode(errors="replace").decode()
