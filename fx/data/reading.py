"""Data sets from where their examples lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from . import sources
from .dataset import Dataset, FromFolder, FromIterator, FromSource
from .idx import read_idx

__all__ = ["from_arrays", "from_csv", "from_folder", "from_idx", "from_iterator", "from_memmap", "from_npz"]

Path = str | os.PathLike[str]


def from_arrays(arrays: Any, *, check: bool = False) -> Dataset:
    """Examples along the first axis of the arrays of a pytree.

    Args:
        arrays: such as ``(images, labels)`` or ``{"x": x, "y": y}``; elements have the same structure.
        check: look for NaNs and infinities first.

    Raises:
        ShapeError: the lengths differ.
        DataError: there is no example, or (with ``check``) a number that is not finite: by its row.

    >>> next(iter(from_arrays({"x": np.eye(3), "y": np.arange(3)}).batch(2)))["y"]
    array([0, 1])
    """
    if check:
        sources.check_finite(arrays)
    return FromSource(sources.Arrays(arrays))


def from_idx(*paths: Path) -> Dataset:
    """Tuples of what stands in IDX files at the same place, such as images and labels."""
    return from_arrays(tuple(read_idx(path) for path in paths))


def from_npz(path: Path, names: Iterable[str] | None = None) -> Dataset:
    """Dicts of what stands in the arrays of an ``.npz`` file at the same place.

    Args:
        names: of the arrays to take; by default all.
    """
    return from_arrays(sources.archive(path, names))


def from_csv(
    path: Path, *, target: str | None = None, columns: Sequence[str] | None = None, delimiter: str = ",",
    missing: float | None = None, check: bool = True, dtype: Any = np.float32, classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None, encoding: str = "utf-8-sig",
) -> Dataset:  # fmt: skip
    """The lines of a table of numbers whose first line names its columns: features, or (features, target).

    Args:
        target: the column to predict.
        columns: the features; by default all columns but the target.
        missing: what a field counts as that is empty, or NA, N/A, NaN, null, none, ?; by default such a field is an error.
        check: look for NaNs and infinities.
        dtype: of the features, and of a target that is a number.
        classes: what stands in the column of the target; the target is then the position in this list, int32.
        names: of the columns, in a file whose first line does not hold them.
        encoding: of the file.

    Raises:
        DataError: a field is no number, a line has too few: by line and column.

    >>> import pathlib, tempfile
    >>> from fx import data
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "flats.csv"
    >>> _ = path.write_text("rooms,size,rent\\n2,50,700\\n3,80,1000\\n")
    >>> list(data.from_csv(path, target="rent", dtype="float32").batch(2))
    [(array([[ 2., 50.],
           [ 3., 80.]], dtype=float32), array([ 700., 1000.], dtype=float32))]
    """
    if classes is not None and target is None:
        raise DataError("from_csv: classes are those of the target; target= says which column it is")
    file = sources.Csv(path, delimiter, missing, names, encoding)
    chosen = None if columns is None else [*columns, *([target] if target else [])]
    found = file.columns(chosen, {} if target is None or classes is None else {target: list(classes)}, target)
    if check:
        sources.check_finite(found)
    answers = found.pop(target) if target is not None else None
    if not found:
        raise DataError(f"{path} has no column besides the target {target!r}")
    features = np.stack(list(found.values()), axis=1).astype(dtype)
    if answers is None:
        return from_arrays(features)
    return from_arrays((features, answers.astype(dtype if classes is None else np.int32)))


def from_folder(folder: Path, *, size: tuple[int, int] | int | None = None, channels: int = 3) -> FromFolder:
    """``{"image", "label"}`` of the images below a folder, whose sub-folders, by name, are the classes.

    Args:
        size: (height, width), or one number for both, that images are scaled to; None if they are of one size.
        channels: 1 (grey) or 3 (red, green, blue).

    Images are float32 from 0 to 1 of shape (height, width, channels), those of 16 bits a pixel too (floats are taken as they
    are), read when they are asked for (``prefetch`` reads ahead). Needs Pillow, but for ``.npy`` files, which are not scaled and may leave out a single channel. The data set's
    ``classes`` are the names of the sub-folders, in the order of the labels.

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from fx import data
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for kind in ("cats", "dogs"):
    ...     (folder / kind).mkdir()
    ...     np.save(folder / kind / "first.npy", np.zeros((4, 4), np.uint8))
    >>> images = data.from_folder(folder, channels=1)
    >>> images.classes, [(e["image"].shape, int(e["label"])) for e in images]
    (['cats', 'dogs'], [((4, 4, 1), 0), ((4, 4, 1), 1)])
    """
    if channels not in (1, 3):
        raise DataError(f"from_folder gives images of 1 or 3 channels; found {channels}")
    return FromFolder(sources.Images(folder, size, channels))


def from_memmap(path: Path, dtype: Any = None, shape: Sequence[int] | None = None) -> Dataset:
    """The rows of a file that may be larger than the memory, read when they are asked for.

    Args:
        path: an ``.npy`` file, or one of bare numbers.
        dtype: of bare numbers; None for ``.npy``.
        shape: of bare numbers, its first entry -1 (or the number of rows).
    """
    return from_arrays(sources.memory_map(path, dtype, shape))


def from_iterator(make: Callable[[], Iterable[Any]]) -> Dataset:
    """The elements of an iterable.

    Args:
        make: makes the iterable anew for every pass (a generator function).

    >>> [b.tolist() for b in from_iterator(lambda: (i * i for i in range(5))).batch(2)]
    [[0, 1], [4, 9], [16]]
    """
    if not callable(make):
        raise DataError("from_iterator takes a function that makes the iterable anew for every pass: lambda: iter(...)")
    return FromIterator(make)
