"""Boot sectors: guests without an operating system that still do something.  Assembled here, 16 bits, real mode."""

import struct

SECTOR, SIZE = 512, 1024 * 1024
CONFIG_ADDRESS, CONFIG_DATA = 0xCF8, 0xCFC
RING = 0x1000
"""The segment, so 0x10000 in memory, of a virtio queue with its 32 descriptors, and of the message in it."""
MESSAGE = 0x800
AVAILABLE, USED, ANSWER = 0xA00, 0x1000, 0x900
"""Of a queue of 128 descriptors."""
WINDOW = 0x84
"""Where QEMU has VIRTIO_PCI_CAP_PCI_CFG in the configuration of a virtio device without interrupts of its own."""


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

    def write_disk(self) -> "BootSector":
        """Write the disk that it starts from, 32 KiB after 32 KiB, for ever."""
        packet = struct.pack("<BBHHHQ", 16, 0, 64, 0x7C00, 0, 0)  # 64 sectors, from here, to the first
        self._code += b"\xe8" + struct.pack("<H", len(packet)) + packet + b"\x5e"  # call behind it; pop si
        # again: mov ax, 0x4300; mov dl, 0x80; int 13h; add dword [si + 8], 64; jmp again
        self._code += b"\xb8\x00\x43\xb2\x80\xcd\x13\x66\x83\x44\x08\x40\xeb\xf2"
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
            self.legacy(slot, register, value, width)
        return self

    def legacy(self, slot: int, register: int, value: int, width: int) -> "BootSector":
        """Write a register of a virtio device in the way from before virtio 1.0: ports that the first BAR names."""
        self._pci(slot, 0x10)
        # mov dx, 0xcfc; in eax, dx; and al, 0xfc; mov dx, ax; add dx, register
        self._code += b"\xba\xfc\x0c\x66\xed\x24\xfc\x89\xc2\x81\xc2" + struct.pack("<H", register)
        return self._out(value, width)

    def plug_memory(self, slot: int, address: int) -> "BootSector":
        """Ask a virtio-mem device for its first block, as the driver of a guest does."""
        queue = struct.pack("<QIHHQIHH", RING * 16 + MESSAGE, 24, 1, 1, RING * 16 + ANSWER, 16, 2, 0)
        for place, data in (
            (0, queue),  # a descriptor for the request, one for the answer
            (AVAILABLE, struct.pack("<HHH", 0, 1, 0)),
            (MESSAGE, struct.pack("<HHHHQH", 0, 0, 0, 0, address, 1)),  # VIRTIO_MEM_REQ_PLUG, one block
        ):
            self._store(place, data)
        self._pci(slot, 4)
        self.out(CONFIG_DATA, 0x106, 2)  # memory, bus master
        return self._modern(
            slot,
            (0x14, 1, 1),  # status: acknowledged
            (0x14, 1, 3),  # there is a driver
            (0x08, 4, 1),  # features from 32 on:
            (0x0C, 4, 1),  # VIRTIO_F_VERSION_1
            (0x14, 1, 11),  # that is all
            (0x20, 4, RING * 16),
            (0x28, 4, RING * 16 + AVAILABLE),
            (0x30, 4, RING * 16 + USED),
            (0x1C, 2, 1),  # the queue is ready
            (0x14, 1, 15),  # the driver is ready
            (0x3000, 2, 0),  # look into the queue
        )

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

    def _modern(self, slot: int, *writes: tuple[int, int, int]) -> "BootSector":
        """Write offset, width, value to a virtio 1.0 device, through the window in its configuration."""
        table = b"".join(struct.pack("<HBI", *write) for write in writes)
        self._code += b"\xe8" + struct.pack("<H", len(table)) + table + b"\x5e"  # call behind it; pop si
        self._code += b"\x31\xc0\x8e\xd8\xb9" + struct.pack("<H", len(writes))  # xor ax, ax; mov ds, ax; mov cx, n
        put = b"\x66\x50\x66\xb8" + struct.pack("<I", 0x80000000 | slot << 11)  # push eax; mov eax, the device
        put += b"\x88\xd8\xba\xf8\x0c\x66\xef"  # mov al, bl; mov dx, 0xcf8; out dx, eax
        put += b"\x66\x58\xb2\xfc\x66\xef\xc3"  # pop eax; mov dl, 0xfc; out dx, eax; ret
        self._code += b"\xeb" + bytes([len(put)]) + put  # jmp behind it
        start = len(self._code)
        for load, register in (
            (b"\xad\x66\x0f\xb7\xc0", WINDOW + 8),  # lodsw; movzx eax, ax
            (b"\xac\x66\x0f\xb6\xc0", WINDOW + 12),  # lodsb; movzx eax, al
            (b"\x66\xad", WINDOW + 16),  # lodsd
        ):
            self._code += load + b"\xb3" + bytes([register])  # mov bl, register
            self._code += b"\xe8" + struct.pack("<h", start - len(put) - len(self._code) - 3)  # call put
        self._code += b"\xe2" + struct.pack("<b", start - len(self._code) - 2)  # loop
        return self

    def _pci(self, slot: int, register: int) -> None:
        self.out(CONFIG_ADDRESS, 0x80000000 | slot << 11 | register, 4)

    def _store(self, place: int, data: bytes) -> None:
        self._code += b"\xb8" + struct.pack("<H", RING) + b"\x8e\xd8"  # mov ax, RING; mov ds, ax
        for offset in range(0, len(data), 2):
            self._code += b"\xc7\x06" + struct.pack("<H", place + offset) + data[offset : offset + 2]  # mov word
