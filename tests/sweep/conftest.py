"""What the sweep uses beside the broker: a libvirtd with QEMU."""

from collections.abc import Iterator

import pytest
from private_libvirtd import PrivateLibvirtd


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateLibvirtd]:
    """Yield a libvirtd with QEMU, as an unprivileged user's."""
    with PrivateLibvirtd() as daemon:
        yield daemon
