"""Three nodes of RabbitMQ that are one broker, on loopback."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from private_rabbitmq import PrivateRabbitMQ


class Node(PrivateRabbitMQ):
    """A node of a cluster: it shares its cookie and the port mapper with the others."""

    def join(self, first: "Node", nodes: list["Node"]) -> None:
        """Be one of the nodes, before any of them has started."""
        self._epmd = first._epmd
        mine, theirs = (node._path / "home" / ".erlang.cookie" for node in (self, first))
        if self is not first:
            mine.unlink()
            mine.write_bytes(theirs.read_bytes())
            mine.chmod(0o400)
        with (self._path / "rabbitmq.conf").open("a") as file:
            print("cluster_formation.peer_discovery_backend = rabbit_peer_discovery_classic_config", file=file)
            for number, node in enumerate(nodes, 1):
                name = node._environment()["RABBITMQ_NODENAME"]
                print(f"cluster_formation.classic_config.nodes.{number} = {name}", file=file)
            print("cluster_partition_handling = pause_minority", file=file)


@contextlib.contextmanager
def cluster() -> Iterator[list[Node]]:
    """Yield the three nodes; the port mapper is the first one's."""
    with contextlib.ExitStack() as stack:
        nodes = [Node() for _ in range(3)]
        for node in nodes:
            stack.callback(node.close)
            node.join(nodes[0], nodes)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Node.start, nodes))
        yield nodes
