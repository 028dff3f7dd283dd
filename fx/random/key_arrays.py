"""``KeyArray``: keys as values of a type of their own, which no arithmetic touches by mistake.

A key array of shape ``s`` holds uint32 words of shape ``(*s, 2)``.  It is a pytree node around them, so it goes through
``jit``, ``vmap``, ``grad``, ``scan`` and the rest as any container does; ``fx.tree.map`` hands it over whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from .. import numpy as fnp
from .. import tree
from ..dtypes import KeyDType, key_dtype
from ..errors import DTypeError, ItemAssignmentError, OutOfBoundsIndexError
from ..numpy.axes import canonical_axis
from ..plans import holds_array

__all__ = ["KeyArray"]

Value = Any


@holds_array("_words")
class KeyArray:
    """An array of keys.  Made by ``fx.random.key``, ``split``, ``fold_in`` and ``wrap_key_data``.

    >>> from fx import random
    >>> keys = random.split(random.key(0), 6)
    >>> keys.shape, keys.reshape(2, 3)[1].shape, keys.dtype
    ((6,), (3,), key<fry>)
    """

    __slots__ = ("__weakref__", "_words")
    __array_priority__ = 300
    stands_for_array = True  # to ``isinstance(x, Array)``
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, words: Value) -> None:
        self._words = words

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._words.shape[:-1])

    @property
    def dtype(self) -> KeyDType:
        return key_dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def itemsize(self) -> int:
        return key_dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def weak_type(self) -> bool:
        return False

    @property
    def device(self) -> str:
        return "cpu"

    def block_until_ready(self) -> KeyArray:
        """Returns the keys; fx computes synchronously."""
        return self

    def __repr__(self) -> str:
        return f"Array({self.shape}, dtype={key_dtype}) overlaying:\n{self._words}"

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a single key has no len(); split it: fx.random.split(key, n)")
        return self.shape[0]

    def __iter__(self) -> Iterator[KeyArray]:
        if not self.ndim:
            raise TypeError("a single key cannot be iterated; split it: a, b = fx.random.split(key)")
        return (KeyArray(self._words[i]) for i in range(self.shape[0]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise DTypeError(
            f"keys ({key_dtype}, shape {self.shape}) are no numbers. For their uint32 words: fx.random.key_data(keys)."
        )

    def __copy__(self) -> KeyArray:
        return self

    def __reduce__(self) -> Any:
        return KeyArray, (self._words,)

    def __eq__(self, other: object) -> Any:
        return self._equal(other, True)

    def __ne__(self, other: object) -> Any:
        return self._equal(other, False)

    def _equal(self, other: object, wanted: bool) -> Any:
        if not isinstance(other, KeyArray):
            return NotImplemented
        same = fnp.all(self._words == other._words, -1)
        return same if wanted else ~same

    def word(self, i: int) -> Value:
        """The first or second word of each key."""
        return self._words[..., i]

    @classmethod
    def of_words(cls, first: Value, second: Value) -> KeyArray:
        """Keys of the two words.

        Raises:
            DTypeError: the words are no uint32, so that a function has computed something of them.
        """
        if first.dtype != np.uint32:
            raise DTypeError(
                f"keys ({key_dtype}) are no {first.dtype}. For their uint32 words: fx.random.key_data(keys)."
            )
        return cls(fnp.stack([first, second], -1))

    # ------------------------------------------------------------------ rearranging

    @property
    def at(self) -> _At:
        """``keys.at[index].set(key)`` and ``keys.at[index].get()``, as for arrays of numbers."""
        return _At(self)

    def __getitem__(self, index: Any) -> KeyArray:
        parts = index if isinstance(index, tuple) else (index,)
        taken = sum(_axes_taken(i) for i in parts)
        if taken > self.ndim:
            raise OutOfBoundsIndexError(f"an index of {taken} axes into an array of keys of shape {self.shape}")
        return KeyArray(self._words[(*parts, slice(None)) if any(i is Ellipsis for i in parts) else index])

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ItemAssignmentError("arrays of keys are immutable; use keys = keys.at[index].set(key)")

    def _axis(self, axis: Any) -> int:
        return canonical_axis(axis, self.ndim)

    def reshape(self, *shape: Any) -> KeyArray:
        """The same keys in another shape; one size may be -1."""
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return KeyArray(fnp.reshape(self._words, (*sizes, 2)))

    def ravel(self) -> KeyArray:
        """The keys as a vector."""
        return self.reshape(-1)

    flatten = ravel

    def transpose(self, *axes: Any) -> KeyArray:
        """The axes permuted; reversed by default."""
        given = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        order = [self._axis(a) for a in given] if given else range(self.ndim)[::-1]
        return KeyArray(fnp.transpose(self._words, (*order, self.ndim)))

    @property
    def T(self) -> KeyArray:
        return self.transpose()

    def squeeze(self, axis: Any = None) -> KeyArray:
        """Without axes of size 1."""
        if axis is None:
            axis = tuple(i for i, n in enumerate(self.shape) if n == 1)
        axes = tuple(self._axis(a) for a in (axis if isinstance(axis, tuple) else (axis,)))
        return KeyArray(fnp.squeeze(self._words, axes))

    def swapaxes(self, axis1: int, axis2: int) -> KeyArray:
        """Two axes exchanged."""
        return KeyArray(fnp.swapaxes(self._words, self._axis(axis1), self._axis(axis2)))

    def take(self, indices: Any, axis: int = 0) -> KeyArray:
        """The keys at the indices along an axis."""
        return KeyArray(fnp.take(self._words, indices, self._axis(axis)))

    def repeat(self, repeats: Any, axis: int = 0) -> KeyArray:
        """Every key along an axis repeated."""
        return KeyArray(fnp.repeat(self._words, repeats, self._axis(axis)))

    def chosen(self, condition: Any, other: Any) -> KeyArray:
        """These keys where the condition holds, else the others: ``fx.numpy.where``."""
        if not isinstance(other, KeyArray):
            raise DTypeError(f"where takes two arrays of keys, or none; found one beside a {type(other).__name__}")
        return KeyArray(fnp.where(fnp.asarray(condition)[..., None], self._words, other._words))

    @staticmethod
    def joined(join: Any, arrays: Any, axis: Any, new_axes: int) -> KeyArray:
        """``fx.numpy.stack`` and ``concatenate`` of arrays of keys."""
        other = next((a for a in arrays if not isinstance(a, KeyArray)), None)
        if other is not None:
            raise DTypeError(f"keys are put together with keys; found some beside a {type(other).__name__}")
        ndim = arrays[0].ndim + new_axes
        flat = [a.ravel() if axis is None else a for a in arrays]
        return KeyArray(join([a._words for a in flat], 0 if axis is None else canonical_axis(axis, ndim)))

    def copy(self) -> KeyArray:
        return KeyArray(fnp.copy(self._words))


class _At:
    """``keys.at``, then ``keys.at[index]``."""

    __slots__ = ("_index", "_keys")

    def __init__(self, keys: KeyArray, index: Any = None) -> None:
        self._keys, self._index = keys, index

    def __getitem__(self, index: Any) -> _At:
        return _At(self._keys, index)

    def get(self, **how: Any) -> KeyArray:
        """The keys at the index; ``how`` as for arrays of numbers."""
        return KeyArray.of_words(*[self._keys.word(i).at[self._index].get(**how) for i in range(2)])

    def set(self, values: Any, **how: Any) -> KeyArray:
        """The keys with others at the index; ``how`` as for arrays of numbers."""
        if not isinstance(values, KeyArray):
            raise DTypeError(f"keys.at[index].set takes keys; found a {type(values).__name__}")
        return KeyArray.of_words(*[self._keys.word(i).at[self._index].set(values.word(i), **how) for i in range(2)])


def _axes_taken(index: Any) -> int:
    """How many axes a part of an index uses up."""
    if index is None or index is Ellipsis or isinstance(index, (bool, np.bool_)):
        return 0
    mask = getattr(index, "dtype", None) == np.bool_
    return index.ndim if mask else 1


tree.register_pytree_node(KeyArray, lambda x: ((x._words,), None), lambda _, children: KeyArray(children[0]))
tree.register_whole(KeyArray)
