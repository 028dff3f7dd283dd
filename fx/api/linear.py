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
    GradientError,
    RefError,
    ShapeError,
    TreeError,
)
from ..interning import interned
from ..ir import Aval, Graph
from ..mutable import Carried, carrying, refuse_refs
from ..primitives.elementwise import convert_element_type
from ..primitives.helpers import instantiate
from ..staging import jit
from ..trace import (
    aval_of,
    eval_graph,
    is_python_scalar,
    trace_flat,
)
from ..traceback import user_frames
from ..transforms.flat import (
    FlatFunction,
    check_function,
    check_leaf,
    example_aval,
    float0,
    function_name,
    resolve_argnums,
)
from ..transforms.jvp import jvp_graph
from ..transforms.transpose import transpose_graph
from .traced import as_array, chosen_names, names_of, partial_of, trace_with_values

__all__ = ["fwd_and_bwd", "jvp", "linear_transpose", "linearize", "vjp"]


def _check_tangents(
    what: str, avals: Sequence[Aval], tangents: Any, p_tree: tree.TreeDef, names: Sequence[str]
) -> list[Any]:
    """Tangent (or None for integers) of every primal leaf, after checking structure, shape and dtype."""
    leaves, t_tree = tree.flatten(tangents)
    if t_tree != p_tree:
        raise TreeError(f"{what}: the tangents have the structure {t_tree}, the primals {p_tree}; they must be equal")
    out: list[Any] = []
    for a, t, name in zip(avals, leaves, names):
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
    check_function(fun, "jvp", "Write jvp(f, (x,), (t,)).")
    for what, x in (("primals", primals), ("tangents", tangents)):
        if not isinstance(x, (tuple, list)):
            raise TreeError(
                f"{what} of jvp must be a tuple or list of arguments; found {type(x).__name__}. Write jvp(f, (x,), (t,))."
            )
    try:
        return _jvp(fun, tuple(primals), tuple(tangents), has_aux)
    except RefError as e:
        refuse_refs("a derivative", primals)

        def run(refs: Carried, _: Any) -> Any:
            *result, aux = _jvp(refs.with_aux(fun, has_aux), tuple(primals), tuple(tangents), True)
            aux = refs.without_values(aux)
            return (*result, aux) if has_aux else tuple(result)

        return carrying(e, run)


def _jvp(fun: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...], has_aux: bool) -> Any:
    names = names_of(fun, primals)
    leaves, in_tree = tree.flatten_arguments(primals)
    ts = _check_tangents("jvp", [aval_of(x) for x in leaves], tangents, in_tree.subtrees[0], names)
    traced = trace_with_values("jvp", fun, (leaves, in_tree), lambda: names, has_aux)
    all_ts = [*ts, *[None] * (len(traced.args) - len(ts))]
    outs, t_outs = jvp_graph(traced.graph, traced.args, all_ts, traced.known, forwards=traced.forwards)
    main = [as_array(o) for o in outs[: traced.n]]
    t_main = [_tangent(t, aval_of(o)) for t, o in zip(t_outs[: traced.n], main)]
    result = tree.unflatten(traced.out_tree, main), tree.unflatten(traced.out_tree, t_main)
    return (*result, traced.aux(outs[traced.n :])) if has_aux else result


def _tangent(t: Any, a: Aval) -> Any:
    """The tangent of a value of type ``a``."""
    if not is_inexact(a.dtype):
        return np.zeros(a.shape, float0)
    return as_array(instantiate(t, a.strong()), weak=a.weak)


@dataclass(frozen=True, eq=False, repr=False)
class _LinearMap:
    """The linear map of a function at a point, without its numbers, which are the residuals.

    Equal maps compute by the same equations: a map that goes into a jitted function is traced once.
    """

    name: str
    names: tuple[str, ...]
    structure: tree.TreeDef
    avals: tuple[Aval, ...]
    wrt: tuple[bool, ...]
    linear: Graph
    nonzero: tuple[bool, ...]
    out_tree: tree.TreeDef
    out_avals: tuple[Aval, ...]

    def _key(self) -> tuple[Any, ...]:
        known = self.names, self.structure, self.avals, self.wrt, self.nonzero, self.out_tree, self.out_avals
        return type(self), self.name, interned(self.linear), *known

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _LinearMap) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, avals)) for avals in (self.avals, self.out_avals))
        return f"<{type(self).__name__.strip('_').lower()} of {self.name}: ({inputs}) -> ({outputs})>"

    def _full(self, values: Sequence[Any], n: int) -> list[Any]:
        """One entry for each of n, of which ``values`` are those that are not zero."""
        given = iter(values)
        return [next(given) if nz else None for nz in self.nonzero[:n]]


class _Pushforward(_LinearMap):
    """``tangents -> J @ tangents``"""

    @user_frames
    def __call__(self, residuals: Sequence[Any], *tangents: Any) -> Any:
        ts = _check_tangents("linearize", self.avals, tuple(tangents), self.structure, self.names)
        given = [instantiate(t, a.strong()) for t, a, w in zip(ts, self.avals, self.wrt) if w]
        outs = self._full(eval_graph(self.linear, [*given, *residuals]), len(self.out_avals))
        return tree.unflatten(self.out_tree, [_tangent(t, a) for t, a in zip(outs, self.out_avals)])


class _Pullback(_LinearMap):
    """``ct -> ct @ J``, a tuple with one entry for each argument."""

    @user_frames
    def __call__(self, residuals: Sequence[Any], *cotangents: Any) -> tuple[Any, ...]:
        if len(cotangents) != 1:
            raise TreeError(
                f"the vjp of {self.name} takes one cotangent, in the structure of the output ({self.out_tree}); it was called"
                f" with {len(cotangents)} arguments"
            )
        (ct,) = cotangents
        cts = _check_cotangents(ct, self.out_tree, self.out_avals, self.name)
        nonzero = [c for c, nz in zip([*cts, *[None] * (len(self.nonzero) - len(cts))], self.nonzero) if nz]
        linear = [True] * sum(self.wrt) + [False] * len(residuals)
        grads = iter(transpose_graph(self.linear, linear, residuals, nonzero))
        flat = [_tangent(next(grads) if w else None, a) for a, w in zip(self.avals, self.wrt)]
        return tree.unflatten(self.structure, flat)


def _linearized(
    kind: type[_LinearMap], fun: Callable[..., Any], primals: Sequence[Any], names: Sequence[str], has_aux: bool
) -> tuple[Any, ...]:
    """``(value, linear map)``, and aux where the function returns it; the map is a pytree of its residuals."""
    what = "linearize" if kind is _Pushforward else "vjp"
    check_function(fun, what, f"Write {what}(f, x).")
    try:
        return _linear_map(kind, what, fun, primals, names, has_aux)
    except RefError as e:
        refuse_refs("a derivative", primals)

        def run(refs: Carried, _: Any) -> tuple[Any, ...]:
            *result, aux = _linear_map(kind, what, refs.with_aux(fun, has_aux), primals, names, True)
            aux = refs.without_values(aux)
            return (*result, aux) if has_aux else tuple(result)

        return carrying(e, run)


def _linear_map(
    kind: type[_LinearMap], what: str, fun: Callable[..., Any], primals: Sequence[Any], names: Sequence[str], has_aux: bool
) -> tuple[Any, ...]:  # fmt: skip
    leaves, in_tree = tree.flatten_arguments(tuple(primals))
    traced = trace_with_values(what, fun, (leaves, in_tree), lambda: names, has_aux)
    structure = in_tree.subtrees[0]
    lin = traced.linearize()
    outs = [as_array(o) for o in lin.outs[: traced.n]]
    linear: Any = kind(
        function_name(fun), tuple(names), structure, tuple([aval_of(x) for x in leaves]), tuple(traced.wrt[: len(leaves)]),
        lin.linear, tuple(lin.nonzero), traced.out_tree, tuple([aval_of(o) for o in outs]),
    )  # fmt: skip
    value, at_point = tree.unflatten(traced.out_tree, outs), tree.Partial(linear, list(lin.residuals))
    return (value, at_point) if traced.aux is None else (value, at_point, traced.aux(lin.outs[traced.n :]))


@user_frames
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(fun(*primals), jvp_fun)``: the linear map ``tangents -> J @ tangents`` at a fixed point.

    The function is evaluated once; every call of ``jvp_fun`` runs only the linear part.  ``jvp_fun`` is a pytree of what
    that part needs: a jitted function may take and return it.

    >>> import fx, numpy as np
    >>> y, tangent = fx.linearize(np.sin, 0.0)
    >>> y, tangent(1.0), tangent(2.0)
    (Array(0., dtype=float32, weak_type=True), Array(1., dtype=float32, weak_type=True), Array(2., dtype=float32, weak_type=True))
    """
    return _linearized(_Pushforward, fun, primals, names_of(fun, primals), has_aux)


@user_frames
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Reverse mode: ``(fun(*primals), vjp_fun)`` with ``vjp_fun(ct) = ct @ J``, a tuple with one entry a primal.

    ``vjp_fun`` is a pytree of the values that it kept: a jitted function may take and return it.

    >>> import fx, numpy as np
    >>> y, pull = fx.vjp(lambda x, y: x * y, np.float64(3.0), np.float64(4.0))
    >>> pull(np.float64(1.0))
    (Array(4., dtype=float64), Array(3., dtype=float64))
    """
    return _linearized(_Pullback, fun, primals, names_of(fun, primals), has_aux)


def fwd_and_bwd(
    fun: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool = False, jitted: bool = True
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two passes of reverse mode as two functions, each compiled once.

    Returns:
        ``fwd(*args)``, which gives what ``vjp`` gives: the value and a map (and aux with ``has_aux``); and
        ``bwd(map, ct)``, the cotangents of the arguments at ``argnums``: one, or a tuple where ``argnums`` is a sequence.

    >>> import fx, numpy as np
    >>> fwd, bwd = fwd_and_bwd(lambda x, w: x @ w, argnums=(0, 1))
    >>> y, saved = fwd(np.ones((2, 3)), np.ones((3, 2)))
    >>> [g.shape for g in bwd(saved, y)]
    [(2, 3), (3, 2)]
    """
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def fwd(*args: Any) -> Any:
        where = resolve_argnums(chosen, len(args), "argnums", GradientError)
        part, names = partial_of(fun, args, {}, where), chosen_names(fun, args, where)
        return _linearized(_Pullback, part, [args[i] for i in where], names, has_aux)

    def bwd(vjp_fun: Callable[..., Any], ct: Any) -> Any:
        found = vjp_fun(ct)
        return found[0] if isinstance(argnums, int) else found

    return (jit(fwd), jit(bwd)) if jitted else (fwd, bwd)


def _check_cotangents(ct: Any, out_tree: tree.TreeDef, avals: Sequence[Aval], name: str) -> list[Any]:
    leaves, ct_tree = tree.flatten(ct)
    if ct_tree != out_tree:
        raise TreeError(
            f"the cotangent given to the vjp of {name} has the structure {ct_tree}; the output has {out_tree}"
        )
    cts: list[Any] = []
    for c, a in zip(leaves, avals):
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

    >>> import fx, numpy as np
    >>> (x,) = fx.linear_transpose(np.cumsum, np.zeros(3))(np.array([1.0, 10.0, 100.0]))
    >>> x
    Array([111., 110., 100.], dtype=float64)
    """
    check_function(fun, "linear_transpose", "Write linear_transpose(f, x).")
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
        cts = _check_cotangents(ct, flat.out_tree, graph.out_avals, flat.name)
        grads = transpose_graph(graph, linear, captures, cts)
        return tree.unflatten(in_tree.subtrees[0], [as_array(instantiate(g, a)) for g, a in zip(grads, avals)])

    return transposed
