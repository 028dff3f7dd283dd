"""``fx.test_util``: derivatives held against finite differences.

Derivatives are checked along one random direction each, so a check costs a few calls of the function whatever the
number of its inputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import dtypes, tree
from .api import jvp, linearize, vjp
from .numpy.core import aval_of

__all__ = ["check_grads", "check_jvp", "check_vjp"]

Function = Callable[..., Any]
Tolerance = float | Mapping[Any, float] | None

STEP = 1e-4
TOLERANCES = {
    dtypes.float16: 1e-2, dtypes.float32: 2e-3, dtypes.float64: 1e-5, dtypes.complex64: 1e-3, dtypes.complex128: 1e-5,
    **({dtypes.bfloat16: 1e-1} if dtypes.bfloat16 is not None else {}),
}  # fmt: skip


def _smooth(x: Any) -> bool:
    return dtypes.is_inexact(aval_of(x).dtype)


def _direction(rng: np.random.RandomState, x: Any) -> Any:
    """A random tangent of ``x``: float0 for an integer."""
    a = aval_of(x)
    if not dtypes.is_inexact(a.dtype):
        return np.zeros(a.shape, dtypes.float0)
    parts = [rng.standard_normal(a.shape) for _ in range(1 + dtypes.is_complex(a.dtype))]
    return np.asarray(parts[0] + 1j * parts[1] if len(parts) == 2 else parts[0]).astype(a.dtype)


def _moved(x: Any, t: Any, step: float) -> Any:
    if not _smooth(x):
        return x
    d = aval_of(x).dtype
    wide = np.promote_types(d, np.float32) if d.kind != "V" else np.dtype(np.float32)
    return (np.asarray(x).astype(wide) + step * t.astype(wide)).astype(d)


def _differences(f: Function, args: Sequence[Any], tangents: Any, step: float) -> Any:
    """The derivative of ``f`` along ``tangents`` by central differences."""
    ahead, behind = (f(*tree.map(lambda x, t, s=s: _moved(x, t, s), tuple(args), tangents)) for s in (step, -step))

    def slope(a: Any, b: Any) -> Any:
        if not _smooth(a):
            return np.zeros(np.shape(a), dtypes.float0)
        a, b = _wide(a), _wide(b)
        return np.where(a == b, 0, a - b) / (2 * step)  # inf - inf is 0

    with np.errstate(invalid="ignore"):
        return tree.map(slope, ahead, behind)


def _wide(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _tolerance(given: Tolerance, d: np.dtype) -> float:
    if isinstance(given, Mapping):
        given = {dtypes.canonical(k): v for k, v in given.items()}.get(d)
    return TOLERANCES.get(d, 0.0) if given is None else float(given)


def _assert_close(found: Any, wanted: Any, types: Any, atol: Tolerance, rtol: Tolerance, message: str) -> None:
    def check(x: Any, y: Any, like: Any) -> None:
        d = aval_of(like).dtype
        x = np.asarray(x)
        if x.dtype == dtypes.float0:
            return
        x, y = _wide(x), _wide(y)
        assert x.shape == y.shape, f"{message}: shape {x.shape} found, {y.shape} expected"
        np.testing.assert_allclose(
            x, y, atol=_tolerance(atol, d) * max(x.size, 1), rtol=_tolerance(rtol, d) * max(x.size, 1), err_msg=message
        )

    tree.map(check, found, wanted, types)


def _assert_same_types(x: Any, y: Any, message: str) -> None:
    def check(a: Any, b: Any) -> None:
        if np.asarray(b).dtype != dtypes.float0:
            assert aval_of(a).dtype == aval_of(b).dtype, f"{message}: {aval_of(b)} belongs to {aval_of(a)}"

    tree.map(check, x, y)


def check_jvp(
    f: Function, f_jvp: Function, args: Sequence[Any], atol: Tolerance = None, rtol: Tolerance = None, eps: float = STEP,
    err_msg: str = "",
) -> None:  # fmt: skip
    """Holds a forward derivative against finite differences.

    Args:
        f: any function of arrays.
        f_jvp: ``(primals, tangents) -> (f(*primals), tangent)``, such as ``functools.partial(fx.jvp, f)``.
        args: where, a tuple.
        atol, rtol: tolerances, for each element of the output; a number, or one for each dtype; None means those of
            ``TOLERANCES``.
        eps: half the step.

    Raises:
        AssertionError: they differ.

    >>> import fx, functools
    >>> check_jvp(fx.numpy.sin, functools.partial(fx.jvp, fx.numpy.sin), (1.0,))
    """
    rng, prefix = np.random.RandomState(0), f"{err_msg} " if err_msg else ""
    tangents = tree.map(functools.partial(_direction, rng), tuple(args))
    value, slope = f_jvp(tuple(args), tangents)
    wanted = f(*args)
    _assert_same_types(value, slope, f"{prefix}tangent")
    _assert_same_types(wanted, value, f"{prefix}primal")
    _assert_close(value, wanted, value, atol, rtol, f"{prefix}primal")
    _assert_close(slope, _differences(f, args, tangents, eps), value, atol, rtol, f"{prefix}tangent")


def _inner(xs: Any, ys: Any) -> float:
    """The real part of <xs, ys>, over what has a derivative."""
    pairs = [
        (_wide(x), _wide(y)) for x, y in zip(tree.leaves(xs), tree.leaves(ys)) if np.asarray(x).dtype != dtypes.float0
    ]
    return float(sum(np.vdot(x, y).real for x, y in pairs))


def check_vjp(
    f: Function, f_vjp: Function, args: Sequence[Any], atol: Tolerance = None, rtol: Tolerance = None, eps: float = STEP,
    err_msg: str = "",
) -> None:  # fmt: skip
    """Holds a reverse derivative against finite differences: <J t, w> = <t, J^T w> for random t and w.

    Args:
        f_vjp: ``(*args) -> (f(*args), pullback)``, such as ``functools.partial(fx.vjp, f)``.
        f, args, atol, rtol, eps: as for ``check_jvp``.

    Raises:
        AssertionError: they differ.
    """
    rng, prefix = np.random.RandomState(0), f"{err_msg} " if err_msg else ""
    value, pullback = f_vjp(*args)
    _assert_close(value, f(*args), value, atol, rtol, f"{prefix}primal")
    tangents = tree.map(functools.partial(_direction, rng), tuple(args))
    cotangents = tree.map(functools.partial(_direction, rng), value)
    slope = _differences(f, args, tangents, eps)
    pulled = tree.map(_conjugate, pullback(tree.map(_conjugate, cotangents)))
    leaves = [x for x in tree.leaves((tuple(args), value)) if _smooth(x)]
    least = max(leaves, key=lambda x: _tolerance(None, aval_of(x).dtype), default=np.float32(0))
    like = np.zeros((), dtypes.real_dtype(aval_of(least).dtype))
    _assert_close(
        _inner(tangents, pulled), _inner(slope, cotangents), like, atol, rtol, f"{prefix}cotangent projection"
    )


def _conjugate(x: Any) -> Any:
    return x if np.asarray(x).dtype == dtypes.float0 else np.conj(np.asarray(x))


def _jvp_from_linearize(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    value, push = linearize(f, *primals)
    return value, push(*tangents)


def check_grads(
    f: Function, args: Sequence[Any], order: int, modes: Sequence[str] = ("fwd", "rev"), atol: Tolerance = None,
    rtol: Tolerance = None, eps: float | None = None,
) -> None:  # fmt: skip
    """Holds derivatives up to an order, in every mix of the modes, against finite differences.

    Args:
        order: of the highest derivative, at least 1.
        modes: of "fwd" (jvp), "rev" (vjp) and "lin" (linearize).
        f, args, atol, rtol, eps: as for ``check_jvp``.

    Raises:
        AssertionError: they differ.

    >>> import fx
    >>> check_grads(fx.numpy.tanh, (0.5,), order=2)
    """
    step = STEP if eps is None else eps
    leaves, treedef = tree.flatten(tuple(args))
    smooth = [i for i, x in enumerate(leaves) if _smooth(x)]

    def of_smooth(*xs: Any) -> Any:
        at = dict(zip(smooth, xs))
        return f(*tree.unflatten(treedef, [at.get(i, x) for i, x in enumerate(leaves)]))

    options = {"atol": atol, "rtol": rtol, "eps": step}
    _check_order(of_smooth, tuple([leaves[i] for i in smooth]), order, tuple(modes), options, "")


def _check_order(f: Function, args: Any, order: int, modes: tuple[str, ...], options: dict[str, Any], of: str) -> None:
    forward: dict[str, tuple[str, Callable[..., Any]]] = {"fwd": ("JVP", jvp), "lin": ("LIN", _jvp_from_linearize)}
    for mode in modes:
        if mode == "rev":
            message = f"VJP{of}"
            check_vjp(f, functools.partial(vjp, f), args, err_msg=message, **options)

            def derivative(*xs: Any) -> Any:
                value, pullback = vjp(f, *xs)
                return pullback(value)

            point = args
        elif mode in forward:
            name, rule = forward[mode]
            message = f"{name}{of}"
            check_jvp(f, functools.partial(rule, f), args, err_msg=message, **options)
            derivative, point = functools.partial(rule, f), (args, args)
        else:
            raise ValueError(f"check_grads has the modes 'fwd', 'rev' and 'lin'; found {mode!r}")
        if order > 1:
            _check_order(derivative, point, order - 1, modes, options, f" of {message}")
