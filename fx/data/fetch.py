"""Files that are kept in the user's cache, fetched once, and checked."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import CorruptFileError, MissingDataError

__all__ = ["data_folder"]

_TIMEOUT = 30.0


class RemoteFile(NamedTuple):
    """A file, the SHA-256 of its bytes, and the places it can be had from."""

    name: str
    sha256: str
    mirrors: tuple[str, ...]


def data_folder() -> Path:
    """Where data sets are kept: ``FX_DATA_DIR``, or a folder of the user's cache (not made yet)."""
    if given := os.environ.get("FX_DATA_DIR"):
        return Path(given)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "fx" / "data"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "fx" / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "fx" / "data"


def fetched(data_set: str, files: Sequence[RemoteFile], folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """The paths of the files of a data set, all there and whole.

    A file may also lie there unpacked, without its ``.gz``.

    Raises:
        MissingDataError: some are not there and could not be fetched.
        CorruptFileError: one that is there has other bytes.
    """
    place = Path(folder) if folder is not None else data_folder() / data_set
    missing = [f for f in files if _present(place, f) is None]
    try:
        for f in missing:
            _fetch(f, place)
    except OSError as e:
        raise MissingDataError(_what_to_do(data_set, missing, place, e)) from e
    return [_present(place, f) or place / f.name for f in files]


def _present(place: Path, f: RemoteFile) -> Path | None:
    unpacked = place / f.name.removesuffix(".gz")
    if unpacked.name != f.name and unpacked.is_file():
        return unpacked
    path = place / f.name
    if not path.is_file():
        return None
    _check(path.read_bytes(), f, path)
    return path


def _check(content: bytes, f: RemoteFile, where: object) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != f.sha256:
        raise CorruptFileError(
            f"{where} is not the file it should be: its SHA-256 is {found}, that of {f.name} is {f.sha256}. Remove it, and it"
            " is fetched again."
        )


def _fetch(f: RemoteFile, place: Path) -> None:
    """Downloads a file from the first mirror that has it."""
    for i, mirror in enumerate(f.mirrors):
        try:
            with urllib.request.urlopen(mirror + f.name, timeout=_TIMEOUT) as answer:
                content = answer.read()
            break
        except OSError:
            if i == len(f.mirrors) - 1:
                raise
    _check(content, f, mirror + f.name)
    place.mkdir(parents=True, exist_ok=True)
    temporary = place / f".{f.name}.{secrets.token_hex(4)}.tmp"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, place / f.name)
    finally:
        temporary.unlink(missing_ok=True)


def _what_to_do(data_set: str, missing: list[RemoteFile], place: Path, e: OSError) -> str:
    listed = "\n".join(f"  {f.mirrors[0]}{f.name}  (SHA-256 {f.sha256})" for f in missing)
    return (
        f"{data_set}: these files are not in {place}, and could not be fetched ({e}):\n{listed}\nWithout a network: fetch"
        f" them where there is one, and put them into {place} (or another folder: folder=..., or FX_DATA_DIR), packed or"
        " unpacked."
    )
