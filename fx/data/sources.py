"""Where examples come from: arrays, files, folders of images, iterators, memory maps."""

from __future__ import annotations

import csv
import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import tree
from ..errors import CorruptFileError, DataError, ShapeError

__all__ = ["Source", "check_finite"]


class Source(Protocol):
    """Examples that can be taken in any order."""

    def __len__(self) -> int: ...

    def gather(self, positions: np.ndarray) -> Any:
        """The examples at some positions, their arrays stacked."""
        ...


def positive(who: str, what: str, n: Any) -> int:
    """``n``, an integer of at least 1."""
    try:
        count = operator.index(n)
    except TypeError:
        count = 0
    if count < 1:
        raise ShapeError(f"{who} takes {what}; found {n!r}")
    return count


class Arrays:
    """Examples along the first axis of the arrays of a pytree; memory maps are read where they are asked for."""

    def __init__(self, arrays: Any) -> None:
        self._arrays = tree.map(lambda a: a if isinstance(a, np.ndarray) else np.asarray(a), arrays)
        shapes = {tree.keystr(path) or "it": a.shape for path, a in tree.leaves_with_path(self._arrays)}
        lengths = {s[0] if s else None for s in shapes.values()}
        if len(lengths) != 1 or None in lengths:
            numbers = all(s == () for s in shapes.values()) and len(shapes) > 1
            hint = " Lists are trees of their own: np.asarray makes an array of one." if numbers else ""
            text = str(shapes) if len(shapes) < 9 else f"{str(dict(list(shapes.items())[:4]))[:-1]}, ... }}"
            raise ShapeError(f"a data set takes arrays of one length, at least one; found shapes {text}.{hint}")
        (self._length,) = lengths
        if not self._length:
            raise DataError(f"the data set is empty: found shapes {shapes}")

    def __len__(self) -> int:
        return int(self._length or 0)

    def __repr__(self) -> str:
        kinds = [(tree.keystr(path), a) for path, a in tree.leaves_with_path(self._arrays)]
        told = [f"{path}: {a.dtype}{list(a.shape[1:])}".removeprefix(": ") for path, a in kinds[:8]]
        return f"{len(self)} examples, {', '.join(told)}{', ...' * (len(kinds) > 8)}"

    def gather(self, positions: np.ndarray) -> Any:
        return tree.map(lambda a: np.asarray(a[positions]), self._arrays)


def check_finite(arrays: Any) -> None:
    """Checks that no number of the arrays of a pytree is NaN or infinite.

    Raises:
        DataError: naming the array, the row and the place in it.

    >>> check_finite({"x": np.array([[1.0, 2.0], [3.0, np.nan]])})
    Traceback (most recent call last):
      ...
    fx.errors.DataError: row 1 of ['x'] has nan at (1,); 1 of 2 rows are not finite. Leave them out or fill them in.
    """
    for path, a in tree.leaves_with_path(arrays):
        values = np.asarray(a)
        if values.dtype.kind not in "fc":
            continue
        bad = ~np.isfinite(values)
        if bad.any():
            row, *rest = (int(i) for i in np.argwhere(bad)[0]) if values.ndim else (0,)
            rows = int(bad.reshape(len(values), -1).any(axis=1).sum()) if values.ndim else 1
            raise DataError(
                f"row {row} of {tree.keystr(path) or 'the array'} has {values[(row, *rest)] if values.ndim else values} at"
                f" {tuple(rest)}; {rows} of {len(values) if values.ndim else 1} rows are not finite. Leave them out or fill them in."
            )


# -------------------------------------------------------------------------------------------- tables


_MISSING = frozenset(("", "#n/a", "<na>", "?", "n/a", "na", "nan", "none", "null"))  # in lower case


class Csv(NamedTuple):
    """How a file of comma-separated values is read; see ``from_csv``."""

    path: str | os.PathLike[str]
    delimiter: str
    missing: float | None
    names: Sequence[str] | None
    encoding: str

    def columns(
        self, chosen: Sequence[str] | None, classes: Mapping[str, Sequence[str]], target: str | None = None
    ) -> dict[str, np.ndarray]:
        """Columns by name, as floats; those that ``classes`` has, as positions in its lists; ``target`` is one of them.

        Raises:
            DataError: a line with another number of fields, a field that is no number, an empty file: by line and column.
        """
        if not isinstance(self.delimiter, str) or len(self.delimiter) != 1:
            raise DataError(f"from_csv takes a delimiter of one character; found {self.delimiter!r}")
        try:
            with open(self.path, newline="", encoding=self.encoding) as file:
                return self._columns(csv.reader(file, delimiter=self.delimiter), chosen, classes, target)
        except csv.Error as e:
            raise DataError(f"{self.path} cannot be read as a table: {e}. Is a quotation mark left open?") from e
        except LookupError as e:
            raise DataError(f"{self.path}: {e}; Python's encodings are utf-8, latin-1, cp1252 ...") from e
        except UnicodeDecodeError as e:
            raise DataError(
                f"{self.path} is no text in {self.encoding}: {e}. Say how it was written: encoding='latin-1'."
            ) from e

    def _columns(
        self, lines: Any, chosen: Sequence[str] | None, classes: Mapping[str, Sequence[str]], target: str | None
    ) -> dict[str, np.ndarray]:
        names = [name.strip() for name in (next(lines, []) if self.names is None else self.names)]
        if not names:
            raise DataError(f"{self.path} is empty; a first line with the names of the columns was expected")
        if self.names is None and all(map(_is_number, names)) and names != [str(i) for i in range(len(names))]:
            raise DataError(
                f"{self.path}: the first line names the columns; found numbers, {', '.join(names[:4])}{', ...' * (len(names) > 4)}."
                " Where there is no such line: names=[...]."
            )
        if target is not None and target not in names:
            raise DataError(f"{self.path} has no column {target!r}; it has {names}")
        chosen = list(names if chosen is None else chosen)
        if unknown := [c for c in chosen if c not in names]:
            raise DataError(f"{self.path} has no columns {unknown}; it has {names}")
        if twice := sorted({c for c in chosen if names.count(c) > 1}):
            raise DataError(f"{self.path} has several columns named {', '.join(twice)}; give them others: names=[...]")
        at = {c: names.index(c) for c in chosen}
        rows = [self._row(line, at, names, classes, lines.line_num) for line in lines if line]
        if not rows:
            raise DataError(f"{self.path} has no line besides its first")
        return dict(zip(chosen, np.array(rows, np.float64).T))

    def _row(
        self, line: list[str], at: Mapping[str, int], names: list[str], classes: Mapping[str, Sequence[str]], number: int
    ) -> list[float]:  # fmt: skip
        where = f"{self.path}, line {number}"
        if len(line) != len(names):
            hint = (
                f"; is it delimiter={next((d for d in ';|' + chr(9) if d in line[0]), ';')!r}?"
                if len(line) == 1
                else ""
            )
            raise DataError(f"{where}: {len(line)} fields, {len(names)} columns ({', '.join(names)}){hint}")
        found = []
        for name, i in at.items():
            text = line[i].strip()
            if name in classes:
                if text not in classes[name]:
                    raise DataError(f"{where}, column {name!r}: {text!r} is none of the classes {list(classes[name])}")
                found.append(float(classes[name].index(text)))
                continue
            gap = text.lower() in _MISSING
            try:
                found.append(self.missing if gap and self.missing is not None else float(text))
            except ValueError:
                way_out = (
                    "missing=... gives such fields a value"
                    if gap
                    else "of a target with names: classes=['first', 'second', ...]; other columns are left out by columns=[...]"
                )
                raise DataError(f"{where}, column {name!r}: {text!r} is no number; {way_out}") from None
        return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -------------------------------------------------------------------------------------------- images


_WHITE = {"uint8": 255, "uint16": 65535}
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".npy"}


def height_and_width(who: str, size: Any) -> tuple[int, int]:
    """A size of images: (height, width), or one number for both."""
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2:
        raise ShapeError(f"{who} takes size=(height, width), or one number for both; found {size!r}")
    height, width = (positive(who, "size=(height, width), or one number for both", n) for n in pair)
    return height, width


class Images:
    """The images below a folder, whose sub-folders are their classes; read where they are asked for."""

    def __init__(self, folder: str | os.PathLike[str], size: tuple[int, int] | int | None, channels: int) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"{root} is no folder; from_folder takes one with a sub-folder of images for each class")
        self.classes = sorted(p.name for p in root.iterdir() if p.is_dir())
        self._files = [
            (file, label)
            for label, name in enumerate(self.classes)
            for file in sorted((root / name).rglob("*"))
            if file.suffix.lower() in _IMAGES
        ]
        if not self._files:
            raise DataError(f"{root} has no images ({', '.join(sorted(_IMAGES))}) in sub-folders, one for each class")
        self._size, self._channels = None if size is None else height_and_width("from_folder", size), channels

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"{len(self)} images of {len(self.classes)} classes"

    def gather(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        chosen = [self._files[i] for i in positions]
        images = [read_image(file, self._size, self._channels) for file, _ in chosen]
        shapes = {a.shape for a in images}
        if len(shapes) > 1:
            raise ShapeError(f"from_folder: images of shapes {sorted(shapes)} in one batch; pass size=(height, width)")
        return {"image": np.stack(images), "label": np.array([label for _, label in chosen], np.int32)}


def read_image(path: Path, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """An image as float32 from 0 to 1, of shape (height, width, channels); floats as they are.

    Raises:
        CorruptFileError: it cannot be read.
        DataError: an array of another shape, or an image of integers of 32 bits.
    """
    if path.suffix.lower() == ".npy":
        try:
            pixels = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as e:
            raise CorruptFileError(f"{path} is no whole .npy file: {e}") from e
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or pixels.shape[2] != channels or size not in (None, pixels.shape[:2]):
            wanted = f"({', '.join(map(str, size or ('height', 'width')))}, {channels})"
            raise DataError(
                f"{path} holds an array of shape {pixels.shape}; an image here is {wanted}, and arrays are taken as they are."
                " Give channels= and size= of the arrays, or scale them before (fx.image.resize)"
            )
        return pixels.astype(np.float32) / np.float32(_WHITE.get(pixels.dtype.name, 1))
    try:
        from PIL import Image
    except ImportError as e:
        raise DataError(
            f"{path}: reading images needs Pillow: pip install 'fxjit[images]' (.npy files need nothing)"
        ) from e
    try:
        with Image.open(path) as image:
            if image.mode == "I":
                raise DataError(
                    f"{path} holds whole numbers of 32 bits, and says nothing of which of them is white: save it with 8 or 16 bits,"
                    " as floats, or as an .npy file"
                )
            deep = image.mode == "F" or image.mode.startswith("I;16")  # conversion to 8 bits would clip it
            white = {"F": 1}.get(image.mode, 65535 if deep else 255)
            pixels = image.convert("F" if deep else "L" if channels == 1 else "RGB")
            pixels = pixels if size is None else pixels.resize(size[::-1], Image.Resampling.BILINEAR)
            array = np.asarray(pixels, np.float32) / np.float32(white)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError) as e:
        raise CorruptFileError(f"{path} cannot be read as an image: {e}") from e
    array = array.reshape(*array.shape[:2], -1)
    return array if array.shape[2] == channels else np.repeat(array, channels, axis=2)


# ---------------------------------------------------------------------------------------- memory maps


def memory_map(path: str | os.PathLike[str], dtype: Any, shape: Sequence[int] | None) -> np.ndarray:
    """A file as an array that is read where it is asked for: ``.npy``, or bare numbers of a dtype and shape.

    Raises:
        CorruptFileError: the file is cut off, or no such array.
    """
    try:
        if dtype is None:
            with open(path, "rb") as file:
                if file.read(2) == b"PK":
                    raise DataError(
                        f"{path} is an archive of arrays, an .npz file: data.from_npz({str(path)!r}) reads it"
                    )
            return np.load(path, mmap_mode="r", allow_pickle=False)
        size = os.path.getsize(path)
        rest = tuple(
            positive("from_memmap", "a shape of positive sizes, whose first may be -1", n) for n in (shape or ())[1:]
        )
        item = np.dtype(dtype).itemsize * math.prod(rest)
        if not size:
            raise CorruptFileError(f"{path} is empty; numbers of {np.dtype(dtype)} were expected")
        if size % item or (shape and shape[0] != -1 and size != shape[0] * item):
            raise CorruptFileError(
                f"{path} has {size} bytes; an example of {np.dtype(dtype)}{list(shape or [])[1:]} has {item}"
            )
        return np.memmap(path, dtype, mode="r", shape=(size // item, *rest))
    except (ShapeError, DataError):
        raise
    except (ValueError, EOFError) as e:
        raise CorruptFileError(f"{path} is no whole .npy file: {e}") from e


def archive(path: str | os.PathLike[str], names: Iterable[str] | None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file.

    Raises:
        CorruptFileError: it is cut off or damaged.
        DataError: it has no array of such a name.
    """
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise DataError(f"{path} is one array, an .npy file: data.from_memmap({str(path)!r}) reads it")
            chosen = list(found.files if names is None else [names] if isinstance(names, str) else names)
            if unknown := sorted(set(chosen) - set(found.files)):
                raise DataError(f"{path} has no arrays {unknown}; it has {sorted(found.files)}")
            return {name: found[name] for name in chosen}
    except FileNotFoundError:
        raise
    except DataError:
        raise
    except Exception as e:  # zipfile, zlib and NumPy raise errors of a dozen classes for damaged archives
        raise CorruptFileError(f"{path} is no whole .npz file: {e}") from e
