"""libvirt over AMQP: what consumers import (the contract, the API catalogue, the client, the command line)."""

__version__ = "0.1.0"
