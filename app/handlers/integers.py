"""C's unsigned integers, as the binding takes them."""

BITS = {"uint32": 32, "uint64": 64}


def bits(kind: str, value: int) -> int:
    """Return the value whose bits reach C unchanged, whichever of its formats the binding reads it with.

    It parses some unsigned arguments as signed ones, by function: from 2^31 (2^63) on they would raise OverflowError.
    Written as the negative number of the same bits all of its formats take them (i, I, l, k, L, K: the unsigned ones
    look at the bits only).  Not so for what is in a list or a dict.
    """
    width = BITS.get(kind)
    return value - (1 << width) if width is not None and value >= 1 << (width - 1) else value


def unsigned(kind: str, value: int) -> int:
    """Return what C returned: the binding makes signed integers of some unsigned ones."""
    width = BITS.get(kind)
    return value + (1 << width) if width is not None and value < 0 else value
