"""``fx.data``: data sets, what is done to their examples, and a few that are part of the package.

>>> from fx import data
>>> train, test = data.mnist()
>>> train.images.shape, test.images.shape
((8000, 28, 28, 1), (2000, 28, 28, 1))

A ``Dataset`` is a chain of lazy steps, the same at every run; its iterator has a ``state`` that goes into a checkpoint:

>>> batches = data.from_arrays(train).shuffle(seed=0).batch(32).prefetch(threads=2).repeat()
>>> iterator = batches.iterator()
>>> images, labels = next(iterator)
>>> images.shape, iterator.state
((32, 28, 28, 1), {'epoch': 0, 'of': {'index': 32}})
>>> iterator.close()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..misnamed import no_attribute
from ..traceback import user_frames
from .batches import batches, random_shift
from .dataset import DataIterator, Dataset
from .fetch import RemoteFile, data_folder, fetched
from .idx import read_idx
from .mnist import MNIST, Split, mnist
from .reading import from_arrays, from_csv, from_folder, from_idx, from_iterator, from_memmap, from_npz
from .sources import check_finite
from .splits import k_fold, split
from .tables import Table, breast_cancer, diabetes, digits, sunspots
from .transforms import add_noise, cutout, mixup, normalise, random_crop, random_flip, random_rotation

__all__ = [
    "MNIST", "DataIterator", "Dataset", "RemoteFile", "Split", "Table", "add_noise", "batches", "breast_cancer", "check_finite", "cutout",
    "data_folder", "diabetes", "digits", "fetched", "from_arrays", "from_csv", "from_folder", "from_idx", "from_iterator",
    "from_memmap", "from_npz", "k_fold", "mixup", "mnist", "normalise", "random_crop", "random_flip", "random_rotation",
    "random_shift", "read_idx", "split", "sunspots",
]  # fmt: skip

_ELSEWHERE = {
    "DataLoader": "It is data.from_arrays((x, y)).shuffle(seed=0).batch(32).prefetch(threads=2).",
    "ImageFolder": "from_folder", "KFold": "k_fold", "MixUp": "mixup", "Normalize": "normalise", "RandomErasing": "cutout",
    "RandomHorizontalFlip": "random_flip", "StratifiedKFold": "k_fold", "TensorDataset": "from_arrays",
    "from_generator": "from_iterator", "from_tensor_slices": "from_arrays", "image_dataset_from_directory": "from_folder", "load_breast_cancer": "breast_cancer",
    "load_diabetes": "diabetes", "load_digits": "digits", "load_mnist": "mnist", "normalize": "normalise", "random_split": "split", "train_test_split": "split",
}  # fmt: skip

if not TYPE_CHECKING:  # a type checker says itself what is not there

    @user_frames
    def __getattr__(name: str) -> None:
        raise no_attribute("fx.data", name, __all__, _ELSEWHERE)
