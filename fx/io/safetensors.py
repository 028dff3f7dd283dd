"""The safetensors format: named arrays behind a header of JSON, and nothing that could run.

A file is 8 bytes (the header's length, little-endian), the header, and the arrays' bytes, one after the other without a
gap. The header maps names to ``{"dtype": ..., "shape": [...], "data_offsets": [begin, end]}`` and ``"__metadata__"`` to
strings. The reader believes none of it: every number is checked against the file's size before a byte is used.

Source: https://github.com/huggingface/safetensors (format).
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .. import dtypes
from ..errors import CheckpointError, CorruptFileError, DTypeError
from .atomic import write_atomically

__all__ = ["SafetensorsHeader", "read_safetensors", "read_safetensors_header", "write_safetensors"]

_LARGEST_HEADER = 100_000_000
_MOST_AXES = 64  # of NumPy's arrays
_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32, "I32": np.int32,
    "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64, "C64": np.complex64,
}  # fmt: skip
_CODES = {np.dtype(d): code for code, d in _DTYPES.items()}


class Entry(NamedTuple):
    """One array of a file."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsHeader(NamedTuple):
    """What a file holds: its entries by name, its metadata, and where the bytes of the arrays begin."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    start: int


# --------------------------------------------------------------------------------------------- writing


def code_of(dtype: np.dtype) -> str:
    """The format's name of a dtype.

    Raises:
        DTypeError: it has none.
    """
    if dtypes.is_bfloat16(dtype):
        return "BF16"
    if dtype.newbyteorder("=") not in _CODES:
        raise DTypeError(
            f"safetensors has no dtype for {dtype}; it has {', '.join(str(np.dtype(d)) for d in _DTYPES.values())}, bfloat16"
        )
    return _CODES[dtype.newbyteorder("=")]


def _bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of an array, little-endian, in C order."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.byteorder == ">" or (flat.dtype.byteorder == "=" and sys.byteorder == "big"):
        flat = flat.astype(flat.dtype.newbyteorder("<"))
    return flat.view(np.uint8).data


def encode_header(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """The header and the 8 bytes before it, padded so that the arrays begin at a multiple of 8."""
    described: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    for name, e in entries.items():
        described[name] = {"dtype": e.code, "shape": list(e.shape), "data_offsets": [e.begin, e.end]}
    text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LARGEST_HEADER:
        raise CheckpointError(f"a safetensors header has at most {_LARGEST_HEADER} bytes; this one has {len(text)}")
    return len(text).to_bytes(8, "little") + text


def laid_out(arrays: Mapping[str, Any]) -> dict[str, tuple[Entry, memoryview]]:
    """The entries and bytes of arrays in the order of the file: wide dtypes first, so that all are aligned."""
    found = {name: np.asarray(a) for name, a in arrays.items()}
    if "__metadata__" in found:
        raise CheckpointError("'__metadata__' is no name for an array: safetensors keeps it for itself")
    placed, position = {}, 0
    for name in sorted(found, key=lambda n: (-found[n].dtype.itemsize, n)):
        a, begin = found[name], position
        position += a.nbytes
        try:
            code = code_of(a.dtype)
        except DTypeError as e:
            raise DTypeError(f"{name!r} cannot be saved: {e}. Leave it out, or save numbers for it.") from None
        placed[name] = (Entry(code, a.shape, begin, position), _bytes_of(a))
    return placed


def write_safetensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes named arrays to a file, atomically.

    Args:
        path: the file.
        arrays: name -> array; bool, integers, floats (bfloat16 too), complex64.
        metadata: strings by name.

    Raises:
        DTypeError: the format has no such dtype (complex128).
        SaveError: the disk is full ...; the old file is unharmed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_safetensors(f"{folder}/a.safetensors", {"w": np.eye(2, dtype=np.float32)})
    ...     read_safetensors(f"{folder}/a.safetensors")
    {'w': array([[1., 0.],
           [0., 1.]], dtype=float32)}
    """
    placed = laid_out(arrays)
    header = encode_header({name: entry for name, (entry, _) in placed.items()}, metadata or {})
    write_atomically(path, [header, *[data for _, data in placed.values()]])


# --------------------------------------------------------------------------------------------- reading


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _is_size(x: Any) -> bool:
    return type(x) is int and 0 <= x < 1 << 63


def _entry(name: str, found: Any, size: int) -> Entry:
    """One entry of a header, checked; ``size`` is that of all arrays together."""
    if not isinstance(found, dict) or set(found) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the entry {name!r} is not {{dtype, shape, data_offsets}}")
    code, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise ValueError(f"the shape of {name!r} is {shape!r}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ValueError(f"the offsets of {name!r} are {offsets!r}")
    begin, end = offsets
    if not begin <= end <= size:
        raise ValueError(f"{name!r} stands at bytes {begin} to {end} of {size}")
    if not isinstance(code, str) or (code != "BF16" and code not in _DTYPES):
        raise ValueError(f"the dtype of {name!r} is {code!r}, which fx does not know")
    width = 2 if code == "BF16" else np.dtype(_DTYPES[code]).itemsize
    if len(shape) > _MOST_AXES or math.prod(max(n, 1) for n in shape) * width >= 1 << 63:
        raise ValueError(f"no array of NumPy's has the shape of {name!r}, {shape}")
    if end - begin != math.prod(shape) * width:
        raise ValueError(f"{name!r} has {end - begin} bytes; {code} of shape {shape} takes {math.prod(shape) * width}")
    return Entry(code, tuple(shape), begin, end)


def _parsed(text: bytes, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    if not text.startswith(b"{"):
        raise ValueError("the header is no JSON object")
    described = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    metadata = described.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("the metadata are not strings by name")
    entries = {name: _entry(name, found, size) for name, found in described.items()}
    position = 0
    for name, e in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if e.begin != position:
            raise ValueError(f"{name!r} begins at byte {e.begin}; the array before it ends at {position}")
        position = e.end
    if position != size:
        raise ValueError(f"the arrays end at byte {position} of {size}")
    return entries, metadata


def _read_header(file: BinaryIO, path: Any) -> SafetensorsHeader:
    size = os.fstat(file.fileno()).st_size
    first = file.read(8)
    if first[:4] == b"PK\x03\x04" or first[:2] == b"\x80\x02":
        raise CorruptFileError(
            f"{path} is no safetensors file but an archive of Python's: torch.save's (write it with safetensors.torch.save_file,"
            " or give io.load_torch the state_dict), or NumPy's .npz (fx.numpy.load, data.from_npz)."
        )
    length = int.from_bytes(first, "little")
    if size < 8 or length > min(_LARGEST_HEADER, size - 8):
        raise CorruptFileError(
            f"{path} is no whole safetensors file: it has {size} bytes, and its first 8 announce a header of {length};"
            " was it cut off?"
        )
    try:
        entries, metadata = _parsed(file.read(length), size - 8 - length)
    except (ValueError, RecursionError) as e:
        raise CorruptFileError(f"{path} is no whole safetensors file: {e}; was it cut off or changed?") from e
    return SafetensorsHeader(entries, metadata, 8 + length)


def read_safetensors_header(path: str | os.PathLike[str]) -> SafetensorsHeader:
    """What a file holds, without reading the arrays.

    Raises:
        CorruptFileError: it is no whole safetensors file.
        FileNotFoundError: it is not there.
    """
    with open(path, "rb") as file:
        return _read_header(file, path)


def _array_of(path: Any, e: Entry, raw: np.ndarray, name: str) -> np.ndarray:
    if e.code == "BF16":
        if dtypes.bfloat16 is None:
            raise DTypeError(f"{name!r} is bfloat16, which NumPy has from ml_dtypes: pip install 'fxjit[bfloat16]'")
        return raw.view(dtypes.bfloat16).reshape(e.shape)
    dtype = np.dtype(_DTYPES[e.code])
    array = raw.view(dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(e.shape)
    if e.code == "BOOL" and raw.size and raw.max() > 1:
        raise CorruptFileError(f"{path}: {name!r} is bool, and has bytes that are neither 0 nor 1")
    return array


def read_arrays(
    path: str | os.PathLike[str], header: SafetensorsHeader, names: Any
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of some entries, read one after the other."""
    with open(path, "rb") as file:
        for name in names:
            e = header.entries[name]
            raw = np.empty(e.end - e.begin, np.uint8)
            file.seek(header.start + e.begin)
            if file.readinto(raw.data) != raw.size:  # the file was cut since its header was read
                raise CorruptFileError(f"{Path(path)}: {name!r} is cut off")
            yield name, _array_of(path, e, raw, name)


def read_safetensors(path: str | os.PathLike[str], names: Any = None) -> dict[str, np.ndarray]:
    """The arrays of a file.

    Args:
        path: the file.
        names: the entries to read; by default all.

    Returns:
        name -> NumPy array (writable, its own memory).

    Raises:
        CorruptFileError: the file is cut off or damaged.
        CheckpointError: it has no entry of such a name.
    """
    header = read_safetensors_header(path)
    if unknown := sorted(set(names or ()) - set(header.entries)):
        raise CheckpointError(f"{path} has no entries {unknown}; it has {sorted(header.entries)}")
    return dict(read_arrays(path, header, header.entries if names is None else names))
