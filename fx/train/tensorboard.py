"""TensorBoard's event files, written by hand: TFRecords of the few protocol buffers that scalars need.

A record is its length, a checksum of the length, the bytes, a checksum of the bytes; the checksum is CRC-32C, rotated and
shifted.  An event is ``wall_time`` (double, field 1), ``step`` (int64, 2), and ``file_version`` (string, 3) or ``summary``
(message, 5), which holds values (message, 1) of ``tag`` (string, 1) and ``simple_value`` (float, 2).
"""

from __future__ import annotations

import itertools
import os
import platform
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["EventWriter", "Scalar", "read_events"]

_CASTAGNOLI = 0x82F63B78


def _table() -> list[int]:
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (_CASTAGNOLI if n & 1 else 0)
        table.append(n)
    return table


_TABLE = _table()
_files = itertools.count()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(n: int) -> bytes:
    n &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _event(when: float, step: int, payload: bytes) -> bytes:
    return _varint(1 << 3 | 1) + struct.pack("<d", when) + _varint(2 << 3) + _varint(step) + payload


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


class EventWriter:
    """Writes scalars into a file that TensorBoard reads: ``tensorboard --logdir FOLDER``.

    Args:
        folder: is made if it is not there; every writer opens a file of its own in it.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}.{next(_files)}"
        self.path = folder / name
        self._file = self.path.open("xb")
        self._file.write(_record(_event(time.time(), 0, _bytes(3, b"brain.Event:2"))))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers that belong to a step."""
        value = lambda tag, x: _bytes(1, _bytes(1, tag.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", x))
        summary = b"".join(value(tag, float(x)) for tag, x in values.items())
        self._file.write(_record(_event(time.time(), step, _bytes(5, summary))))

    def flush(self) -> None:
        """Makes what was written visible to readers."""
        self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


# -------------------------------------------------------------------------------------------- reading


class Scalar(NamedTuple):
    """One number of an event file."""

    step: int
    tag: str
    value: float


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of every field of a message: an int for varints, the bytes of everything else."""
    at = 0

    def varint() -> int:
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return n

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, data[at : at + size]
        at += size


def read_events(path: str | Path) -> list[Scalar]:
    """The scalars of an event file.

    Raises:
        ValueError: a checksum is wrong.
    """
    data, found = Path(path).read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + size]
        if _masked(data[:8]) != data[8:12] or _masked(body) != data[12 + size : 16 + size]:
            raise ValueError(f"{path} is no event file, or a damaged one: a checksum does not fit")
        event = dict(_fields(body))
        for _, value in _fields(event.get(5, b"")):  # type: ignore[arg-type]
            parts = dict(_fields(value))  # type: ignore[arg-type]
            number = struct.unpack("<f", parts[2])[0]  # type: ignore[arg-type]
            found.append(Scalar(int(event.get(2, 0)), parts[1].decode(), number))  # type: ignore[union-attr, arg-type]
        data = data[16 + size :]
    return found
