"""The transformations a person calls: grad, vjp, jvp, linearize, vmap, jacobians, eval_shape, make_graph.

Every one follows the same three steps: trace the function into a closed graph, rewrite the graph, inline the
result into whatever surrounds the call.  The rewriting lives in ``fx.transforms``; here are the argument
handling, the checks and the error messages.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import tree
from .array import Array
from .config import config
from .dtypes import is_complex, is_float, is_inexact
from .errors import (
    DTypeError,
    GradientDTypeError,
    GradientError,
    NonScalarOutputError,
    ShapeError,
    TreeError,
    VmapAxisError,
)
from .ir import Aval, Graph, Var
from .primitives.elementwise import convert_element_type
from .primitives.elementwise import stop_gradient as _stop_gradient
from .primitives.helpers import broadcast_batch, full_like, instantiate, move_batch, zeros_like
from .primitives.shaping import reshape, slice_in_dim
from .trace import (
    Builder,
    NamedAxis,
    Tracer,
    aval_of,
    concrete_value,
    eval_graph,
    is_python_scalar,
    named_scope,
    state,
    trace_flat,
)
from .traceback import user_frames
from .transforms.flat import (
    FlatFunction,
    argument_names,
    check_leaf,
    float0,
    function_name,
    is_float0,
    resolve_argnums,
)
from .transforms.jvp import Linearized, jvp_graph, linearize_graph
from .transforms.transpose import transpose_graph
from .transforms.vmap import batch_graph

__all__ = [
    "ShapeDtypeStruct", "TracedGraph", "device_get", "device_put", "block_until_ready", "disable_jit", "eval_shape",
    "float0", "grad", "hessian", "jacfwd", "jacobian", "jacrev", "jvp", "linear_transpose", "linearize", "make_graph",
    "make_jaxpr", "named_call", "named_scope", "stop_gradient", "value_and_grad", "vjp", "vmap",
]  # fmt: skip

# ------------------------------------------------------------------------------- tracing with values


@dataclass
class _Traced:
    """A function traced with values: the graph's inputs are ``args`` (the leaves, then the captures)."""

    graph: Graph
    args: list[Any]
    known: dict[Var, np.ndarray]
    out_tree: tree.TreeDef
    n: int
    forwards: Mapping[Any, Any]
    aux: Any = None

    def linearize(self, wrt: Sequence[bool]) -> Linearized:
        """Called once: afterwards the intermediate values are let go, only the residuals stay."""
        lin = linearize_graph(self.graph, self.args, wrt, self.known, self.forwards)
        self.known, self.forwards, self.args = {}, {}, []
        return lin


def _trace(
    kind: str, f: Callable[..., Any], args: Sequence[Any], names: Sequence[str], has_aux: bool = False
) -> _Traced:
    """Traces ``f(*args)`` (pytrees), evaluating where values are known."""
    leaves, in_tree = tree.flatten((tuple(args), {}))
    leaves = [check_leaf(x, f"{n} of {function_name(f)}") for x, n in zip(leaves, names)]
    aux_box: list[Any] = []

    def main(*xs: Any) -> Any:
        out = f(*xs)
        if not has_aux:
            return out
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TreeError(
                f"with has_aux=True {function_name(f)} must return a pair (output, aux); it returned a {type(out).__name__}"
            )
        aux_leaves, aux_tree = tree.flatten(out[1])
        aux_box.append((aux_leaves, aux_tree))
        return out[0]

    flat = FlatFunction(main, in_tree)
    b = Builder(kind, function_name(f), evaluate=True)
    ins = [b.input(aval_of(x), concrete_value(x), n) for x, n in zip(leaves, names)]
    b.active, b.resumes = {t.variable for t in ins if is_inexact(t.dtype)}, True
    outs = flat(*ins)
    n_out = len(outs)
    aux_leaves, aux_tree = aux_box[0] if aux_box else ([], None)
    traced_aux = [i for i, x in enumerate(aux_leaves) if type(x) is Tracer]
    graph, captures = b.close([*outs, *(aux_leaves[i] for i in traced_aux)])
    assert flat.out_tree is not None
    traced = _Traced(graph, [*leaves, *captures], b.values, flat.out_tree, n_out, b.forwards)
    if aux_tree is not None:

        def aux(values: Sequence[Any]) -> Any:
            filled = list(aux_leaves)
            for i, v in zip(traced_aux, values):
                filled[i] = v
            return tree.unflatten(aux_tree, filled)

        traced.aux = aux
    return traced


def _names(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    return argument_names(f, args, {})


def _partial(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], argnums: tuple[int, ...]
) -> Callable[..., Any]:
    """``f`` as a function of the arguments at ``argnums`` alone."""

    @functools.wraps(f)
    def g(*chosen: Any) -> Any:
        full = list(args)
        for i, x in zip(argnums, chosen):
            full[i] = x
        return f(*full, **kwargs)

    return g


def _chosen_names(f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]) -> list[str]:
    names = iter(_names(f, args))
    per_arg = [[next(names) for _ in tree.leaves(a)] for a in args]
    return [n for i in argnums for n in per_arg[i]]


# --------------------------------------------------------------------------------------------- grad


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
    if not callable(fun):
        raise GradientError(
            f"grad takes a function; found {type(fun).__name__}: {fun!r}. Write grad(f)(x), not grad(f(x))."
        )

    @user_frames
    @functools.wraps(fun)
    def value_and_grad_fun(*args: Any, **kwargs: Any) -> Any:
        nums = resolve_argnums(argnums, len(args), "argnums", _ArgnumsError)
        names = _chosen_names(fun, args, nums)
        chosen = [args[i] for i in nums]
        _check_inputs(fun, chosen, names, holomorphic, allow_int)
        traced = _trace("grad", _partial(fun, args, kwargs, nums), chosen, names, has_aux)
        _check_scalar(fun, traced, holomorphic, has_aux)
        wrt = [i < len(names) and is_inexact(v.aval.dtype) for i, v in enumerate(traced.graph.inputs)]
        lin = traced.linearize(wrt)
        out = lin.outs[0]
        grads: list[Any] = [None] * len(lin.in_avals)
        if lin.nonzero[0]:
            seed = full_like(aval_of(out).strong(), 1)
            n_lin = len(lin.in_avals)
            linear = [i < n_lin for i in range(len(lin.linear.inputs))]
            cts = [seed] + [None] * (len(lin.linear.outputs) - 1)
            grads = transpose_graph(lin.linear, linear, lin.residuals, cts)
        per_leaf = iter([instantiate(g, a) for g, a in zip(grads, lin.in_avals)])
        leaves = tree.leaves(tuple(chosen))
        flat = [_as_array(next(per_leaf), x) if w else np.zeros(aval_of(x).shape, float0) for x, w in zip(leaves, wrt)]
        gradient = tree.unflatten(tree.structure(tuple(chosen)), flat)
        gradient = gradient[0] if isinstance(argnums, (int, np.integer)) else gradient
        value = tree.unflatten(traced.out_tree, [_as_array(out)])
        return ((value, traced.aux(lin.outs[traced.n :])), gradient) if has_aux else (value, gradient)

    return value_and_grad_fun


class _ArgnumsError(GradientError, ValueError):
    """argnums do not fit the call."""


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
    both = value_and_grad(fun, argnums, has_aux, holomorphic, allow_int)

    @user_frames
    @functools.wraps(fun)
    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return grad_fun


def _as_array(x: Any, like: Any = None) -> Any:
    """A NumPy scalar (a literal of the graph) as an Array; weak where the argument it belongs to is weak."""
    weak = like is not None and aval_of(like).weak
    if type(x) is Tracer:
        return x.alias()  # an in-place update of the result must not change what it was made from
    if type(x) is Array:
        return Array(x._data, True) if weak and not x.weak_type else x
    return Array(np.asarray(concrete_value(x)), weak)


def _check_inputs(fun: Any, chosen: Sequence[Any], names: Sequence[str], holomorphic: bool, allow_int: bool) -> None:
    for x, name in zip(tree.leaves(tuple(chosen)), names):
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


def _check_scalar(fun: Any, traced: _Traced, holomorphic: bool, has_aux: bool) -> None:
    name = function_name(fun)
    avals = traced.graph.out_avals[: traced.n]
    if traced.n != 1 or traced.out_tree != tree.structure(0):
        hint = " Pass has_aux=True if it returns (loss, aux)." if traced.out_tree.kind is tuple and not has_aux else ""
        raise NonScalarOutputError(
            f"grad needs a function with one scalar output; {name} returned {traced.out_tree} with {traced.n} leaves.{hint}"
        )
    a = avals[0]
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


# ----------------------------------------------------------------------------------- jvp, vjp, linearize


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
    names = _names(fun, primals)
    ts = _check_tangents("jvp", tree.leaves(tuple(primals)), tuple(tangents), tree.structure(tuple(primals)), names)
    traced = _trace("jvp", fun, primals, names, has_aux)
    all_ts = [*ts, *[None] * (len(traced.args) - len(ts))]
    outs, t_outs = jvp_graph(traced.graph, traced.args, all_ts, traced.known, forwards=traced.forwards)
    main = [_as_array(o) for o in outs[: traced.n]]
    t_main = [_tangent(t, o) for t, o in zip(t_outs[: traced.n], main)]
    result = tree.unflatten(traced.out_tree, main), tree.unflatten(traced.out_tree, t_main)
    return (*result, traced.aux(outs[traced.n :])) if has_aux else result


def _tangent(t: Any, out: Any) -> Any:
    a = aval_of(out)
    if not is_inexact(a.dtype):
        return np.zeros(a.shape, float0)
    return _as_array(instantiate(t, a.strong()), out)


@user_frames
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(fun(*primals), jvp_fun)``: the linear map ``tangents -> J @ tangents`` at a fixed point.

    The function is evaluated once; every call of ``jvp_fun`` runs only the linear part.
    """
    names = _names(fun, primals)
    traced = _trace("linearize", fun, primals, names, has_aux)
    p_leaves, p_tree = tree.flatten(tuple(primals))
    wrt = [i < len(p_leaves) and is_inexact(v.aval.dtype) for i, v in enumerate(traced.graph.inputs)]
    lin = traced.linearize(wrt)
    out = [_as_array(o) for o in lin.outs[: traced.n]]

    @user_frames
    def jvp_fun(*tangents: Any) -> Any:
        ts = _check_tangents("linearize", p_leaves, tuple(tangents), p_tree, names)
        given = [instantiate(t, a) for t, a in zip([t for t, w in zip(ts, wrt) if w], lin.in_avals)]
        t_outs = iter(eval_graph(lin.linear, [*given, *lin.residuals]))
        full = [next(t_outs) if nz else None for nz in lin.nonzero]
        return tree.unflatten(traced.out_tree, [_tangent(t, o) for t, o in zip(full, out)])

    value = tree.unflatten(traced.out_tree, out)
    return (value, jvp_fun, traced.aux(lin.outs[traced.n :])) if has_aux else (value, jvp_fun)


@user_frames
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Reverse mode: ``(fun(*primals), vjp_fun)`` with ``vjp_fun(ct) = ct @ J``, a tuple with one entry a primal.

    >>> import fx, numpy as np
    >>> y, pull = fx.vjp(lambda x, y: x * y, np.float64(3.0), np.float64(4.0))
    >>> pull(np.float64(1.0))
    (Array(4., dtype=float64), Array(3., dtype=float64))
    """
    names = _names(fun, primals)
    traced = _trace("vjp", fun, primals, names, has_aux)
    p_leaves, p_tree = tree.flatten(tuple(primals))
    wrt = [i < len(p_leaves) and is_inexact(v.aval.dtype) for i, v in enumerate(traced.graph.inputs)]
    lin = traced.linearize(wrt)
    out = [_as_array(o) for o in lin.outs[: traced.n]]
    linear = [i < len(lin.in_avals) for i in range(len(lin.linear.inputs))]

    @user_frames
    def vjp_fun(ct: Any) -> tuple[Any, ...]:
        cts = _check_cotangents(ct, traced.out_tree, out, function_name(fun))
        nonzero = [c for c, nz in zip([*cts, *[None] * (len(lin.outs) - traced.n)], lin.nonzero) if nz]
        grads = iter(transpose_graph(lin.linear, linear, lin.residuals, nonzero))
        flat = [
            _as_array(instantiate(next(grads), aval_of(x).strong()), x) if w else np.zeros(aval_of(x).shape, float0)
            for x, w in zip(p_leaves, wrt)
        ]
        return tree.unflatten(p_tree, flat)

    value = tree.unflatten(traced.out_tree, out)
    return (value, vjp_fun, traced.aux(lin.outs[traced.n :])) if has_aux else (value, vjp_fun)


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
    avals = [
        Aval(tuple(x.shape), np.dtype(x.dtype)) if isinstance(x, ShapeDtypeStruct) else aval_of(x).strong()
        for x in leaves
    ]
    for a, name in zip(avals, _names(fun, primals)):
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
        return tree.unflatten(in_tree.children[0], [_as_array(instantiate(g, a)) for g, a in zip(grads, avals)])

    return transposed


# --------------------------------------------------------------------------------------- jacobians


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
            raise GradientDTypeError(f"{what} with respect to {name!r}, which is {d}: a derivative needs a float input")


def jacfwd(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian by forward mode, one column at a time (batched): good for few inputs and many outputs.

    Each output leaf of shape s becomes a tree of arrays of shape s + (shape of the input leaf).
    """

    @user_frames
    @functools.wraps(fun)
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        nums = resolve_argnums(argnums, len(args), "argnums", _ArgnumsError)
        chosen = tuple(args[i] for i in nums)
        _check_jacobian_inputs(fun, "jacfwd", chosen, _chosen_names(fun, args, nums), holomorphic)
        out = linearize(_partial(fun, args, kwargs, nums), *chosen, has_aux=has_aux)
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

    @user_frames
    @functools.wraps(fun)
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        nums = resolve_argnums(argnums, len(args), "argnums", _ArgnumsError)
        chosen = tuple(args[i] for i in nums)
        _check_jacobian_inputs(fun, "jacrev", chosen, _chosen_names(fun, args, nums), holomorphic, allow_int)
        out = vjp(_partial(fun, args, kwargs, nums), *chosen, has_aux=has_aux)
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


def hessian(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The matrix of second derivatives, forward over reverse."""
    return jacfwd(jacrev(fun, argnums, has_aux, holomorphic), argnums, has_aux, holomorphic)


# -------------------------------------------------------------------------------------------- vmap


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable | None = None,
) -> Callable[..., Any]:
    """``fun`` on a batch of arguments: a loop over an axis, pushed down into every operation.

    Args:
        in_axes: which axis of each positional argument is the batch (None: none); an int, or a tuple with one entry
            per argument, each of which may be a pytree prefix of the argument.  Keyword arguments are batched at 0.
        out_axes: where the batch axis goes in the outputs; a pytree prefix of the output (None: not batched).
        axis_name: a name by which ``fx.lax.psum`` and its kin refer to the axis.
        axis_size: its size, if no argument is batched.

    Raises:
        VmapAxisError: naming the argument whose axis is missing or of another size.

    >>> import fx, numpy as np
    >>> fx.vmap(lambda x, y: np.dot(x, y), in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    Array([3., 4.], dtype=float64)
    """
    if not callable(fun):
        raise VmapAxisError(f"vmap takes a function; found {type(fun).__name__}: {fun!r}")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not _is_axis(in_axes) and not isinstance(in_axes, (tuple, dict)):
        raise VmapAxisError(f"in_axes must be an int, None, or a tuple with one entry per argument; found {in_axes!r}")

    @user_frames
    @functools.wraps(fun)
    def batched(*args: Any, **kwargs: Any) -> Any:
        name = function_name(fun)
        leaves, in_tree = tree.flatten((args, kwargs))
        names = argument_names(fun, args, kwargs)
        leaves = [check_leaf(x, f"{n} of {name}") for x, n in zip(leaves, names)]
        dims = _in_dims(in_axes, args, kwargs, leaves, names, name)
        size = _batch_size(leaves, dims, names, axis_size, name)
        flat = FlatFunction(fun, in_tree)
        b = Builder("vmap", name)
        axis = NamedAxis(axis_name, size, b)
        state.axes.append(axis)
        try:
            ins = [b.input(_unbatched(aval_of(x), d), name=n) for x, d, n in zip(leaves, dims, names)]
            graph, captures = b.close(flat(*ins))
        finally:
            state.axes.pop()
        outs, out_dims = batch_graph(graph, [*leaves, *captures], [*dims, *[None] * len(captures)], axis)
        assert flat.out_tree is not None
        want = _out_dims(out_axes, flat.out_tree, outs, name)
        return tree.unflatten(
            flat.out_tree, [_as_array(_place(o, d, w, size, name)) for o, d, w in zip(outs, out_dims, want)]
        )

    return batched


def _is_axis(x: Any) -> bool:
    return x is None or (isinstance(x, (int, np.integer)) and not isinstance(x, bool))


def _in_dims(
    in_axes: Any, args: Sequence[Any], kwargs: dict[str, Any], leaves: Sequence[Any], names: Sequence[str], fun: str
) -> list[int | None]:
    if isinstance(in_axes, tuple) and len(in_axes) != len(args):
        raise VmapAxisError(
            f"in_axes={in_axes!r} has {len(in_axes)} entries, but {fun} was called with {len(args)} positional arguments"
        )
    try:
        axes = tree.broadcast_prefix(in_axes, tuple(args), is_leaf=_is_axis, what="in_axes")
    except TreeError as e:
        raise VmapAxisError(f"in_axes={in_axes!r} is not a prefix of the arguments of {fun}: {e}") from None
    axes += [0] * len(tree.leaves(kwargs))
    out: list[int | None] = []
    for x, d, n in zip(leaves, axes, names):
        a = aval_of(x)
        if d is None:
            out.append(None)
            continue
        if not _is_axis(d):
            raise VmapAxisError(f"in_axes entries must be ints or None; found {d!r} for {n}")
        if not -a.ndim <= d < a.ndim:
            raise VmapAxisError(
                f"vmap of {fun}: in_axes says that {n} is batched at axis {d}, but its shape is {a.shape}."
                " Use None for arguments that are not batched."
            )
        out.append(int(d) % a.ndim)
    return out


def _batch_size(
    leaves: Sequence[Any], dims: Sequence[int | None], names: Sequence[str], given: int | None, fun: str
) -> int:
    sizes = {n: aval_of(x).shape[d] for x, d, n in zip(leaves, dims, names) if d is not None}
    if given is not None:
        sizes = {**sizes, "axis_size": given}
    if not sizes:
        raise VmapAxisError(
            f"vmap of {fun} needs at least one batched argument (an in_axes that is not None), or axis_size"
        )
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{n}: {s}" for n, s in sizes.items())
        raise VmapAxisError(f"vmap of {fun}: the batch axes have different sizes ({listed}); they must be equal")
    return next(iter(sizes.values()))


def _unbatched(a: Aval, d: int | None) -> Aval:
    return a if d is None else a.with_(shape=a.shape[:d] + a.shape[d + 1 :])


def _out_dims(out_axes: Any, out_tree: tree.TreeDef, outs: Sequence[Any], fun: str) -> list[int | None]:
    example = tree.unflatten(out_tree, list(range(out_tree.num_leaves)))
    try:
        axes = tree.broadcast_prefix(out_axes, example, is_leaf=_is_axis, what="out_axes")
        return [d for d, x in zip(axes, tree.leaves(example)) if not is_float0(x)]
    except TreeError as e:
        raise VmapAxisError(f"out_axes={out_axes!r} is not a prefix of the output of {fun}: {e}") from None


def _place(x: Any, have: int | None, want: int | None, size: int, fun: str) -> Any:
    """An output with its batch axis where out_axes wants it."""
    if want is None:
        if have is not None:
            raise VmapAxisError(
                f"out_axes is None for an output of {fun} that does depend on the batch; give it an axis"
            )
        return x
    ndim = len(aval_of(x).shape) + (have is None)
    if not isinstance(want, (int, np.integer)) or not -ndim <= want < ndim:
        raise VmapAxisError(
            f"out_axes={want!r} does not fit an output of {fun} with {ndim} dimensions (batch included)"
        )
    want = int(want) % ndim
    return broadcast_batch(x, size, want) if have is None else move_batch(x, have, want)


# ------------------------------------------------------------------------------------ looking, and the rest


@dataclass(frozen=True)
class ShapeDtypeStruct:
    """Shape and dtype of an array that need not exist."""

    shape: tuple[int, ...]
    dtype: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@user_frames
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of ``fun(*args, **kwargs)`` without computing it.

    Args may be arrays or anything with ``shape`` and ``dtype``.
    """
    traced = make_graph(fun)(*args, **kwargs)
    return tree.unflatten(traced.out_tree, [ShapeDtypeStruct(a.shape, a.dtype) for a in traced.graph.out_avals])


@dataclass(frozen=True)
class TracedGraph:
    """A graph with the values that its function closes over (its last inputs) and its structure."""

    graph: Graph
    consts: list[Any]
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef

    @property
    def eqns(self) -> Any:
        return self.graph.eqns

    @property
    def in_avals(self) -> Any:
        return self.graph.in_avals

    @property
    def out_avals(self) -> Any:
        return self.graph.out_avals

    def __str__(self) -> str:
        return str(self.graph)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()  # type: ignore[attr-defined]


def make_graph(fun: Callable[..., Any], static_argnums: int | Sequence[int] = ()) -> Callable[..., TracedGraph]:
    """A function that returns the graph of ``fun`` for its arguments, to be printed and explored.

    >>> import fx, numpy as np
    >>> print(fx.make_graph(lambda x: np.sin(x) * 2)(np.float32(1)))
    { <lambda>(x: f32[])
      a: f32[] = sin x
      b: f32[] = mul a 2.0:f32
      return b }
    """

    @user_frames
    @functools.wraps(fun)
    def traced(*args: Any, **kwargs: Any) -> TracedGraph:
        static = set(resolve_argnums(static_argnums, len(args), "static_argnums", _ArgnumsError))
        chosen = tuple(i for i in range(len(args)) if i not in static)
        call = _partial(fun, args, {}, chosen) if static else fun
        dynamic = tuple(args[i] for i in chosen)
        leaves, in_tree = tree.flatten((dynamic, kwargs))
        names = argument_names(fun, tuple(None if i in static else a for i, a in enumerate(args)), kwargs)
        avals = [
            Aval(tuple(x.shape), np.dtype(x.dtype)) if _only_type(x) else aval_of(check_leaf(x, n))
            for x, n in zip(leaves, names)
        ]
        flat = FlatFunction(call, in_tree)
        graph, captures = trace_flat(flat, avals, kind="make_graph", name=function_name(fun), names=names)
        assert flat.out_tree is not None
        return TracedGraph(graph, captures, in_tree, flat.out_tree)

    return traced


make_jaxpr = make_graph


def _only_type(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, (Tracer, Array, np.ndarray, np.generic))


def stop_gradient(x: Any) -> Any:
    """The identity, whose derivative is zero; on every leaf of a pytree."""
    leaves, treedef = tree.flatten(x)  # tree.map would hand over arrays of keys whole
    return tree.unflatten(treedef, [_stop_gradient(v) for v in leaves])


def disable_jit(disable: bool = True) -> Any:
    """Context manager: jitted functions run op by op, so that print and a debugger see values."""
    return config.using(disable_jit=disable)


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """``fun`` under ``named_scope(name)``."""

    @functools.wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        with named_scope(name or function_name(fun)):
            return fun(*args, **kwargs)

    return call


def device_put(x: Any, device: Any = None) -> Any:
    """Every leaf as an fx.Array (there is one device, the CPU)."""
    leaves, treedef = tree.flatten(x)
    return tree.unflatten(treedef, [_as_array(v, v) for v in leaves])


def device_get(x: Any) -> Any:
    """Every leaf as a NumPy array."""
    leaves, treedef = tree.flatten(x)
    return tree.unflatten(treedef, [np.asarray(v) for v in leaves])


def block_until_ready(x: Any) -> Any:
    """``x``; fx computes synchronously."""
    return x
