"""docs/operations.md names what is there: every line of the agent's log, and no other."""

import re
from pathlib import Path

from documented import section

from app.hypervisor import MOST_CONNECTIONS

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"
LINE = re.compile(r'\blog\.(?:info|warning|error|exception)\(\s*"(\w+)"')


def test_the_reference_of_the_log_has_every_event_of_the_agent_and_no_other() -> None:
    written = {name for file in APP.rglob("*.py") for name in LINE.findall(file.read_text())}
    rows = [row.split("|")[1] for row in section("8. The agent's log").splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"event"} == written


def test_the_connections_of_the_page_are_those_that_the_agent_may_make() -> None:
    found = re.search(r"at most (\d+) connections, .*? \((.*?)\)", section("3. Sizing"))
    assert found is not None
    assert int(found[1]) == MOST_CONNECTIONS
    assert sum(map(int, re.findall(r"\d+", found[2]))) == MOST_CONNECTIONS


def test_every_build_of_the_image_that_is_written_down_says_what_it_is_built_from() -> None:
    pages = [ROOT / "docs" / "operations.md", ROOT / "README.md", *(ROOT / "docker").glob("libvirt-amqp.*")]
    lines = [line for page in [*pages, ROOT / "docker" / "Dockerfile"] for line in page.read_text().splitlines()]
    builds = [line for line in lines if re.search(r"(docker|podman) build ", line)]
    assert len(builds) == 3
    assert [line for line in builds if "--build-arg REVISION=$(git rev-parse HEAD)" not in line] == []
    assert 'args: {REVISION: "${REVISION:-unknown}"}' in (ROOT / "compose.yaml").read_text()
