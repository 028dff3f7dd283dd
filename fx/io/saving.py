"""``save`` and ``load``: pytrees in safetensors files, with their structure, versions and checksums."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from .. import tree
from ..errors import CheckpointError, CheckpointMismatchError, CorruptFileError
from ..version import __version__
from . import structure
from .atomic import write_atomically
from .safetensors import (
    Entry,
    SafetensorsHeader,
    encode_header,
    laid_out,
    read_arrays,
    read_safetensors_header,
)

__all__ = ["LoadReport", "load", "load_partial", "read_metadata", "save"]

Tree = Any
_FORMAT = "fx pytree 1"
_WHOLE = "(the whole: a single leaf)"


# --------------------------------------------------------------------------------------------- saving


def _header_digest(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> str:
    """A checksum over everything of the header but itself."""
    listed = [[name, *e] for name, e in sorted(entries.items())]
    text = json.dumps([listed, sorted((k, v) for k, v in metadata.items() if k != "fx.header_crc32")])
    return f"{zlib.crc32(text.encode()):08x}"


def save(path: str | os.PathLike[str], values: Tree, *, metadata: Any = None, sync: bool = True) -> None:
    """Writes a pytree to a file: safetensors, so that others can read the arrays, and nothing in it that could run.

    The file is written beside and renamed, so a kill at any moment leaves the old file or the new one; it carries
    checksums, so damage is noticed at loading.

    Args:
        path: the file; its folder exists.
        values: arrays (every dtype, keys too), Python numbers and strings, in any pytree: modules, optimizer states ...
        metadata: anything JSON can hold, for ``read_metadata``.
        sync: False not to wait for the disk (then a power cut can lose the file).

    Raises:
        CheckpointError: a leaf that is none of these, or paths that are not unique.
        SaveError: the disk is full, the folder is missing ...; the old file is unharmed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/model.safetensors", {"w": np.arange(3), "steps": 7})
    ...     load(f"{folder}/model.safetensors")
    {'steps': 7, 'w': array([0, 1, 2])}
    """
    description, arrays = structure.describe(values)
    placed = laid_out(arrays)
    entries = {name: entry for name, (entry, _) in placed.items()}
    try:
        notes = json.dumps(metadata)
    except TypeError as e:
        raise CheckpointError(f"metadata must be what JSON can hold: {e}") from e
    header = {
        "format": _FORMAT,
        "fx.version": __version__,
        "fx.structure": json.dumps(description),
        "fx.metadata": notes,
        "fx.crc32": json.dumps({name: f"{zlib.crc32(data):08x}" for name, (_, data) in placed.items()}),
    }
    header["fx.header_crc32"] = _header_digest(entries, header)
    write_atomically(path, [encode_header(entries, header), *[data for _, data in placed.values()]], sync=sync)


# -------------------------------------------------------------------------------------------- loading


class LoadReport(NamedTuple):
    """What became of every entry, by path.

    ``loaded``: taken from the file. ``missing``: in the template only. ``unexpected``: in the file only. ``misshapen``:
    in both, with other shapes or dtypes.
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    misshapen: dict[str, structure.Misfit]

    @property
    def complete(self) -> bool:
        """Whether file and template hold the same."""
        return not (self.missing or self.unexpected or self.misshapen)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} entries loaded"]
        for title, paths in (("missing in the file", self.missing), ("unexpected in the file", self.unexpected)):
            lines += [f"{title}:"] * bool(paths) + [f"  {p or _WHOLE}" for p in paths]
        lines += ["misshapen:"] * bool(self.misshapen) + [f"  {p or _WHOLE}: {m}" for p, m in self.misshapen.items()]
        return "\n".join(lines)


class Saved(NamedTuple):
    """An open checkpoint: header, structure, and its leaves' descriptions by path."""

    path: str
    header: SafetensorsHeader
    description: Any
    leaves: dict[str, structure.Leaf]

    def values(self, paths: Iterable[str]) -> dict[str, Any]:
        """The leaves at some paths, their bytes checked."""
        wanted = {p: self.leaves[p] for p in paths}
        with structure.making_sense(self.path):
            names = [d["array"] for d in wanted.values() if "array" in d and self.header.entries[d["array"]]]
        arrays = self.arrays(names)
        with structure.making_sense(self.path):
            return {p: structure.leaf_of(d, arrays) for p, d in wanted.items()}

    def tree(self) -> Tree:
        """The pytree that was saved, in plain containers: modules, dataclasses and named tuples come as dicts."""
        arrays = self.arrays(self.header.entries)
        with structure.making_sense(self.path):
            return structure.rebuild(self.description, arrays)

    def arrays(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        with structure.making_sense(self.path):
            checksums = dict(json.loads(self.header.metadata.get("fx.crc32", "{}")))
        found = {}
        for name, array in read_arrays(self.path, self.header, names):
            digest = f"{zlib.crc32(array.reshape(-1).view(np.uint8).data):08x}" if name in checksums else None
            if digest != checksums.get(name):
                raise CorruptFileError(f"{self.path}: the bytes of {name!r} are not those that were saved")
            found[name] = array
        return found


def open_saved(path: str | os.PathLike[str]) -> Saved:
    """Reads the header of a checkpoint, or of any safetensors file (whose structure is then a flat dict)."""
    header = read_safetensors_header(path)
    if header.metadata.get("format") != _FORMAT:
        if "fx.structure" in header.metadata:
            raise CheckpointError(
                f"{path} was written in the format {header.metadata.get('format')!r} by fx"
                f" {header.metadata.get('fx.version')}; this is fx {__version__}, which reads {_FORMAT!r}"
            )
        flat = {name: {"array": name} for name in header.entries}
        return Saved(str(path), header, {"dict": [[k, d] for k, d in flat.items()]}, flat)
    if header.metadata.get("fx.header_crc32") != _header_digest(header.entries, header.metadata):
        raise CorruptFileError(f"{path}: the header is not the one that was saved")
    with structure.making_sense(path):
        description = json.loads(header.metadata["fx.structure"])
        return Saved(str(path), header, description, structure.described_leaves(description))


def read_metadata(path: str | os.PathLike[str]) -> Any:
    """The metadata that were given to ``save``; None for files of others."""
    header = open_saved(path).header
    with structure.making_sense(path):
        return json.loads(header.metadata.get("fx.metadata", "null"))


def load(path: str | os.PathLike[str], like: Tree = None, *, cast: bool = False) -> Tree:
    """Reads what ``save`` wrote.

    Args:
        path: the file; any safetensors file will do.
        like: a template, such as a freshly made model and optimizer state: the result has its structure (tuples, named
            tuples, modules ...), its static parts, and arrays of its kind. Without one, modules, dataclasses and named
            tuples come as dicts, and arrays as NumPy's.
        cast: let arrays take the template's dtype (float64 to float32 ...).

    Raises:
        CheckpointMismatchError: file and template do not hold the same: the message lists what is missing, unexpected and
            misshapen. ``load_partial`` takes what fits.
        CorruptFileError: the file is cut off or damaged.
        FileNotFoundError: it is not there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/state.safetensors", {"w": np.ones(2), "extra": np.ones(1)})
    ...     load(f"{folder}/state.safetensors", like={"w": np.zeros(3)})
    Traceback (most recent call last):
      ...
    fx.errors.CheckpointMismatchError: ... is a checkpoint of something else:
    0 entries loaded
    unexpected in the file:
      extra
    misshapen:
      w: float64[2] in the file, float64[3] in the template
    load_partial loads what fits, and reports the rest.
    """
    if like is None:
        return open_saved(path).tree()
    loaded, report = load_partial(path, like, cast=cast)
    if not report.complete:
        raise CheckpointMismatchError(
            f"{path} is a checkpoint of something else:\n{report}\nload_partial loads what fits, and reports the rest."
        )
    return loaded


def load_partial(
    path: str | os.PathLike[str],
    like: Tree,
    *,
    rename: Mapping[str, str] | Callable[[str], str | None] | None = None,
    only: str | Iterable[str] | None = None,
    cast: bool = False,
) -> tuple[Tree, LoadReport]:
    """Loads what fits into a template, and leaves the rest of it as it is: for transfer.

    Args:
        path: the file; any safetensors file will do.
        like: the template.
        rename: from paths in the file to paths in the template: a dict of prefixes (``{"encoder": "model.body"}``), or a
            function, whose None leaves an entry out.
        only: paths of the template to load, with wildcards (``"body.*"``); the others stay.
        cast: let arrays take the template's dtype.

    Returns:
        (the tree, a ``LoadReport``).

    Raises:
        CheckpointError: two entries of the file get the same path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/a.safetensors", {"body": {"w": np.ones(2)}, "head": np.ones(3)})
    ...     template = {"features": {"w": np.zeros(2)}, "head": np.zeros(5)}
    ...     values, report = load_partial(f"{folder}/a.safetensors", template, rename={"body": "features"})
    >>> values["features"]["w"], print(report)
    1 entries loaded
    misshapen:
      head: float64[3] in the file, float64[5] in the template
    (array([1., 1.]), None)
    """
    saved = open_saved(path)
    sources: dict[str, str] = {}
    for name in saved.leaves:
        target = _renamed(name, rename)
        if target is not None and target in sources:
            raise CheckpointError(f"{path}: rename gives {sources[target]!r} and {name!r} the same path, {target!r}")
        if target is not None:
            sources[target] = name
    template = structure.leaves_by_path(like)
    chosen = [p for p in template if only is None or _matches(p, only)]
    values = saved.values(sources[p] for p in chosen if p in sources)
    fits = {p: structure.fitted(values[sources[p]], template[p], cast) for p in chosen if p in sources}
    misshapen = {p: v for p, v in fits.items() if isinstance(v, structure.Misfit)}
    report = LoadReport(
        loaded=[p for p in fits if p not in misshapen],
        missing=[p for p in chosen if p not in sources],
        unexpected=[p for p in sources if p not in template and (only is None or _matches(p, only))],
        misshapen=misshapen,
    )
    return replaced(like, {p: fits[p] for p in report.loaded}), report


def replaced(like: Tree, values: Mapping[str, Any]) -> Tree:
    """A tree with other leaves at some paths."""
    leaves, shape = tree.flatten(like, is_leaf=structure.is_key)
    return shape.unflatten([values.get(p, leaf) for p, leaf in zip(structure.leaves_by_path(like), leaves)])


def _renamed(name: str, rename: Any) -> str | None:
    if rename is None:
        return name
    if callable(rename):
        return rename(name)
    for before in sorted(rename, key=len, reverse=True):
        if name == before or name.startswith(before + "."):
            return (rename[before] + name[len(before) :]).lstrip(".") if before else name
    return name


def _matches(path: str, patterns: str | Iterable[str]) -> bool:
    return any(fnmatchcase(path, p) for p in ([patterns] if isinstance(patterns, str) else patterns))
