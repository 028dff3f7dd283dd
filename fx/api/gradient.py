"""``grad`` and ``value_and_grad``: the derivative of a scalar."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..dtypes import is_complex, is_float, is_inexact
from ..errors import ArgnumsError, GradientDTypeError, NonScalarOutputError
from ..primitives.helpers import instantiate
from ..trace import (
    aval_of,
    is_weak,
)
from ..traceback import shorten, user_frames
from ..transforms.flat import (
    check_function,
    check_leaf,
    float0,
    function_name,
    resolve_argnums,
)
from .traced import Traced, as_array, call_with, chosen_names, trace_with_values

__all__ = ["grad", "value_and_grad"]


@user_frames
def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns ``(fun(*args), gradient)``.

    The gradient of f: R^n -> R at x is the vector of partial derivatives, in the structure of the argument; it is
    computed by reverse mode at a small multiple of the cost of f.

    Args:
        fun: returns one real scalar (or a pair ``(scalar, aux)`` with ``has_aux``).
        argnums: which positional argument(s) to differentiate: an int, or a tuple, which gives a tuple of gradients.
        has_aux: ``fun`` returns auxiliary data too; the result is ``((value, aux), gradient)``.
        holomorphic: inputs and output are complex and ``fun`` is holomorphic.
        allow_int: integer inputs get a gradient of dtype ``float0`` instead of an error.

    Raises:
        NonScalarOutputError, GradientDTypeError, StaticArgumentError: as their names say, naming the argument.

    >>> import fx, numpy as np
    >>> fx.value_and_grad(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]))
    (Array(9., dtype=float64), Array([ 3., 12.], dtype=float64))
    """
    check_function(fun, "value_and_grad", "Write value_and_grad(f)(x), not value_and_grad(f(x)).")

    @functools.wraps(fun)
    def value_and_grad_fun(*args: Any, **kwargs: Any) -> Any:
        try:
            return _value_and_grad(fun, argnums, has_aux, holomorphic, allow_int, args, kwargs)
        except BaseException as e:
            shorten(e)
            raise

    return value_and_grad_fun


@user_frames
def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns the gradient of ``fun``; arguments as for ``value_and_grad``.

    With ``has_aux`` it returns ``(gradient, aux)``.

    >>> import fx, numpy as np
    >>> fx.grad(np.tanh)(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    check_function(fun, "grad", "Write grad(f)(x), not grad(f(x)).")

    @functools.wraps(fun)
    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        try:
            value, gradient = _value_and_grad(fun, argnums, has_aux, holomorphic, allow_int, args, kwargs)
        except BaseException as e:
            shorten(e)
            raise
        return (gradient, value[1]) if has_aux else gradient

    return grad_fun


def _value_and_grad(
    fun: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool, holomorphic: bool, allow_int: bool,
    args: tuple[Any, ...], kwargs: dict[str, Any],
) -> tuple[Any, Any]:  # fmt: skip
    nums = resolve_argnums(argnums, len(args), "argnums", ArgnumsError)
    leaves, in_tree = tree.flatten_arguments(tuple([args[i] for i in nums]))

    def names() -> list[str]:
        return chosen_names(fun, args, nums)

    _check_inputs(fun, leaves, names, holomorphic, allow_int)
    call = functools.partial(call_with, fun, args, kwargs, nums)
    traced = trace_with_values("grad", call, (leaves, in_tree), names, has_aux, function_name(fun))
    _check_scalar(fun, traced, holomorphic, has_aux)
    outs, grads, avals = traced.gradient()
    found = iter(zip(grads, avals))
    flat = [
        as_array(instantiate(*next(found)), is_weak(x)) if d else np.zeros(aval_of(x).shape, float0)
        for x, d in zip(leaves, traced.differentiable)
    ]
    gradient = tree.unflatten(in_tree.subtrees[0], flat)
    gradient = gradient[0] if isinstance(argnums, (int, np.integer)) else gradient
    value = tree.unflatten(traced.out_tree, [as_array(outs[0])])
    return ((value, traced.aux(outs[traced.n :])), gradient) if has_aux else (value, gradient)


def _check_inputs(
    fun: Any, leaves: Sequence[Any], names: Callable[[], Sequence[str]], holomorphic: bool, allow_int: bool
) -> None:
    for i, x in enumerate(leaves):
        if (type(x) is Array or type(x) is np.ndarray) and x.dtype.kind == "f" and not holomorphic:
            continue  # the common case
        name = names()[i]
        d = aval_of(check_leaf(x, f"{name} of {function_name(fun)}")).dtype
        if holomorphic:
            if not is_complex(d):
                raise GradientDTypeError(f"grad with holomorphic=True needs complex inputs; {name} is {d}")
        elif is_complex(d):
            continue  # a real function of complex inputs: the gradient is the conjugate of the usual one, as in JAX
        elif not is_inexact(d) and not allow_int:
            raise GradientDTypeError(
                f"grad with respect to {name!r} of {function_name(fun)}, which is {aval_of(x)}: a derivative needs a float input."
                f" Convert it ({name}.astype(float)), choose other argnums, or pass allow_int=True for a gradient of dtype float0."
            )


def _check_scalar(fun: Any, traced: Traced, holomorphic: bool, has_aux: bool) -> None:
    if traced.n != 1 or (traced.out_tree is not tree.LEAF and traced.out_tree != tree.LEAF):
        hint = " Pass has_aux=True if it returns (loss, aux)." if traced.out_tree.kind is tuple and not has_aux else ""
        raise NonScalarOutputError(
            f"grad needs a function with one scalar output; {function_name(fun)} returned {traced.out_tree} with {traced.n} leaves.{hint}"
        )
    a = traced.outputs[0].aval
    if a.shape != ():
        raise NonScalarOutputError(
            f"grad needs a scalar output; {function_name(fun)} returned an array of shape {a.shape}. Reduce it (np.sum, np.mean),"
            " or use fx.jacrev / fx.vjp for the whole Jacobian."
        )
    if holomorphic:
        if not is_complex(a.dtype):
            raise GradientDTypeError(
                f"grad with holomorphic=True needs a complex output; {function_name(fun)} returned {a.dtype}"
            )
    elif not is_float(a.dtype):
        raise GradientDTypeError(
            f"grad needs a real floating-point output; {function_name(fun)} returned {a.dtype}."
            + (
                " For a holomorphic function pass holomorphic=True; else return its real part or abs."
                if is_complex(a.dtype)
                else ""
            )
        )
