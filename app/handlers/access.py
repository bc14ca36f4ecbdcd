"""The one place where every call is allowed or refused."""

from functools import cache
from typing import Any

from libvirt_amqp.catalogue import Function, Permission
from libvirt_amqp.errors import Denied
from libvirt_amqp.rules import SECRET_FUNCTIONS, SECRET_PERMISSION


class Access:
    """What the settings allow: by default what libvirt allows a read-only connection."""

    def __init__(self, *, full: bool, secrets: bool) -> None:
        self.full = full
        self._secrets = secrets

    def check(self, function: Function, arguments: dict[str, Any]) -> None:
        """Raise Denied, naming the setting that would allow the call."""
        if not self.full and function.writes(arguments):
            raise Denied(
                f"{function.name} needs a read-write connection to libvirt; "
                "this agent serves read-only calls (LIBVIRT_AMQP_ACCESS=full opens the rest)",
            )
        if not self._secrets and _reveals(function, arguments):
            raise Denied(
                f"{function.name} with these arguments reads or sets secrets, "
                "which this agent does not serve (LIBVIRT_AMQP_SECRETS=yes opens them)",
            )


def _reveals(function: Function, arguments: dict[str, Any]) -> bool:
    return function.name in SECRET_FUNCTIONS or any(p.applies(arguments) for p in _secret_permissions(function))


@cache
def _secret_permissions(function: Function) -> tuple[Permission, ...]:
    """Return the permissions to read secrets that a call of the function may need: hardly any function has one."""
    return tuple(permission for permission in function.acl if permission.name.endswith(f":{SECRET_PERMISSION}"))
