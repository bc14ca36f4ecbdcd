"""C's types as the catalogue's (libvirt_amqp/catalogue.py lists those); one that is not known here is not guessed."""

import re

CLASSES = {
    "virConnect": "connect",
    "virDomain": "domain",
    "virDomainSnapshot": "domain-snapshot",
    "virDomainCheckpoint": "domain-checkpoint",
    "virNetwork": "network",
    "virNetworkPort": "network-port",
    "virInterface": "interface",
    "virStoragePool": "storage-pool",
    "virStorageVol": "storage-vol",
    "virNodeDevice": "node-device",
    "virNWFilter": "nwfilter",
    "virNWFilterBinding": "nwfilter-binding",
    "virSecret": "secret",
    "virStream": "stream",
}
"""A handle's type and the class of its object."""

NUMBERS = {
    "int": "int32",
    "unsigned int": "uint32",
    "long long": "int64",
    "unsigned long": "uint64",
    "unsigned long long": "uint64",
    "size_t": "uint64",
    "unsigned char": "uint8",
    "unsigned short": "uint16",
    "virDomainBlockJobCursor": "uint64",
}
COUNTS = {"ndevAlias", "cpumaplen", "naddrs", "nparams", "nidentity", "value_size"}
"""Arguments and fields that say how long an array is: JSON arrays know their length."""

INPUTS = NUMBERS | {
    "const char *": "string",
    "const char **": "[]string",
    "const unsigned char *": "bytes",
    "unsigned char *": "cpumap",
    "unsigned int *": "[]uint32",
    "virTypedParameterPtr": "params",
}
NO_OUTPUT = {*NUMBERS, "const char *", "const char **", "const unsigned char *", "size_t *"}
"""Arguments that only go in, and the length of an array that comes out."""

RETURNED = {
    "const char *": "string",
    "int": "int32",
    "unsigned int": "uint32",
    "unsigned long": "uint64",
    "unsigned long long": "uint64",
}
OUTPUTS = {
    "char *": "string",
    "char **": "string",
    "char ** const": "[]string",
    "char ***": "[]string",
    "int *": "int32",
    "unsigned int *": "uint32",
    "long long *": "int64",
    "unsigned long *": "uint64",
    "unsigned long long *": "uint64",
    "unsigned char *": "cpumap",
    "unsigned char **": "cpumap",
    "void *": "bytes",
    "virTypedParameterPtr": "params",
    "virTypedParameterPtr *": "params",
    "virNodeCPUStatsPtr": "params",
    "virNodeMemoryStatsPtr": "params",
    "virDomainMemoryStatPtr": "params",
    "virDomainDiskErrorPtr": "[]struct virDomainDiskError",
    "virSecurityLabelPtr *": "[]struct virSecurityLabel",
    "virDomainBlockStatsPtr": "struct virDomainBlockStatsStruct",
    "virDomainInterfaceStatsPtr": "struct virDomainInterfaceStatsStruct",
}
OUTPUTS_BY_NAME = {
    ("char **", "names"): "[]string",
    ("char **", "uuids"): "[]string",
    ("int *", "ids"): "[]int32",
    ("unsigned long long *", "freeMems"): "[]uint64",
    ("unsigned char *", "uuid"): "bytes",
}
"""Where an argument's name says that a pointer is an array."""

UNKNOWN = "unknown "
"""Marks the type of a field that only matters if a function that is served has the struct."""


class Unplaced(Exception):
    """Something in libvirt's description that this script does not know; the message says what."""


def input_type(c_type: str) -> str:
    """Return the type of what an argument takes."""
    known = CLASSES.get(c_type.removesuffix("Ptr")) or INPUTS.get(c_type)
    if known is None:
        raise Unplaced(f"an argument of type {c_type!r}")
    return known


def output_type(c_type: str, name: str) -> str | None:
    """Return the type of what comes out of an argument; None for what is no output."""
    if c_type in NO_OUTPUT:
        return None
    known = OUTPUTS_BY_NAME.get((c_type, name)) or OUTPUTS.get(c_type)
    return known or _object_or_struct(c_type)


def return_type(c_type: str) -> str:
    """Return the type of a function's value."""
    return RETURNED.get(c_type) or OUTPUTS.get(c_type) or _object_or_struct(c_type)


def field_type(c_type: str) -> str:
    """Return the type of a struct's field."""
    if c_type.endswith("Ptr"):
        inner = c_type.removesuffix("Ptr")
        return CLASSES.get(inner) or ("params" if inner == "virTypedParameter" else f"[]struct {inner}")
    known = {"unsigned char *": "cpumap", "char **": "[]string", "char *": "string", "long long int": "int64"}
    if re.fullmatch(r"char \w+\[\w+\]", c_type):
        return "string"
    return known.get(c_type) or NUMBERS.get(c_type) or f"{UNKNOWN}{c_type}"


def _object_or_struct(c_type: str) -> str:
    match = re.fullmatch(r"(vir\w+)Ptr( \*\*)?", c_type)
    if match is None:
        raise Unplaced(f"an output of type {c_type!r}")
    return ("[]" if match[2] else "") + (CLASSES.get(match[1]) or f"struct {match[1]}")
