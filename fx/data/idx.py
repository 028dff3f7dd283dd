"""The IDX format, in which MNIST and its kin are published."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from ..errors import CorruptFileError

__all__ = ["read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an IDX file, packed by gzip or not.

    Two zero bytes, a byte for the dtype, one for the number of axes, each size as four bytes, then the numbers; all
    big-endian.

    Raises:
        CorruptFileError: it is none, or is cut off.
    """
    path = Path(path)
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as e:
            raise CorruptFileError(f"{path}: the packed file is damaged or cut off ({e})") from e
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise CorruptFileError(f"{path} is no IDX file: it begins with the bytes {content[:4].hex(' ') or '(none)'}")
    axes, dtype = content[3], np.dtype(_DTYPES[content[2]])
    start = 4 + 4 * axes
    if len(content) < start:
        raise CorruptFileError(f"{path} is cut off: it has {len(content)} bytes, its header alone {start}")
    if axes > 64:
        raise CorruptFileError(f"{path} is no IDX file: its header says that the array has {axes} axes")
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
    wanted = math.prod(shape) * dtype.itemsize
    if len(content) - start != wanted:
        raise CorruptFileError(
            f"{path}: an IDX file of shape {shape} has {wanted} bytes of numbers; found {len(content) - start}"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
