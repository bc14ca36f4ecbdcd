"""Streams: what opens one, and what is done with an open one on the key of its object."""

from sweep.binary import as_bytes
from sweep.guests import POOL_XML, guest_xml, started
from sweep.hosts import Hosts
from sweep.sweep import Sweep

SPARSE, STOP_AT_HOLE, AT_HOLE = 1, 1, -3
SIZE, HELD = 1048576, 4096
VOLUME_XML = f"<volume><name>v</name><capacity>{SIZE}</capacity><allocation>0</allocation></volume>"
CHANNEL_XML = """<channel type='unix'><source mode='bind'/><target type='virtio' name='org.example.0'/></channel>
  <serial type='pty'/><console type='pty'/><video><model type='cirrus'/></video><graphics type='vnc' socket='{}'/>"""


async def volume(sweep: Sweep, hosts: Hosts) -> None:
    xml = POOL_XML.format("streams", hosts.folder / "streams")
    pool = await sweep.ok(hosts.qemu, "virStoragePoolCreateXML", xmlDesc=xml, flags=1)  # builds it
    volume = await sweep.ok(pool, "virStorageVolCreateXML", xmlDesc=VOLUME_XML)
    stream = await sweep.ok(volume, "virStorageVolUpload", offset=0, length=SIZE, flags=SPARSE)
    await sweep.ok(volume, "virStreamSend", stream=stream, offset=0, data=as_bytes(b"a" * HELD))
    await sweep.ok(volume, "virStreamSendHole", stream=stream, offset=HELD, length=SIZE - HELD)
    await sweep.ok(volume, "virStreamFinish", stream=stream)
    stream = await sweep.ok(volume, "virStorageVolDownload", offset=0, length=0, flags=SPARSE)
    first = await sweep.ok(volume, "virStreamRecv", stream=stream, nbytes=HELD)
    assert first == {"return": HELD, "offset": 0, "data": as_bytes(b"a" * HELD)}
    hole = await sweep.ok(volume, "virStreamRecvFlags", stream=stream, nbytes=SIZE, flags=STOP_AT_HOLE)
    assert hole["return"] == AT_HOLE
    assert await sweep.ok(volume, "virStreamRecvHole", stream=stream) == SIZE - HELD
    await sweep.ok(volume, "virStreamAbort", stream=stream)


async def guest(sweep: Sweep, hosts: Hosts) -> None:
    socket = hosts.folder / "vnc.sock"
    domain = await started(sweep, hosts, guest_xml("with streams", CHANNEL_XML.format(socket)))
    for function, arguments in (
        ("virDomainOpenConsole", {}),
        ("virDomainOpenChannel", {"name": "org.example.0"}),
    ):
        stream = await sweep.ok(domain, function, **arguments)
        await sweep.ok(domain, "virStreamAbort", stream=stream)
    picture = await sweep.ok(domain, "virDomainScreenshot", screen=0)
    assert picture["return"].startswith("image/")
    assert (await sweep.ok(domain, "virStreamRecv", stream=picture["stream"], nbytes=SIZE))["return"] > 0
    await sweep.ok(domain, "virStreamAbort", stream=picture["stream"])
    await sweep.ok(domain, "virDomainDestroy")


RECIPES = (volume, guest)
