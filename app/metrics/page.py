"""`/metrics` as Prometheus reads it, in a scrape's own thread."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import Metric

from app.metrics import domains, health
from app.metrics.last import Shown

log = structlog.get_logger()

PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class Page:
    """A WSGI application, and the collector behind it.  `shown` returns None when the agent's loop hangs."""

    def __init__(self, shown: Callable[[], Shown | None], *, of_domains: bool, tinkoff: bool) -> None:
        self._shown = shown
        self._of_domains = of_domains
        self._tinkoff = tinkoff
        registry = CollectorRegistry(support_collectors_without_names=True)
        registry.register(self)
        ProcessCollector(registry=registry)
        self._render = make_wsgi_app(registry)
        self._rendering = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Yield everything that is known."""
        shown = self._shown()
        yield from health.own(shown.health if shown else None)
        if shown is None:
            return
        for data in shown.host.values():
            yield from health.host(data)
        if self._of_domains:
            yield from domains.exporter(shown.knows_domains, shown.health.get("versions", {}), tinkoff=self._tinkoff)
            if shown.knows_domains:
                yield from domains.families(shown.infos, shown.stats, tinkoff=self._tinkoff)

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request; one at a time, as they would all compete with the loop."""
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [PLAIN])
            return [b"There is only /metrics.\n"]
        if environ["REQUEST_METHOD"] != "GET":
            start_response("405 Method Not Allowed", [PLAIN, ("Allow", "GET")])
            return [b""]
        try:
            with self._rendering:
                body: Iterable[bytes] = self._render(environ, start_response)
                return body
        except Exception as error:  # noqa: BLE001 (a fault in what is shown must be seen, and end nothing)
            log.error("metrics_broke", error=f"{type(error).__name__}: {error}")
            start_response("500 Internal Server Error", [PLAIN])
            return [b"The agent's log says why.\n"]
