"""Files that are kept in the user's cache, fetched once, and checked."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import NamedTuple

from ..errors import CorruptFileError, MissingDataError

try:
    import fcntl
except ImportError:  # Windows: two processes that fetch one file at once are told apart by its checksum alone
    fcntl = None  # type: ignore[assignment]

__all__ = ["RemoteFile", "data_folder", "fetched"]

_FAILURES = (OSError, ValueError)  # no network, a connection that broke; an address that is none


class RemoteFile(NamedTuple):
    """A file, the SHA-256 of its bytes, and the places it can be had from: URLs of folders."""

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


def fetched(
    data_set: str,
    files: Sequence[RemoteFile],
    folder: str | os.PathLike[str] | None = None,
    mirror: str | None = None,
) -> list[Path]:
    """The paths of the files of a data set, all there and whole; what is missing is downloaded.

    A download that breaks off goes on where it stopped, at the next mirror or the next call. A file may also lie there unpacked,
    without its ``.gz``.

    Args:
        data_set: the name of its folder in the cache.
        files: their names, checksums and addresses.
        folder: another place than ``data_folder() / data_set``.
        mirror: URL of a folder with the files, asked first; by default ``FX_DATA_MIRROR``, and in it the folder ``data_set``.

    Raises:
        MissingDataError: some are not there and could not be fetched.
        CorruptFileError: one has other bytes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as source, tempfile.TemporaryDirectory() as cache:
    ...     content = b"a,b\\n1,2\\n"
    ...     _ = (Path(source) / "table.csv").write_bytes(content)
    ...     file = RemoteFile("table.csv", hashlib.sha256(content).hexdigest(), (Path(source).as_uri(),))
    ...     [path.name for path in fetched("tables", [file], cache)]
    ['table.csv']
    """
    place = Path(folder) if folder is not None else data_folder() / data_set
    if mirror is None and (base := os.environ.get("FX_DATA_MIRROR")):
        mirror = f"{base.rstrip('/')}/{data_set}"
    if mirror is not None:
        files = [f._replace(mirrors=(mirror, *f.mirrors)) for f in files]
    missing = [f for f in files if _present(place, f) is None]
    for i, f in enumerate(missing):
        try:
            _fetch(f, place)
        except _FAILURES as e:
            if isinstance(e, CorruptFileError):
                raise
            raise MissingDataError(_what_to_do(data_set, missing[i:], place, e)) from e
    return [_present(place, f) or place / f.name for f in files]


def _present(place: Path, f: RemoteFile) -> Path | None:
    unpacked = place / f.name.removesuffix(".gz")
    if unpacked.name != f.name and unpacked.is_file():
        return unpacked
    path = place / f.name
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found = _digest(file)
    if found != f.sha256:
        raise CorruptFileError(
            f"{path} is not the file it should be: its SHA-256 is {found}, that of {f.name} is {f.sha256}. Remove it, and it"
            " is fetched again."
        )
    return path


def _digest(file: BufferedReader | BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(f: RemoteFile, place: Path) -> None:
    """Downloads a file from the first mirror that has it.

    Raises:
        CorruptFileError: one answered with other bytes.
        OSError: none answered.
    """
    place.mkdir(parents=True, exist_ok=True)
    path, part = place / f.name, place / f".{f.name}.part"
    failures: list[str] = []
    others = ""
    with _alone(part) as file:
        if path.is_file():  # another process was quicker
            with contextlib.suppress(OSError):
                part.unlink()
            return
        for mirror in f.mirrors:
            url = f"{mirror.rstrip('/')}/{f.name}"
            try:
                begun = _download(url, file)
                if begun and _digest(file) != f.sha256:  # what was there before may have been of another file
                    file.truncate(0)
                    _download(url, file)
            except _FAILURES as e:
                failures.append(f"{url}: {e or type(e).__name__}")
                continue
            if (found := _digest(file)) == f.sha256:
                os.fsync(file.fileno())
                os.replace(part, path)
                return
            others = f"{url} gives {os.fstat(file.fileno()).st_size} bytes whose SHA-256 is {found}"
            file.truncate(0)
    if others:
        raise CorruptFileError(
            f"{others}; that of {f.name} is {f.sha256}. It is another file, or what a proxy says in its place: open the address"
            f" in a browser, or put the file into {place} by hand."
        )
    raise OSError("; ".join(failures))


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[BufferedRandom]:
    """A file to write at the end of, while no other process does."""
    with part.open("a+b") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _download(url: str, file: BufferedRandom) -> bool:
    """``download.download``: Python's modules for the network, which take long to import, are needed for what is not there yet alone."""
    return bool(importlib.import_module(".download", __package__).download(url, file))


def _what_to_do(data_set: str, missing: Sequence[RemoteFile], place: Path, e: Exception) -> str:
    listed = "\n".join(f"  {f.mirrors[-1].rstrip('/')}/{f.name}  (SHA-256 {f.sha256})" for f in missing)
    return (
        f"{data_set}: these files are not in {place}, and could not be fetched ({e}):\n{listed}\nWithout a network: fetch"
        f" them where there is one, and put them into {place} (or another folder: folder=..., or FX_DATA_DIR), packed or"
        " unpacked. A mirror of your own: mirror=..., or FX_DATA_MIRROR."
    )
