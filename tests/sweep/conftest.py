"""One sweep for all tests of it, and its figures in pytest's summary."""

import asyncio

import pytest

from libvirt_amqp.client import connect
from sweep.hosts import every_host
from sweep.recipes import RECIPES
from sweep.sweep import Sweep
from sweep.table import table, totals, write_if_wanted

_DONE = pytest.StashKey[Sweep]()


@pytest.fixture(scope="session")
def sweep(broker_url: str, pytestconfig: pytest.Config) -> Sweep:
    """Follow all recipes, once, and return what came of it."""

    async def run() -> Sweep:
        async with every_host(broker_url) as hosts, connect(broker_url, "test: sweep") as client:
            sweep = Sweep(client)
            await sweep.follow([recipe(sweep, hosts) for recipe in RECIPES])
            return sweep

    done = asyncio.run(run())
    print(table(done.outcomes))  # noqa: T201 (seen with pytest -s)
    write_if_wanted(done.outcomes)
    pytestconfig.stash[_DONE] = done
    return done


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what came of it, whatever is captured."""
    done = config.stash.get(_DONE, None)
    if done is not None:
        terminalreporter.write_line(f"sweep: {totals(done.outcomes)}")
