"""``fx.experimental.sparse``: arrays of which few elements are kept, under the names of ``jax.experimental.sparse``.

``BCOO`` keeps elements with their coordinates.  It is a pytree of two arrays, so it passes through ``jit``, ``vmap`` (whose
batches are the stacked arrays) and ``grad`` of what is computed from ``data``.

>>> import fx.numpy as fnp
>>> A = BCOO.fromdense(fnp.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]))
>>> A, A @ fnp.ones(3)
(BCOO(float32[2, 3], nse=3), Array([2., 4.], dtype=float32))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import tree
from ..errors import DTypeError, ShapeError, UnsupportedArgumentError
from ..numpy.axes import canonical_axes
from ..numpy.positions import nonzero
from ..ops import segment_sum
from ..signatures import wraps
from ..tree_util import register_pytree_node_class

__all__ = ["BCOO", "JAXSparse", "bcoo_fromdense", "bcoo_todense", "empty", "eye", "sparsify", "todense"]


class JAXSparse:
    """What all sparse arrays are instances of."""

    shape: tuple[int, ...]
    data: Any

    def todense(self) -> Any:
        """The array with its zeros."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.data.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@register_pytree_node_class
class BCOO(JAXSparse):
    """Element ``data[i]`` stands at ``indices[i]``; those that stand at the same place add up, the others are zero.

    What stands at coordinates beyond the shape is padding.  The last ``n_dense`` axes are those of ``data[i]``.

    Args:
        args: a pair: data of shape ``(nse, *shape[n_sparse:])``, indices of shape ``(nse, n_sparse)``.
        shape: the shape of the array.
        indices_sorted: the coordinates are in order.
        unique_indices: no place comes twice.

    Raises:
        ShapeError: the shapes of the three do not fit together.
        DTypeError: the indices are no integers.
    """

    __array_priority__ = 100

    def __init__(
        self,
        args: tuple[Any, Any],
        *,
        shape: Sequence[int],
        indices_sorted: bool = False,
        unique_indices: bool = False,
    ) -> None:
        self.data, self.indices = map(fnp.asarray, args)
        self.shape = tuple(shape)
        self.indices_sorted, self.unique_indices = indices_sorted, unique_indices
        d, i = self.data.shape, self.indices.shape
        if self.indices.dtype.kind not in "iu":
            raise DTypeError(f"BCOO: indices have dtype {self.indices.dtype}; integers are needed")
        if len(i) != 2 or d != (i[0], *self.shape[i[1] :]) or i[1] > len(self.shape):
            raise ShapeError(
                f"BCOO of shape {self.shape}: data {d} and indices {i} are given; indices have shape (nse, n_sparse),"
                " data (nse, *shape[n_sparse:])"
            )

    nse = property(lambda self: self.indices.shape[-2])
    n_sparse = property(lambda self: self.indices.shape[-1])
    n_dense = property(lambda self: self.ndim - self.n_sparse)
    n_batch = 0

    def tree_flatten(self) -> tuple[tuple[Any, Any], Any]:
        return (self.data, self.indices), (self.shape, self.indices_sorted, self.unique_indices)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Sequence[Any]) -> BCOO:
        x = object.__new__(cls)
        x.data, x.indices = children
        x.shape, x.indices_sorted, x.unique_indices = static
        return x

    def __repr__(self) -> str:
        return f"BCOO({self.data.dtype}[{', '.join(map(str, self.shape))}], nse={self.nse})"

    def _with(
        self, data: Any, indices: Any = None, shape: Sequence[int] | None = None, *, ordered: bool = True
    ) -> BCOO:
        """With other parts; ``ordered``: what was known of the coordinates holds still."""
        return BCOO(
            (data, self.indices if indices is None else indices),
            shape=self.shape if shape is None else shape,
            indices_sorted=ordered and self.indices_sorted,
            unique_indices=ordered and self.unique_indices,
        )

    # ------------------------------------------------------------------ made of others

    @classmethod
    def fromdense(
        cls, mat: Any, *, nse: int | None = None, n_dense: int = 0, n_batch: int = 0, index_dtype: Any = np.int32
    ) -> BCOO:
        """The elements of an array that are not zero; ``nse``: how many, which under ``jit`` must be said."""
        if n_batch:
            raise UnsupportedArgumentError("n_batch: there are no batch axes; vmap(BCOO.fromdense) makes a batch")
        mat = fnp.asarray(mat)
        n = mat.ndim - n_dense
        there = fnp.any(mat != 0, axis=tuple(range(n, mat.ndim)))
        nse = int(there.sum()) if nse is None else nse
        at = nonzero(there, size=nse, fill_value=mat.shape[:n])
        data = mat.at[at].get(mode="fill", fill_value=0)
        indices = fnp.stack(at, axis=-1) if n else fnp.zeros((nse, 0))
        return cls((data, indices.astype(index_dtype)), shape=mat.shape, indices_sorted=True, unique_indices=True)

    @classmethod
    def from_scipy_sparse(cls, mat: Any, *, index_dtype: Any = np.int32) -> BCOO:
        """A matrix of ``scipy.sparse``."""
        coo = mat.tocoo()
        return cls((coo.data, np.column_stack((coo.row, coo.col)).astype(index_dtype)), shape=coo.shape)

    # ------------------------------------------------------------------ looked at otherwise

    def _at(self) -> tuple[Any, ...]:
        return tuple([self.indices[:, i] for i in range(self.n_sparse)])

    def todense(self) -> Any:
        """The array with its zeros."""
        if not self.n_sparse:
            return self.data.sum(0).astype(self.dtype)
        return fnp.zeros(self.shape, self.dtype).at[self._at()].add(self.data, mode="drop")

    def astype(self, dtype: Any) -> BCOO:
        return self._with(self.data.astype(dtype))

    def transpose(self, axes: Sequence[int] | None = None) -> BCOO:
        """The array with its axes in another order; axes of ``data[i]`` stay behind the others."""
        axes = tuple(range(self.ndim))[::-1] if axes is None else tuple([a % self.ndim for a in axes])
        n = self.n_sparse
        if sorted(axes) != list(range(self.ndim)) or max(axes[:n], default=0) >= max(n, 1):
            raise ShapeError(f"transpose of {self} by {axes}: not an order of its axes with the {n} sparse ones first")
        data = self.data.transpose((0, *[a - n + 1 for a in axes[n:]]))
        return self._with(data, self.indices[:, np.array(axes[:n], int)], [self.shape[a] for a in axes], ordered=False)

    T = property(transpose)

    def _places(self) -> Any:
        """The number of each element's place in C order; that of padding is beyond all."""
        sizes = self.shape[: self.n_sparse]
        weights = np.cumprod((1, *sizes[:0:-1]), dtype=np.int64)[::-1]
        places = (self.indices.astype(np.int64) * weights[: len(sizes)]).sum(1)
        return fnp.where(self._is_inside(), places, math.prod(sizes))

    def _is_inside(self) -> Any:
        """Of each element, whether it is no padding."""
        return fnp.all(self.indices.astype(np.int64) < np.array(self.shape[: self.n_sparse], np.int64), axis=1)

    def sort_indices(self) -> BCOO:
        """The same elements in the order of their coordinates."""
        order = fnp.argsort(self._places(), stable=True)
        found = self._with(self.data[order], self.indices[order])
        found.indices_sorted = True
        return found

    def sum_duplicates(self, nse: int | None = None) -> BCOO:
        """One element for each place; ``nse``: how many, which under ``jit`` must be said."""
        places, which = fnp.unique(self._places(), return_inverse=True, size=nse, fill_value=math.prod(self.shape))
        sizes = self.shape[: self.n_sparse]
        data = segment_sum(self.data, which.reshape(-1), places.shape[0])
        inside = places < math.prod(sizes)
        at = fnp.unravel_index(fnp.where(inside, places, 0), sizes) if sizes else ()
        at = tuple(fnp.where(inside, a, n) for a, n in zip(at, sizes))
        indices = fnp.stack(at, axis=-1).astype(self.indices.dtype) if at else self.indices[: places.shape[0]]
        found = self._with(data, indices)
        found.indices_sorted = found.unique_indices = True
        return found

    def sum(self, axis: int | Sequence[int] | None = None) -> Any:
        """The sum over axes, a ``BCOO`` of the others; of all, an array without dimensions."""
        if axis is None:
            return self._inside().sum()
        axes = canonical_axes(axis, self.ndim)
        n = self.n_sparse
        kept = [i for i in range(n) if i not in axes]
        data = self._inside().sum(tuple(a - n + 1 for a in axes if a >= n))
        shape = [s for i, s in enumerate(self.shape) if i not in axes]
        return self._with(data, self.indices[:, np.array(kept, int)], shape, ordered=False)

    def _inside(self) -> Any:
        """The elements, with zeros for padding."""
        inside = self._is_inside().reshape(-1, *(1,) * self.n_dense)
        return fnp.where(inside, self.data, fnp.zeros((), self.dtype))

    # ------------------------------------------------------------------ arithmetic

    def _matrix(self, what: str) -> None:
        if self.ndim != 2 or self.n_dense:
            raise UnsupportedArgumentError(
                f"{what} of {self} with {self.n_dense} dense axes: a sparse matrix is needed"
            )

    def __matmul__(self, other: Any) -> Any:
        """``A @ B`` for an array ``B`` of one dimension or more, whose first axis is summed over."""
        if isinstance(other, JAXSparse):
            raise UnsupportedArgumentError("A @ B of two sparse arrays: make one of them dense, A @ B.todense()")
        self._matrix("A @ B")
        other = fnp.asarray(other)
        if other.ndim == 0 or other.shape[0] != self.shape[1]:
            raise ShapeError(f"A @ B: shapes {self.shape} and {other.shape} do not fit")
        row, column = self._at()
        terms = other.at[column].get(mode="fill", fill_value=0) * self.data.reshape(-1, *(1,) * (other.ndim - 1))
        out = fnp.zeros((self.shape[0], *other.shape[1:]), terms.dtype)
        return out.at[row].add(terms, mode="drop")

    def __rmatmul__(self, other: Any) -> Any:
        self._matrix("B @ A")
        other = fnp.asarray(other)
        return fnp.moveaxis(self.T @ fnp.moveaxis(other, -1, 0), 0, -1)

    def __mul__(self, other: Any) -> BCOO:
        """By a number, or element by element by an array of its shape."""
        if isinstance(other, JAXSparse):
            raise UnsupportedArgumentError("A * B of two sparse arrays: make one of them dense, A * B.todense()")
        if np.ndim(other) == 0:
            return self._with(self.data * other)
        if np.shape(other) != self.shape:
            raise ShapeError(f"A * B: shapes {self.shape} and {np.shape(other)} differ")
        return self._with(self.data * fnp.asarray(other).at[self._at()].get(mode="fill", fill_value=0))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> BCOO:
        """By a number."""
        if isinstance(other, JAXSparse) or np.ndim(other):
            raise UnsupportedArgumentError("A / B: B is no number; A * (1 / B) takes an array of the shape of A")
        return self._with(self.data / other)

    def __neg__(self) -> BCOO:
        return self._with(-self.data)

    def __add__(self, other: Any) -> Any:
        """Of two sparse arrays one that holds the elements of both; of a sparse array and an array, an array."""
        if not isinstance(other, BCOO):
            return self.todense() + other
        if (self.shape, self.n_dense) != (other.shape, other.n_dense):
            raise ShapeError(f"A + B: {self} and {other} are not alike")
        data, indices = ((self.data, other.data), (self.indices, other.indices))
        return self._with(fnp.concatenate(data), fnp.concatenate(indices), ordered=False)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return other + -self


def bcoo_fromdense(mat: Any, *, nse: int | None = None, n_dense: int = 0, index_dtype: Any = np.int32) -> BCOO:
    """``BCOO.fromdense``."""
    return BCOO.fromdense(mat, nse=nse, n_dense=n_dense, index_dtype=index_dtype)


def bcoo_todense(mat: BCOO) -> Any:
    """``mat.todense()``."""
    return mat.todense()


def todense(x: Any) -> Any:
    """The array with its zeros; what is no sparse array as it is."""
    return x.todense() if isinstance(x, JAXSparse) else x


def sparsify(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which may be called with sparse arrays wherever it takes arrays: it gets, and returns, arrays with their zeros.

    >>> import fx.numpy as fnp
    >>> sparsify(lambda A, x: fnp.einsum("ij,j->i", A, x))(eye(2), fnp.ones(2))
    Array([1., 1.], dtype=float32)
    """

    @wraps(f)
    def called(*args: Any, **kwargs: Any) -> Any:
        return f(*tree.map(todense, args, is_leaf=_is_sparse), **tree.map(todense, kwargs, is_leaf=_is_sparse))

    return called


def _is_sparse(x: Any) -> bool:
    return isinstance(x, JAXSparse)


def empty(shape: Sequence[int], dtype: Any = None, index_dtype: Any = np.int32, sparse_format: str = "bcoo") -> BCOO:
    """A sparse array without elements: all are zero."""
    if sparse_format != "bcoo":
        raise UnsupportedArgumentError(f"sparse_format={sparse_format!r}: there is 'bcoo'")
    return BCOO((fnp.zeros(0, dtype), fnp.zeros((0, len(shape)), index_dtype)), shape=shape)


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None, index_dtype: Any = np.int32) -> BCOO:
    """Ones on the diagonal ``k`` of an ``(N, M)`` matrix."""
    M = N if M is None else M
    row = np.arange(max(-k, 0), max(min(N, M - k), max(-k, 0)))
    indices = np.column_stack((row, row + k)).astype(index_dtype)
    return BCOO((fnp.ones(len(row), dtype), indices), shape=(N, M), indices_sorted=True, unique_indices=True)
