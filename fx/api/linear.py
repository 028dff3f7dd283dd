"""``jvp``, ``linearize``, ``vjp``, ``linear_transpose``: the linear map at a point, and its transpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree
from ..dtypes import is_inexact
from ..errors import (
    DTypeError,
    GradientDTypeError,
    ShapeError,
    TreeError,
)
from ..primitives.elementwise import convert_element_type
from ..primitives.helpers import instantiate, zeros_like
from ..trace import (
    aval_of,
    eval_graph,
    is_python_scalar,
    trace_flat,
)
from ..traceback import user_frames
from ..transforms.flat import (
    FlatFunction,
    check_leaf,
    example_aval,
    float0,
    function_name,
)
from ..transforms.jvp import Linearized, jvp_graph
from ..transforms.transpose import transpose_graph
from .traced import Traced, as_array, names_of, trace_with_values

__all__ = ["jvp", "linear_transpose", "linearize", "vjp"]


def _check_tangents(
    what: str, primals: Sequence[Any], tangents: Any, p_tree: tree.TreeDef, names: Sequence[str]
) -> list[Any]:
    """Tangent (or None for integers) of every primal leaf, after checking structure, shape and dtype."""
    leaves, t_tree = tree.flatten(tangents)
    if t_tree != p_tree:
        raise TreeError(f"{what}: the tangents have the structure {t_tree}, the primals {p_tree}; they must be equal")
    out: list[Any] = []
    for p, t, name in zip(primals, leaves, names):
        a = aval_of(p)
        if getattr(t, "dtype", None) == float0:
            out.append(None)
            continue
        t = check_leaf(t, f"the tangent of {name}")
        b = aval_of(t)
        if a.shape != b.shape:
            raise ShapeError(f"{what}: {name} has shape {a.shape}, its tangent {b.shape}; they must be equal")
        if not is_inexact(a.dtype):
            raise DTypeError(f"{what}: {name} is {a.dtype}; its tangent must be a zero array of dtype fx.float0")
        if a.dtype != b.dtype and not b.weak:
            raise DTypeError(
                f"{what}: {name} is {a.dtype}, its tangent {b.dtype}; they must be equal. Convert with astype."
            )
        out.append(_of_dtype(t, a.dtype))
    return out


def _of_dtype(x: Any, d: np.dtype) -> Any:
    """A Python number or weakly typed value in the dtype of what it belongs to."""
    if is_python_scalar(x):
        return np.asarray(x, d)
    return x if aval_of(x).dtype == d else convert_element_type(x, d)


@user_frames
def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """Forward mode: ``(fun(*primals), J @ tangents)``, with J the Jacobian at ``primals``.

    Args:
        primals, tangents: tuples or lists with one entry for each positional argument, of equal structure.

    Returns:
        ``(primals_out, tangents_out)``, and aux with ``has_aux``.

    >>> import fx, numpy as np
    >>> fx.jvp(np.sin, (0.0,), (2.0,))
    (Array(0., dtype=float32, weak_type=True), Array(2., dtype=float32, weak_type=True))
    """
    for what, x in (("primals", primals), ("tangents", tangents)):
        if not isinstance(x, (tuple, list)):
            raise TreeError(
                f"{what} of jvp must be a tuple or list of arguments; found {type(x).__name__}. Write jvp(f, (x,), (t,))."
            )
    names = names_of(fun, primals)
    ts = _check_tangents("jvp", tree.leaves(tuple(primals)), tuple(tangents), tree.structure(tuple(primals)), names)
    traced = trace_with_values("jvp", fun, tree.flatten_arguments(tuple(primals)), lambda: names, has_aux)
    all_ts = [*ts, *[None] * (len(traced.args) - len(ts))]
    outs, t_outs = jvp_graph(traced.graph, traced.args, all_ts, traced.known, forwards=traced.forwards)
    main = [as_array(o) for o in outs[: traced.n]]
    t_main = [_tangent(t, o) for t, o in zip(t_outs[: traced.n], main)]
    result = tree.unflatten(traced.out_tree, main), tree.unflatten(traced.out_tree, t_main)
    return (*result, traced.aux(outs[traced.n :])) if has_aux else result


def _tangent(t: Any, out: Any) -> Any:
    a = aval_of(out)
    if not is_inexact(a.dtype):
        return np.zeros(a.shape, float0)
    return as_array(instantiate(t, a.strong()), out)


@dataclass(frozen=True)
class _LinearizedAt:
    """A function linearized at a point: what ``linearize`` and ``vjp`` share."""

    traced: Traced
    names: list[str]
    leaves: list[Any]
    structure: tree.TreeDef
    lin: Linearized
    outs: list[Any]

    def with_value(self, linear: Callable[..., Any]) -> tuple[Any, ...]:
        """``(value, linear)``, and aux where the function returns it."""
        value = tree.unflatten(self.traced.out_tree, self.outs)
        aux = self.traced.aux
        return (value, linear) if aux is None else (value, linear, aux(self.lin.outs[self.traced.n :]))


def _linearized(kind: str, fun: Callable[..., Any], primals: Sequence[Any], has_aux: bool) -> _LinearizedAt:
    names = names_of(fun, primals)
    leaves, in_tree = tree.flatten_arguments(tuple(primals))
    traced = trace_with_values(kind, fun, (leaves, in_tree), lambda: names, has_aux)
    structure = in_tree.children[0]
    lin = traced.linearize()
    return _LinearizedAt(traced, names, leaves, structure, lin, [as_array(o) for o in lin.outs[: traced.n]])


@user_frames
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(fun(*primals), jvp_fun)``: the linear map ``tangents -> J @ tangents`` at a fixed point.

    The function is evaluated once; every call of ``jvp_fun`` runs only the linear part.
    """
    at = _linearized("linearize", fun, primals, has_aux)
    lin, wrt = at.lin, at.traced.wrt

    @user_frames
    def jvp_fun(*tangents: Any) -> Any:
        ts = _check_tangents("linearize", at.leaves, tuple(tangents), at.structure, at.names)
        given = [instantiate(t, a) for t, a in zip([t for t, w in zip(ts, wrt) if w], lin.in_avals)]
        t_outs = iter(eval_graph(lin.linear, [*given, *lin.residuals]))
        full = [next(t_outs) if nz else None for nz in lin.nonzero]
        return tree.unflatten(at.traced.out_tree, [_tangent(t, o) for t, o in zip(full, at.outs)])

    return at.with_value(jvp_fun)


@user_frames
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Reverse mode: ``(fun(*primals), vjp_fun)`` with ``vjp_fun(ct) = ct @ J``, a tuple with one entry a primal.

    >>> import fx, numpy as np
    >>> y, pull = fx.vjp(lambda x, y: x * y, np.float64(3.0), np.float64(4.0))
    >>> pull(np.float64(1.0))
    (Array(4., dtype=float64), Array(3., dtype=float64))
    """
    at = _linearized("vjp", fun, primals, has_aux)
    lin, wrt, n_out = at.lin, at.traced.wrt, at.traced.n
    linear = [i < len(lin.in_avals) for i in range(len(lin.linear.inputs))]

    @user_frames
    def vjp_fun(ct: Any) -> tuple[Any, ...]:
        cts = _check_cotangents(ct, at.traced.out_tree, at.outs, function_name(fun))
        nonzero = [c for c, nz in zip([*cts, *[None] * (len(lin.outs) - n_out)], lin.nonzero) if nz]
        grads = iter(transpose_graph(lin.linear, linear, lin.residuals, nonzero))
        flat = [
            as_array(instantiate(next(grads), aval_of(x).strong()), x) if w else np.zeros(aval_of(x).shape, float0)
            for x, w in zip(at.leaves, wrt)
        ]
        return tree.unflatten(at.structure, flat)

    return at.with_value(vjp_fun)


def _check_cotangents(ct: Any, out_tree: tree.TreeDef, outs: Sequence[Any], name: str) -> list[Any]:
    leaves, ct_tree = tree.flatten(ct)
    if ct_tree != out_tree:
        raise TreeError(
            f"the cotangent given to the vjp of {name} has the structure {ct_tree}; the output has {out_tree}"
        )
    cts: list[Any] = []
    for c, o in zip(leaves, outs):
        a = aval_of(o)
        if not is_inexact(a.dtype):
            cts.append(None)
            continue
        c = check_leaf(c, f"the cotangent given to the vjp of {name}")
        b = aval_of(c)
        if b.shape != a.shape:
            raise ShapeError(f"the cotangent given to the vjp of {name} has shape {b.shape}; the output has {a.shape}")
        if b.dtype != a.dtype and not b.weak:
            raise DTypeError(f"the cotangent given to the vjp of {name} is {b.dtype}; the output is {a.dtype}")
        cts.append(_of_dtype(c, a.dtype))
    return cts


@user_frames
def linear_transpose(fun: Callable[..., Any], *primals: Any, reduce_axes: Any = ()) -> Callable[..., Any]:
    """The transpose of a function that is linear in its arguments: ``ct -> tuple of cotangents``.

    Args:
        primals: example arguments (arrays, or ``ShapeDtypeStruct``); their values do not matter.
    """
    leaves, in_tree = tree.flatten((primals, {}))
    flat = FlatFunction(fun, in_tree)
    names = names_of(fun, primals)
    avals = [example_aval(x, n).strong() for x, n in zip(leaves, names)]
    for a, name in zip(avals, names):
        if not is_inexact(a.dtype):
            raise GradientDTypeError(f"linear_transpose needs float or complex arguments; {name} is {a.dtype}")
    graph, captures = trace_flat(flat, avals, kind="linear_transpose", name=flat.name, absorb=False)
    linear = [i < len(leaves) for i in range(len(graph.inputs))]

    @user_frames
    def transposed(ct: Any) -> Any:
        assert flat.out_tree is not None
        outs = [zeros_like(a) for a in graph.out_avals]
        cts = _check_cotangents(ct, flat.out_tree, outs, flat.name)
        grads = transpose_graph(graph, linear, captures, cts)
        return tree.unflatten(in_tree.children[0], [as_array(instantiate(g, a)) for g, a in zip(grads, avals)])

    return transposed
