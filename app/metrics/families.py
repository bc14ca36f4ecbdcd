"""Prometheus families that come into being with their first sample."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric, Sample

from app.metrics.names import Figure


class Families:
    """Samples by family.  Prometheus refuses a whole scrape for one series that is in it twice: that is up to callers.

    Labels are kept, not copied: one dictionary a domain does for all of its samples.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._families: dict[str, tuple[Metric, str]] = {}

    def __iter__(self) -> Iterator[Metric]:
        return (family for family, _ in self._families.values())

    def add(self, figure: Figure, value: Any, labels: dict[str, str] | None = None) -> None:
        """Add a sample in Prometheus' unit, unless the value is no number."""
        if not isinstance(value, int | float):
            return
        family, sample = self._families.get(figure.name) or self._begin(
            figure.name, figure.help, *(("counter", "_total") if figure.is_counter else ("gauge", ""))
        )
        family.samples.append(Sample(sample, labels or {}, figure.convert(value)))

    def add_info(self, name: str, text: str, labels: dict[str, str]) -> None:
        """Add `name`_info: labels, and 1 as the value."""
        family, sample = self._families.get(name) or self._begin(name, text, "info", "_info")
        family.samples.append(Sample(sample, labels, 1.0))

    def _begin(self, name: str, text: str, kind: str, suffix: str) -> tuple[Metric, str]:
        """Return a new family, and how its samples are called."""
        family = Metric(self._prefix + name, text, kind)
        self._families[name] = family, family.name + suffix
        return self._families[name]
