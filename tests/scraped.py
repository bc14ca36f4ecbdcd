"""What a test does as Prometheus: fetch /metrics and parse it."""

import http.client
import socket
from typing import Any, NamedTuple

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

HOST = "127.0.0.1"


class Answer(NamedTuple):
    status: int
    kind: str
    body: str


def free_port(host: str = HOST) -> int:
    """A port that nobody has now."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        return int(server.getsockname()[1])


def ask(port: int, path: str = "/metrics", method: str = "GET", host: str = HOST, **headers: str) -> Answer:
    """One request; blocks, so call it in a thread."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheader("Content-Type", ""), answer.read().decode())
    finally:
        connection.close()


class Scrape:
    """The samples of one scrape."""

    def __init__(self, answer: Answer) -> None:
        assert answer.status == 200, answer
        read: Any = read_openmetrics if "openmetrics" in answer.kind else read_text
        self.families = {family.name: family for family in read(answer.body)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]
        self.names = {sample.name for sample in self.samples}
        series = [(sample.name, *sorted(sample.labels.items())) for sample in self.samples]
        assert len(series) == len(set(series)), "a series is there twice: Prometheus would refuse it all"

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series, None when it is not there."""
        found = [sample.value for sample in self.samples if sample.name == name and sample.labels == labels]
        return found[0] if found else None

    def labels(self, name: str) -> list[dict[str, str]]:
        return [sample.labels for sample in self.samples if sample.name == name]


def scrape(port: int, **headers: str) -> Scrape:
    return Scrape(ask(port, **headers))
