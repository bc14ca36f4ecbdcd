"""An installation as documented, for commands that run beside it: /etc and /var/lib are the test's own."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from examined import COMMAND
from namespaces import unshare

_KEPT = ("passwd", "group", "nsswitch.conf", "hosts", "resolv.conf", "ld.so.cache")


class Installed:
    """What a shell beside the agent sees; `unit` is the folder that the unit's StateDirectory= makes."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._etc, self._lib, self._home = folder / "etc", folder / "lib", folder / "home"
        self.unit = self._lib / "libvirt-amqp"
        self.unit.mkdir(mode=0o700, parents=True)
        self._etc.mkdir()
        for name in _KEPT:
            if (there := Path("/etc") / name).exists():
                shutil.copy(there, self._etc)
        self.file = self._etc / "libvirt-amqp.toml"
        self.file.write_text("".join(f'{name} = "{value}"\n' for name, value in settings.items()))

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command runs behind, to be beside it."""
        script = f'mount --bind "{self._etc}" /etc && mount --bind "{self._lib}" /var/lib && exec "$@"'
        return (*unshare("--mount"), "sh", "-c", script, "sh")

    async def run(self, *arguments: str, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run `libvirt-amqp` in a shell that has no settings of its own; return exit code and what it said."""
        command = (*self.prefix, *prefix, str(COMMAND), *arguments)
        done = await asyncio.to_thread(
            subprocess.run, command, env=self._environment(), capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def _environment(self) -> dict[str, str]:
        """Whoever runs the tests may have an agent's state at home."""
        return bare() | {"HOME": str(self._home)}


def bare() -> dict[str, str]:
    """Return the environment without anything that says where an agent's things are."""
    named = ("LIBVIRT_AMQP_", "STATE_DIRECTORY", "XDG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(named)}
