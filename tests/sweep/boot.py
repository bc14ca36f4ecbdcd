"""Boot sectors: guests without an operating system that still do something.  Assembled here, 16 bits, real mode."""

import struct

SECTOR, SIZE = 512, 1024 * 1024
CONFIG_ADDRESS, CONFIG_DATA = 0xCF8, 0xCFC
RING = 0x1000
"""The segment, so 0x10000 in memory, of a virtio queue with its 32 descriptors, and of the message in it."""
MESSAGE = 0x800


class BootSector:
    """Instructions one after the other; `image` is a disk that begins with them."""

    def __init__(self) -> None:
        self._code = bytearray(b"\xfa\x31\xc0\x8e\xd8\x8e\xd0\xbc\x00\x7c\xfb")
        """cli; xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7c00; sti"""

    def out(self, port: int, value: int, width: int) -> "BootSector":
        """Write 1, 2 or 4 bytes to an I/O port."""
        self._code += b"\xba" + struct.pack("<H", port)  # mov dx, port
        return self._out(value, width)

    def wait_for_key(self) -> "BootSector":
        """Wait until a key is pressed."""
        self._code += b"\x31\xc0\xcd\x16"  # xor ax, ax; int 16h
        return self

    def suspend(self) -> "BootSector":
        """Go to sleep (S3)."""
        return self.out(0x604, 0x2400, 2)

    def open_serial_port(self, slot: int, port: int = 1) -> "BootSector":
        """Tell a virtio-serial controller that the guest has opened a port of it, as the driver of a guest does."""
        queue = struct.pack("<QIHH", RING * 16 + MESSAGE, 8, 0, 0)  # the descriptor of the message
        for place, data in (
            (0, queue),
            (0x200, struct.pack("<HHH", 0, 1, 0)),  # what is available: one, the first
            (MESSAGE, struct.pack("<IHH", port, 6, 1)),  # VIRTIO_CONSOLE_PORT_OPEN, 1
        ):
            self._store(place, data)
        self._pci(slot, 4)
        self.out(CONFIG_DATA, 0x107, 2)  # I/O, memory, bus master
        for register, value, width in (
            (0x12, 3, 1),  # status: acknowledged, there is a driver
            (0x04, 2, 4),  # features: several ports
            (0x0E, 3, 2),  # queue: what is sent to control the ports
            (0x08, RING * 16 // 4096, 4),  # its page
            (0x12, 7, 1),  # status: the driver is ready
            (0x10, 3, 2),  # look into the queue
        ):
            self._pci(slot, 0x10)
            # mov dx, 0xcfc; in eax, dx; and al, 0xfc; mov dx, ax; add dx, register
            self._code += b"\xba\xfc\x0c\x66\xed\x24\xfc\x89\xc2\x81\xc2" + struct.pack("<H", register)
            self._out(value, width)
        return self

    def image(self) -> bytes:
        """Return the disk; the CPU halts at the end of the instructions."""
        code = bytes(self._code) + b"\xf4\xeb\xfd"  # hlt; jmp back to it
        if len(code) > SECTOR - 2:
            raise ValueError(f"{len(code)} bytes do not fit a boot sector")
        return (code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa").ljust(SIZE, b"\0")

    def _out(self, value: int, width: int) -> "BootSector":
        move, send = {1: (b"\xb0", b"\xee"), 2: (b"\xb8", b"\xef"), 4: (b"\x66\xb8", b"\x66\xef")}[width]
        self._code += move + value.to_bytes(width, "little") + send
        return self

    def _pci(self, slot: int, register: int) -> None:
        self.out(CONFIG_ADDRESS, 0x80000000 | slot << 11 | register, 4)

    def _store(self, place: int, data: bytes) -> None:
        self._code += b"\xb8" + struct.pack("<H", RING) + b"\x8e\xd8"  # mov ax, RING; mov ds, ax
        for offset in range(0, len(data), 2):
            self._code += b"\xc7\x06" + struct.pack("<H", place + offset) + data[offset : offset + 2]  # mov word
