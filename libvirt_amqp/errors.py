"""Every error of the contract, one class per reaction a caller can have, one JSON-RPC code per class.

    CallError
    ├── ParseError         -32700  the body is no JSON                    mend the sender
    ├── InvalidRequest     -32600  no JSON-RPC 2.0 request, or a bad key   mend the sender
    ├── MethodNotFound     -32601  the object's class has no such method   mend the sender
    ├── InvalidParams      -32602  wrong arguments or deadline             mend the arguments
    ├── InternalError      -32603  our own fault                           report it
    ├── LibvirtFailed           1  libvirt's own error, whole in `data`    look at `data["code"]`
    ├── Denied                  2  not allowed here                        ask the host's owner
    ├── Busy                    3  too much at once, or stopping           try again later
    ├── DeadlinePassed          4  never started                           try again, with more time
    ├── ResultUnknown           5  may or may not have happened            look, before trying again
    ├── LibvirtLost             6  the agent cannot reach libvirt          try again later
    ├── NotSupported            7  this agent does not serve it            use another way
    ├── TooLarge                8  a request or an answer over the limit   ask for less
    └── Aborted                 9  ended by agent.abort, or an idle stream  nothing, or start again

`Unroutable` and `NoAnswer` are the client's own: no agent listens there; nobody answered in time.
"""

from typing import Any, ClassVar

_VIR_ERROR = ("code", "domain", "message", "level", "str1", "str2", "str3", "int1", "int2")
"""The members of `data` in the order of the binding's `err`."""


class CallError(Exception):
    """A call that was answered with an error.  `data` is what the agent added, `code` the number on the wire."""

    code: ClassVar[int] = 0

    def __init__(self, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def as_json(self) -> dict[str, Any]:
        """Return the `error` member of a JSON-RPC reply."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


class ParseError(CallError):
    """The body of the request is no JSON."""

    code = -32700


class InvalidRequest(CallError):
    """The message is JSON, but no request of this protocol, or its routing key names no object."""

    code = -32600


class MethodNotFound(CallError):
    """The class of the object in the routing key has no such method."""

    code = -32601


class InvalidParams(CallError):
    """An argument is missing, unknown, of the wrong type or out of range; or the deadline cannot be read."""

    code = -32602


class InternalError(CallError):
    """The agent failed, not libvirt.  The agent's log has the traceback beside the routing key."""

    code = -32603


class LibvirtFailed(CallError):
    """libvirt answered with an error: `data` is the whole virError with the names of its numbers."""

    code = 1

    def as_libvirt_error(self) -> Exception:
        """Return the `libvirt.libvirtError` that a caller of libvirt itself would have got; needs libvirt-python."""
        from libvirt import libvirtError  # noqa: PLC0415 (only who asks for one needs the binding)

        data = self.data or {}
        error: Any = libvirtError.__new__(libvirtError, self.message)  # its __init__ takes the thread's last error
        error.err = tuple(data.get(name) for name in _VIR_ERROR)
        found: Exception = error
        return found


class Denied(CallError):
    """The agent's policy does not allow the call.  The message names the setting that would."""

    code = 2


class Busy(CallError):
    """Too many calls are waiting, or the agent is stopping.  The call was not started."""

    code = 3


class DeadlinePassed(CallError):
    """The deadline passed before the call could start.  `data["time"]` is the agent's clock."""

    code = 4


class ResultUnknown(CallError):
    """The call may have been carried out; nobody can say."""

    code = 5


class LibvirtLost(CallError):
    """The agent is not connected to libvirt now.  The call was not carried out."""

    code = 6


class NotSupported(CallError):
    """The method exists in libvirt, but this agent does not serve it."""

    code = 7


class TooLarge(CallError):
    """The request or its answer is over the size limit.  `data["limit"]` is in bytes."""

    code = 8


class Aborted(CallError):
    """`agent.abort` ended the call before it started, or the stream was aborted."""

    code = 9


class Unroutable(CallError):
    """The broker returned the request: no agent listens for this host."""


class NoAnswer(CallError):
    """No answer came in time.  A call that changes something may have been carried out."""


BY_CODE: dict[int, type[CallError]] = {
    cls.code: cls for cls in CallError.__subclasses__() if cls not in {Unroutable, NoAnswer}
}


def from_json(error: dict[str, Any]) -> CallError:
    """Return the exception that stands for the `error` member of a reply; an unknown code is a plain CallError."""
    code = error.get("code")
    cls = BY_CODE.get(code, CallError) if isinstance(code, int) else CallError
    return cls(str(error.get("message", f"error {code}")), error.get("data"))
