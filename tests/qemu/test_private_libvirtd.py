from pathlib import Path

from private_libvirtd import PrivateLibvirtd

from qemu.conftest import create, virsh


def test_a_guest_survives_its_daemon_and_ends_with_the_close(daemon: PrivateLibvirtd, tmp_path: Path) -> None:
    own = PrivateLibvirtd(daemon.cache)
    own.start()
    create(own.uri, "survivor", tmp_path)
    own.kill()
    assert own.processes(), "the guest"
    own.start()
    assert "survivor" in virsh(own.uri, "list", "--name")
    own.freeze()
    own.close()
    assert not own.processes()
    assert not own._path.exists()
