"""libvirt's daemons one for each driver, of our own: virtqemud and those behind it, unprivileged, in one folder.

    with PrivateModular() as daemons:
        print(daemons.uri)
        daemons["virtnetworkd"].kill()

They are those of the machine, or those that scripts/make_modular.sh made in .venv/modular.
"""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from private_libvirtd import PrivateLibvirtd
from private_process import ServerFailed

BUILT = Path(__file__).parent.parent / ".venv" / "modular"
BEHIND = ("virtnetworkd", "virtstoraged", "virtnodedevd", "virtsecretd")


class PrivateDaemon(PrivateLibvirtd):
    """One of them, in the folder of `first`, or in one of its own."""

    prefix = "virtd-"

    def __init__(self, name: str, first: PrivateLibvirtd | None = None) -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]
        if first is not None:
            self.home, self.cache = first.home, first.cache
        self.socket = self.home / "run" / "libvirt" / f"{name}-sock"

    def _command(self) -> list[str | Path]:
        program = shutil.which(self.name, path="/usr/sbin:/usr/bin") or BUILT / "usr" / "sbin" / self.name
        if not Path(program).exists():
            raise ServerFailed(f"{program} is not there: scripts/make_modular.sh {BUILT}")
        return [program, "-t", "0"]

    def _environment(self) -> dict[str, str]:
        libraries = next(BUILT.glob("usr/lib*/**/libvirt.so.0"), BUILT).parent
        return {
            **super()._environment(),
            "OWN": f"{self._path}/",  # by which it is known as ours
            "LIBVIRT_AUTOSTART": "0",  # else each would start the others itself
            "LD_LIBRARY_PATH": str(libraries),
            "LIBVIRT_DRIVER_DIR": str(libraries / "libvirt" / "connection-driver"),
            "LIBVIRT_STORAGE_BACKEND_DIR": str(libraries / "libvirt" / "storage-backend"),
        }


class PrivateModular:
    """All of them.  One by one they can be killed and started, `daemons["virtnetworkd"].kill()`."""

    def __init__(self) -> None:
        self._first = PrivateDaemon("virtqemud")
        self._daemons = {"virtqemud": self._first} | {name: PrivateDaemon(name, self._first) for name in BEHIND}

    @property
    def uri(self) -> str:
        """The URI of virtqemud."""
        return self._first.uri

    def uri_of(self, name: str, driver: str) -> str:
        """Return the URI of one of the others, to be changed past virtqemud."""
        return f"{driver}+unix:///session?socket={self[name].socket}"

    def __getitem__(self, name: str) -> PrivateDaemon:
        return self._daemons[name]

    def __enter__(self) -> Self:
        try:
            for daemon in reversed(self._daemons.values()):
                daemon.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all and remove the folders; what they share is the first one's."""
        for daemon in reversed(self._daemons.values()):
            daemon.close()
