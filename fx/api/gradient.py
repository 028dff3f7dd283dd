"""``grad`` and ``value_and_grad``: the derivative of a scalar."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import tree
from ..array import Array
from ..dtypes import is_complex, is_float, is_inexact
from ..errors import ArgnumsError, GradientDTypeError, NonScalarOutputError, RefError
from ..ir import Var
from ..mutable import Carried, carrying, refuse_refs
from ..primitives.helpers import instantiate
from ..signatures import wraps
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

P = ParamSpec("P")
R = TypeVar("R")


@user_frames
def value_and_grad(
    fun: Callable[P, R],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[P, tuple[R, Any]]:
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
    name = function_name(fun)

    @wraps(fun)
    def value_and_grad_fun(*args: Any, **kwargs: Any) -> Any:
        try:
            return _value_and_grad(fun, name, argnums, has_aux, holomorphic, allow_int, args, kwargs)
        except RefError as e:
            return _with_refs(e, fun, name, argnums, has_aux, holomorphic, allow_int, args, kwargs)
        except BaseException as e:
            shorten(e)
            raise

    return value_and_grad_fun


@user_frames
def grad(
    fun: Callable[P, R],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[P, Any]:
    """A function that returns the gradient of ``fun``; arguments as for ``value_and_grad``.

    With ``has_aux`` it returns ``(gradient, aux)``.

    >>> import fx, numpy as np
    >>> fx.grad(np.tanh)(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    check_function(fun, "grad", "Write grad(f)(x), not grad(f(x)).")
    name = function_name(fun)

    @wraps(fun)
    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        try:
            value, gradient = _value_and_grad(fun, name, argnums, has_aux, holomorphic, allow_int, args, kwargs)
        except RefError as e:
            value, gradient = _with_refs(e, fun, name, argnums, has_aux, holomorphic, allow_int, args, kwargs)
        except BaseException as e:
            shorten(e)
            raise
        return (gradient, value[1]) if has_aux else gradient

    return grad_fun


def _value_and_grad(
    fun: Callable[..., Any], name: str, argnums: int | Sequence[int], has_aux: bool, holomorphic: bool, allow_int: bool,
    args: tuple[Any, ...], kwargs: dict[str, Any],
) -> tuple[Any, Any]:  # fmt: skip
    if type(argnums) is int and 0 <= argnums < len(args):  # the common case
        nums: tuple[int, ...] = (argnums,)
    else:
        nums = resolve_argnums(argnums, len(args), "argnums", ArgnumsError)
    alone = len(args) == len(nums) == 1 and not kwargs  # no argument but the one that is chosen
    leaves, in_tree = tree.flatten_arguments(args if alone else tuple([args[i] for i in nums]))

    def names() -> list[str]:
        return chosen_names(fun, args, nums)

    _check_inputs(name, leaves, names, holomorphic, allow_int)
    call = fun if alone else functools.partial(call_with, fun, args, kwargs, nums)
    traced = trace_with_values("grad", call, (leaves, in_tree), names, has_aux, name)
    _check_scalar(name, traced, holomorphic, has_aux)
    outs, grads, wrt = traced.gradient()
    found = iter(zip(grads, wrt))
    flat: list[Any] = []
    for x, d in zip(leaves, traced.differentiable):
        cotangent, variable = next(found) if d else (np.zeros(aval_of(x).shape, float0), None)
        if type(cotangent) is not Array or (type(x) is not np.ndarray and is_weak(x)):
            cotangent = _of_type(x, cotangent, variable)
        flat.append(cotangent)
    gradient = flat if in_tree is tree.ONE_ARGUMENT else tree.unflatten(in_tree.subtrees[0], flat)
    gradient = gradient[0] if type(argnums) is int or isinstance(argnums, np.integer) else tuple(gradient)
    value = as_array(outs[0])
    return ((value, traced.aux(outs[traced.n :])), gradient) if has_aux else (value, gradient)


def _with_refs(
    refused: RefError, fun: Callable[..., Any], name: str, argnums: int | Sequence[int], has_aux: bool, holomorphic: bool,
    allow_int: bool, args: tuple[Any, ...], kwargs: dict[str, Any],
) -> tuple[Any, Any]:  # fmt: skip
    """``_value_and_grad`` of a function that uses refs: what they hold at the end is aux."""
    refuse_refs("a derivative", [args[i] for i in resolve_argnums(argnums, len(args), "argnums", ArgnumsError)])

    def run(refs: Carried, given: Any) -> tuple[Any, Any]:
        f = refs.with_aux(fun, has_aux)
        (value, aux), gradient = _value_and_grad(f, name, argnums, True, holomorphic, allow_int, *given)
        aux = refs.without_values(aux)
        return ((value, aux) if has_aux else value), gradient

    return carrying(refused, run, (args, kwargs))


def _of_type(x: Any, cotangent: Any, variable: Var | None) -> Any:
    """A cotangent (None: zero) as the gradient with respect to ``x``: weak as that is."""
    if variable is None:
        return cotangent
    return as_array(instantiate(cotangent, variable.aval.strong()), is_weak(x))


def _check_inputs(
    of: str, leaves: Sequence[Any], names: Callable[[], Sequence[str]], holomorphic: bool, allow_int: bool
) -> None:
    called: Sequence[str] = ()  # the names cost more than all else here: made once, and where they are needed
    for i, x in enumerate(leaves):
        data = x._buffer if type(x) is Array else x
        if type(data) is np.ndarray and data.dtype.kind == "f" and not holomorphic:
            continue  # the common case
        called = called or names()
        name = called[i]
        d = aval_of(check_leaf(x, f"{name} of {of}")).dtype
        if holomorphic:
            if not is_complex(d):
                raise GradientDTypeError(f"grad with holomorphic=True needs complex inputs; {name} is {d}")
        elif is_complex(d):
            continue  # a real function of complex inputs: the gradient is the conjugate of the usual one, as in JAX
        elif not is_inexact(d) and not allow_int:
            raise GradientDTypeError(
                f"grad with respect to {name!r} of {of}, which is {aval_of(x)}: a derivative needs a float input."
                f" Convert it ({name}.astype(float)), choose other argnums, or pass allow_int=True for a gradient of dtype float0."
            )


def _check_scalar(name: str, traced: Traced, holomorphic: bool, has_aux: bool) -> None:
    if traced.out_tree is tree.LEAF and not holomorphic:  # the common case
        a = traced.outputs[0].aval
        if a.shape == () and a.dtype.kind == "f":
            return
    if traced.n != 1 or (traced.out_tree is not tree.LEAF and traced.out_tree != tree.LEAF):
        hint = " Pass has_aux=True if it returns (loss, aux)." if traced.out_tree.kind is tuple and not has_aux else ""
        hint = " Does it lack a return statement?" if traced.out_tree.kind is type(None) else hint
        raise NonScalarOutputError(
            f"grad needs a function with one scalar output; {name} returned {traced.out_tree} with {traced.n} leaves.{hint}"
        )
    a = traced.outputs[0].aval
    if a.shape != ():
        raise NonScalarOutputError(
            f"grad needs a scalar output; {name} returned an array of shape {a.shape}. Reduce it (np.sum, np.mean),"
            " or use fx.jacrev / fx.vjp for the whole Jacobian."
        )
    if holomorphic:
        if not is_complex(a.dtype):
            raise GradientDTypeError(f"grad with holomorphic=True needs a complex output; {name} returned {a.dtype}")
    elif not is_float(a.dtype):
        raise GradientDTypeError(
            f"grad needs a real floating-point output; {name} returned {a.dtype}."
            + (
                " For a holomorphic function pass holomorphic=True; else return its real part or abs."
                if is_complex(a.dtype)
                else ""
            )
        )
