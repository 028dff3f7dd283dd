"""Handwritten digits: 10,000 that are part of the package, and all 70,000 from their files; see ATTRIBUTION.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from .fetch import RemoteFile, data_folder, fetched
from .idx import read_idx
from .splits import stratified_sample

__all__ = ["MNIST", "Split", "mnist"]

_FILE = Path(__file__).with_name("mnist10k.npz")
_SPLIT_SEED = 0
_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_REMOTE = tuple(
    RemoteFile(name, digest, _MIRRORS)
    for name, digest in (
        ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )
)


class Split(NamedTuple):
    """Images, float32 from 0 to 1 of shape (n, height, width, 1), and their labels, int32 of shape (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def __repr__(self) -> str:
        return in_one_line(self)


def in_one_line(table: NamedTuple) -> str:
    """A named tuple of arrays by their dtypes and shapes: their numbers would fill pages of a notebook.

    >>> in_one_line(Split(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32)))
    'Split(images=float32[2, 8, 8, 1], labels=int32[2])'
    """
    told = (
        f"{name}={x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else f"{name}={x!r}"
        for name, x in table._asdict().items()
    )
    return f"{type(table).__name__}({', '.join(told)})"


class MNIST(NamedTuple):
    """What to train on, and what is held out."""

    train: Split
    test: Split


def mnist(*, full: bool = False, folder: str | os.PathLike[str] | None = None, mirror: str | None = None) -> MNIST:
    """Handwritten digits of 28 x 28 pixels.

    By default the 10,000 of the package, 8,000 for training and 2,000 held out: always the same split, and stratified.

    Args:
        full: all 60,000 and 10,000, from the four files of the data set: from ``folder``, or downloaded into it.
        folder: by default a folder of the user's cache (``FX_DATA_DIR``, if that is set).
        mirror: URL of a folder that has the files too, asked first; by default ``mnist`` in ``FX_DATA_MIRROR``, if that is set.

    Raises:
        MissingDataError: the files are not there and could not be downloaded; the message says where to get them and
            where to put them.
        CorruptFileError: a file is damaged.

    >>> from fx import data
    >>> digits = data.mnist()
    >>> digits.train.images.shape, digits.test.labels.shape
    ((8000, 28, 28, 1), (2000,))
    """
    if full:
        parts = [read_idx(path) for path in fetched("mnist", _REMOTE, folder, mirror)]
        for images, labels in (parts[:2], parts[2:]):
            if images.shape != (len(labels), 28, 28) or labels.ndim != 1 or labels.max(initial=0) > 9:
                raise DataError(
                    f"the files in {folder or data_folder() / 'mnist'} are not those of MNIST: images {images.shape}, labels"
                    f" {labels.shape} up to {labels.max(initial=0)}. data.from_idx(images, labels) reads any."
                )
        return MNIST(_as_split(*parts[:2]), _as_split(*parts[2:]))
    with np.load(_FILE) as archive:
        images, labels = archive["x"], archive["y"]
    test = stratified_sample(labels, 2000, _SPLIT_SEED)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return MNIST(*[_as_split(images[i], labels[i]) for i in (train, test)])


def _as_split(images: np.ndarray, labels: np.ndarray) -> Split:
    pixels = (images.reshape(-1, 28, 28, 1) / np.float32(255)).astype(np.float32)
    return Split(pixels, labels.astype(np.int32))
