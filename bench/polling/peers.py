"""The peers: collectd's virt plugin that publishes over AMQP, and two prometheus-libvirt-exporters."""

import asyncio
import os
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from measure import STOP_SECONDS, raw_client, until
from private_rabbitmq import free_port
from yarl import URL

from polling import obtain
from polling.cost import Missing
from polling.pollers import Done, Poller, Program, Rig, on_beats

EXCHANGE = "collectd"
SCRAPE_SECONDS, LISTENS_SECONDS = 60.0, 10.0
DOMAIN = re.compile(rb"^libvirt_domain_info_virtual_cpus\{", re.MULTILINE)
"""The line that every exporter has once per domain."""


@contextmanager
def logged(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server whose output goes to a file; it has ended when the block is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(log: Path) -> str:
    """Return the last line that a server said."""
    return (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]


def collectd(extra: str = "") -> Program:
    """Return collectd; `extra` are its ExtraStats: the state of a domain is one of them."""

    @asynccontextmanager
    async def start(rig: Rig) -> AsyncIterator[Poller]:
        root = obtain.debian("collectd-core", "librabbitmq4")
        published = [0, 0]  # messages, domains

        def count(_correlation_id: str, body: bytes) -> None:
            published[0] += 1
            published[1] += body.count(b'"virt_cpu_total"')

        with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as name:
            folder = Path(name)
            (folder / "collectd.conf").write_text(_collectd_configuration(root, folder, rig, extra))
            async with raw_client(rig.broker_url) as raw:
                raw.on_message = count
                await raw.listen(EXCHANGE, "#")  # it does not make its exchange, and drops everything without one
                command = [str(root / "usr/sbin/collectd"), "-f", "-C", str(folder / "collectd.conf")]
                libraries = str(root / "usr/lib/x86_64-linux-gnu")
                with logged(command, folder / "log", {"LD_LIBRARY_PATH": libraries}) as process:

                    async def rounds(number: int) -> Done:
                        messages, domains = published
                        wanted = (domains // rig.node.size + number) * rig.node.size
                        try:
                            await until(lambda: published[1] >= wanted, number * rig.patience)
                        except TimeoutError:
                            raise Missing(f"{published[1]} domains published; {tail(folder / 'log')}") from None
                        return Done((published[1] - domains) // rig.node.size, published[0] - messages)

                    yield Poller(process.pid, rounds)

    return start


def _collectd_configuration(root: Path, folder: Path, rig: Rig, extra: str) -> str:
    broker = URL(rig.broker_url)
    return f"""Hostname "bench"
FQDNLookup false
BaseDir "{folder}"
PIDFile "{folder}/pid"
PluginDir "{root}/usr/lib/collectd"
TypesDB "{root}/usr/share/collectd/types.db"
Interval {rig.interval}
LoadPlugin virt
LoadPlugin amqp
<Plugin virt>
  Connection "{rig.node.uri}"
  HostnameFormat "name"
  ExtraStats "{extra}"
</Plugin>
<Plugin amqp>
  <Publish "bench">
    Host "{broker.host}"
    Port "{broker.port}"
    VHost "/"
    User "{broker.user}"
    Password "{broker.password}"
    Exchange "{EXCHANGE}"
    Format "JSON"
    Persistent false
  </Publish>
</Plugin>
"""


def debian_exporter(rig: Rig) -> list[str]:
    """Return the command of Debian's package (Kumina's exporter)."""
    root = obtain.debian("prometheus-libvirt-exporter")
    return [str(root / "usr/bin/prometheus-libvirt-exporter"), "--libvirt.uri", rig.node.uri]


def inovex_exporter(rig: Rig) -> list[str]:
    """Return the command of inovex's exporter, which speaks libvirt's protocol itself."""
    socket = ["--libvirt.uri", str(rig.node.daemon.socket), "--libvirt.driver", rig.node.driver]
    return [str(obtain.inovex()), *socket, "--exporter.timeout", f"{SCRAPE_SECONDS:.0f}s"]


def exporter(which: str) -> Program:
    """Return `debian` or `inovex`, scraped once per interval."""

    @asynccontextmanager
    async def start(rig: Rig) -> AsyncIterator[Poller]:
        address = f"127.0.0.1:{free_port()}"
        command = {"debian": debian_exporter, "inovex": inovex_exporter}[which](rig)
        with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as folder:
            log = Path(folder) / "log"
            with logged([*command, "--web.listen-address", address], log, {}) as process:
                await _listens(address)

                async def beat() -> None:
                    found = await asyncio.to_thread(_scrape, f"http://{address}/metrics")
                    if found != rig.node.size:
                        raise Missing(f"{found} of {rig.node.size} domains exported; {tail(log)}")

                async def rounds(count: int) -> Done:
                    await on_beats(rig, count, beat)
                    return Done(count, count)

                yield Poller(process.pid, rounds)

    return start


def _scrape(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as answer:
            return len(DOMAIN.findall(answer.read()))
    except OSError as error:
        raise Missing(f"no scrape: {error}") from error


async def _listens(address: str) -> None:
    host, _, port = address.partition(":")
    async with asyncio.timeout(LISTENS_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
