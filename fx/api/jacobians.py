"""``jacfwd``, ``jacrev``, ``hessian``: whole matrices of derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..dtypes import is_complex, is_inexact
from ..errors import (
    ArgnumsError,
    GradientDTypeError,
)
from ..primitives.helpers import move_batch, zeros_like
from ..primitives.joining import slice_in_dim
from ..primitives.shaping import reshape
from ..signatures import wraps
from ..trace import (
    aval_of,
)
from ..traceback import user_frames
from ..transforms.flat import (
    check_function,
    check_leaf,
    function_name,
    resolve_argnums,
)
from .linear import linearize, vjp
from .mapping import vmap
from .traced import chosen_names, partial_of

__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]


def _basis(leaves: Sequence[Any]) -> tuple[list[np.ndarray], list[int]]:
    """The standard basis of the space of all leaves together: one array (n, *shape) per leaf."""
    sizes = [aval_of(x).size for x in leaves]
    n = sum(sizes)
    out, start = [], 0
    for x, size in zip(leaves, sizes):
        a = aval_of(x)
        block = np.zeros((n, size), a.dtype)
        block[np.arange(start, start + size), np.arange(size)] = 1
        out.append(block.reshape((n, *a.shape)))
        start += size
    return out, sizes


def _blocks(x: Any, sizes: Sequence[int]) -> list[Any]:
    """Cuts the leading axis into pieces of those sizes."""
    from_, out = 0, []
    for s in sizes:
        out.append(slice_in_dim(x, from_, from_ + s))
        from_ += s
    return out


def _check_jacobian_inputs(
    fun: Any, what: str, chosen: Any, names: Sequence[str], holomorphic: bool, allow_int: bool = False
) -> None:
    for x, name in zip(tree.leaves(chosen), names):
        d = aval_of(check_leaf(x, f"{name} of {function_name(fun)}")).dtype
        if holomorphic and not is_complex(d):
            raise GradientDTypeError(f"{what} with holomorphic=True needs complex inputs; {name} is {d}")
        if not holomorphic and is_complex(d) and what == "jacfwd":
            raise GradientDTypeError(f"{what} with respect to {name} of dtype {d} needs holomorphic=True")
        if not is_inexact(d) and not allow_int:
            raise GradientDTypeError(
                f"{what} with respect to {name!r}, which is {d}: a derivative needs a float input. Convert it"
                f" ({name}.astype(float)), or choose other argnums."
            )


@user_frames
def jacfwd(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian by forward mode, one column at a time (batched): good for few inputs and many outputs.

    Each output leaf of shape s becomes a tree of arrays of shape s + (shape of the input leaf).

    >>> import fx, numpy as np
    >>> fx.jacfwd(lambda t: np.stack([np.cos(t), np.sin(t)]))(0.0)
    Array([-0.,  1.], dtype=float32, weak_type=True)
    """

    check_function(fun, "jacfwd", "Write jacfwd(f)(x).")

    @user_frames
    @wraps(fun)
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        nums = resolve_argnums(argnums, len(args), "argnums", ArgnumsError)
        chosen = tuple(args[i] for i in nums)
        _check_jacobian_inputs(fun, "jacfwd", chosen, chosen_names(fun, args, nums), holomorphic)
        out = linearize(partial_of(fun, args, kwargs, nums), *chosen, has_aux=has_aux)
        value, push = out[0], out[1]
        leaves, d = tree.flatten(chosen)
        basis, sizes = _basis(leaves)

        smooth = [is_inexact(aval_of(y).dtype) for y in tree.leaves(value)]

        def column(*ts: Any) -> Any:
            return [t for t, s in zip(tree.leaves(push(*tree.unflatten(d, ts))), smooth) if s]

        columns = iter(vmap(column)(*basis))
        jac = []
        for y, s in zip(tree.leaves(value), smooth):
            cols = next(columns) if s else zeros_like(aval_of(y).with_(shape=(sum(sizes), *aval_of(y).shape)))
            moved = [move_batch(b, 0, len(aval_of(y).shape)) for b in _blocks(cols, sizes)]
            parts = [reshape(b, (*aval_of(y).shape, *aval_of(x).shape)) for b, x in zip(moved, leaves)]
            per_arg = tree.unflatten(d, parts)
            jac.append(per_arg[0] if isinstance(argnums, (int, np.integer)) else per_arg)
        result = tree.unflatten(tree.structure(value), jac)
        return (result, out[2]) if has_aux else result

    return jacobian_fun


@user_frames
def jacrev(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """The Jacobian by reverse mode, one row at a time (batched): good for many inputs and few outputs.

    >>> import fx, numpy as np
    >>> fx.jacrev(lambda x: x ** 2)(np.array([1.0, 2.0]))
    Array([[2., 0.],
           [0., 4.]], dtype=float64)
    """

    check_function(fun, "jacrev", "Write jacrev(f)(x).")

    @user_frames
    @wraps(fun)
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        nums = resolve_argnums(argnums, len(args), "argnums", ArgnumsError)
        chosen = tuple(args[i] for i in nums)
        _check_jacobian_inputs(fun, "jacrev", chosen, chosen_names(fun, args, nums), holomorphic, allow_int)
        out = vjp(partial_of(fun, args, kwargs, nums), *chosen, has_aux=has_aux)
        value, pull = out[0], out[1]
        outs, d = tree.flatten(value)
        for y in outs:
            if not is_inexact(aval_of(y).dtype):
                raise GradientDTypeError(
                    f"jacrev of {function_name(fun)}, whose output is {aval_of(y)}: a derivative needs a float output"
                )
        basis, sizes = _basis(outs)
        leaves, in_tree = tree.flatten(chosen)
        smooth = [is_inexact(aval_of(x).dtype) for x in leaves]

        def row(*cts: Any) -> Any:
            return [g for g, s in zip(tree.leaves(pull(tree.unflatten(d, cts))), smooth) if s]

        given = iter(vmap(row)(*basis))
        zero = [zeros_like(aval_of(x).with_(shape=(sum(sizes), *aval_of(x).shape))) for x in leaves]
        rows = [next(given) if s else z for z, s in zip(zero, smooth)]
        jac: list[Any] = []
        per_input = [
            [reshape(b, (*aval_of(y).shape, *aval_of(x).shape)) for b, y in zip(_blocks(r, sizes), outs)]
            for r, x in zip(rows, leaves)
        ]
        for j in range(len(outs)):
            per_arg = tree.unflatten(in_tree, [blocks[j] for blocks in per_input])
            jac.append(per_arg[0] if isinstance(argnums, (int, np.integer)) else per_arg)
        result = tree.unflatten(d, jac)
        return (result, out[2]) if has_aux else result

    return jacobian_fun


jacobian = jacrev


@user_frames
def hessian(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The matrix of second derivatives, forward over reverse.

    >>> import fx, numpy as np
    >>> fx.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    Array([[6., 2.],
           [2., 0.]], dtype=float64)
    """
    check_function(fun, "hessian", "Write hessian(f)(x).")
    return jacfwd(jacrev(fun, argnums, has_aux, holomorphic), argnums, has_aux, holomorphic)
