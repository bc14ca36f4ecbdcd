"""A RabbitMQ 4.0 node of our own, on any Debian: it runs in the root that scripts/make_rabbitmq4.sh makes.

    with PrivateRabbitMQ4() as broker:
        print(broker.url)

Its ports, folder and life are those of PrivateRabbitMQ; only its root is another one.
"""

from pathlib import Path

from private_process import ServerFailed
from private_rabbitmq import PrivateRabbitMQ

ROOT = Path(__file__).resolve().parents[1] / ".venv" / "rabbitmq4"

# In a mount namespace of its own, which ends with it: nothing is mounted where others see it, and nothing stays.  The
# folder has the same path inside, so that the server's processes are known by it as always.
_ENTER = """
root=$1 folder=$2; shift 2
mkdir -p "$root$folder"
mount --bind "$folder" "$root$folder"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"""


class PrivateRabbitMQ4(PrivateRabbitMQ):
    """Needs root, as chroot and mount do."""

    name = "RabbitMQ 4"

    def close(self) -> None:
        """Kill it and remove its folder, and the place in the root where that was mounted."""
        super().close()
        place = Path(f"{ROOT}{self._path}")
        if place.is_dir():
            place.rmdir()

    def _in_root(self, command: list[str | Path]) -> list[str | Path]:
        if not ROOT.is_dir():
            raise ServerFailed("RabbitMQ 4 is not here: scripts/install rabbitmq4 brings it")
        return ["unshare", "--mount", "sh", "-euc", _ENTER, "sh", ROOT, self._path, *command]
