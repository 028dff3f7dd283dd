"""Python functions inside a graph: pure_callback, debug.callback, debug.print.

A compiled graph returns to Python for them, between native segments, and says so in ``explain()``.
``pure_callback`` may be dropped, repeated or moved, as it has no effect; ``debug.*`` equations carry the
effect "debug": they run once each, in the order of the program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array, to_numpy
from ..dtypes import canonical
from ..errors import ArgumentError, DTypeError, MissingRuleError, ShapeError, TreeError
from ..ir import Aval, Graph, subgraphs
from ..primitive import Primitive
from ..trace import bind, state
from ..traceback import user_frames
from .helpers import align_batch

__all__ = ["calls_python", "debug_callback", "debug_print", "io_callback", "pure_callback"]

pure_callback_p = Primitive("pure_callback", multiple_results=True)
io_callback_p = Primitive("io_callback", multiple_results=True, effect="io")
debug_callback_p = Primitive("debug_callback", multiple_results=True, effect="debug")

_CALLBACKS = (pure_callback_p, io_callback_p, debug_callback_p)
VMAP_METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all", None)


def run_callback(
    callback: Callable[..., Any], out_avals: Sequence[Aval], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Calls a flat callback and checks what it returned.  What it computes belongs to no trace that is going on around it."""
    outer, state.absorbing = state.absorbing, []
    try:
        outs = [np.asarray(o) for o in callback(*args)]
    finally:
        state.absorbing = outer
    if len(outs) != len(out_avals):
        raise ShapeError(f"the callback returned {len(outs)} arrays; result_shape_dtypes announces {len(out_avals)}")
    for o, a in zip(outs, out_avals):
        if o.shape != a.shape:
            raise ShapeError(f"the callback returned shape {o.shape}; result_shape_dtypes announces {a.shape}")
    return outs


def calls_python(graph: Graph) -> bool:
    """Whether a program returns to Python on its way: what a callback raises ends it in the middle, and what it had been given
    to overwrite would be lost."""
    within = lambda e: e.prim in _CALLBACKS or any(calls_python(g) for _, g in subgraphs(e.params))
    found: bool = graph.memo("calls_python", lambda: any(map(within, graph.eqns)))
    return found


pure_callback_p.def_abstract(lambda *avals, out_avals, **_: out_avals)
pure_callback_p.def_impl(lambda *args, callback, out_avals, **_: run_callback(callback, out_avals, args))
pure_callback_p.no_jvp("fx cannot see into a Python callback; wrap it in fx.custom_jvp or fx.custom_vjp")
pure_callback_p.no_transpose("a Python callback is not linear")


@pure_callback_p.def_batch
def _pure_callback_batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], *, callback: Any, out_avals: Any, vmap_method: Any
) -> Any:
    if vmap_method is None:
        raise MissingRuleError(
            "vmap of a pure_callback without a vmap_method: pass vmap_method='sequential' (one call an example),"
            " 'expand_dims' or 'broadcast_all' (one call with the batch axis in front)"
        )
    batched = tuple(Aval((size, *a.shape), a.dtype) for a in out_avals)
    if vmap_method == "expand_dims":
        xs = [align_batch(1 if d is None else size, [x], [d])[0] for x, d in zip(args, dims)]
    else:
        xs = align_batch(size, args, dims)
    by_example = vmap_method in ("sequential", "sequential_unrolled")
    call = functools.partial(_sequential, callback, batched) if by_example else callback
    outs = bind(pure_callback_p, *xs, callback=call, out_avals=batched, vmap_method=vmap_method)
    return outs, [0] * len(outs)


io_callback_p.def_abstract(lambda *avals, out_avals, **_: out_avals)
io_callback_p.def_impl(lambda *args, callback, out_avals, **_: run_callback(callback, out_avals, args))
io_callback_p.no_jvp(
    "fx cannot see into a Python callback; its arguments need fx.lax.stop_gradient, or it a fx.custom_jvp"
)
io_callback_p.no_transpose("a Python callback is not linear")


@io_callback_p.def_batch
def _io_callback_batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], *, callback: Any, out_avals: Any, ordered: bool
) -> Any:
    if ordered:
        raise MissingRuleError(
            "vmap of an io_callback with ordered=True: the calls of several examples have no order. Pass ordered=False (one"
            " call an example, the first example first)"
        )
    batched = tuple(Aval((size, *a.shape), a.dtype) for a in out_avals)
    call = functools.partial(_sequential, callback, batched)
    outs = bind(io_callback_p, *align_batch(size, args, dims), callback=call, out_avals=batched, ordered=ordered)
    return outs, [0] * len(outs)


def _sequential(callback: Callable[..., Any], batched: Sequence[Aval], *args: np.ndarray) -> list[np.ndarray]:
    rows = [callback(*[a[i] for a in args]) for i in range(len(args[0]))]
    if not rows:
        return [np.empty(a.shape, a.dtype) for a in batched]
    return [np.stack([np.asarray(r[j]) for r in rows]) for j in range(len(batched))]


debug_callback_p.def_abstract(lambda *avals, **_: ())


@debug_callback_p.def_impl
def _debug_impl(*args: Any, callback: Callable[..., Any], **_: Any) -> tuple[()]:
    run_callback(lambda *xs: callback(*xs) or (), (), args)
    return ()


debug_callback_p.no_gradient("it has no output")


@debug_callback_p.def_batch
def _debug_batch(size: int, args: Sequence[Any], dims: Sequence[int | None], *, callback: Any, name: str) -> Any:
    def each(*xs: np.ndarray) -> None:
        for i in range(size):
            callback(*[x if d is None else x[i] for x, d in zip(xs, dims)])

    moved = [x if d is None else align_batch(size, [x], [d])[0] for x, d in zip(args, dims)]
    if hasattr(callback, "batched"):  # a callback that takes whole batches, and is told which arguments have one
        return bind(debug_callback_p, *moved, callback=callback.batched([d is not None for d in dims]), name=name), []
    return bind(debug_callback_p, *moved, callback=each, name=name), []


# -------------------------------------------------------------------------------------- front end


def _wrap(flat: Sequence[np.ndarray], in_tree: tree.TreeDef) -> Any:
    return tree.unflatten(in_tree, [Array(np.asarray(x)) for x in flat])


def _of_dtype(x: Any, announced: np.dtype) -> np.ndarray:
    """What a callback returned, in the dtype that was announced: see ``pure_callback``."""
    found = to_numpy(x)
    d = found.dtype
    if d != announced and not (d.kind == announced.kind and d.itemsize == 2 * announced.itemsize >= 8):
        raise DTypeError(
            f"the callback returned {d}; result_shape_dtypes announces {announced}. Convert what it returns"
            f" (.astype('{announced}')), or announce {d}."
        )
    return found.astype(announced, copy=False)


def _flat_callback(
    who: str, callback: Callable[..., Any], result_shape_dtypes: Any, args: Any, kwargs: Any
) -> tuple[list[Any], Callable[..., list[Any]], tuple[Aval, ...], tree.TreeDef]:
    """The leaves of the arguments, the callback on flat arrays, and the types and the structure of its results."""
    leaves, in_tree = tree.flatten((args, kwargs))
    results, out_tree = tree.flatten(result_shape_dtypes)
    for r in results:
        if not hasattr(r, "shape") or not hasattr(r, "dtype"):
            raise TreeError(
                f"{who}: result_shape_dtypes holds a {type(r).__name__} ({r!r}), which has no shape and dtype. Announce"
                " each result as fx.ShapeDtypeStruct(shape, dtype)."
            )
    out_avals = tuple(Aval(tuple(r.shape), canonical(r.dtype)) for r in results)

    def flat(*xs: np.ndarray) -> list[Any]:
        a, k = _wrap(xs, in_tree)
        out = callback(*a, **k)
        found, d = tree.flatten(out)
        if d != out_tree:
            raise ShapeError(f"the callback returned the structure {d}; result_shape_dtypes has {out_tree}")
        return [_of_dtype(x, a.dtype) for x, a in zip(found, out_avals)]

    return leaves, flat, out_avals, out_tree


@user_frames
def pure_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, vmap_method: str | None = None, **kwargs: Any
) -> Any:
    """Calls a pure Python function from inside a traced or compiled function.

    Args:
        callback: gets arrays, returns a pytree of arrays; it may be called any number of times. What it returns has the
            announced dtypes, or twice as many bits where 32 (64 of a complex number) are announced: it is rounded, as
            Python's numbers and most of NumPy's results are of 64 bits.
        result_shape_dtypes: pytree of anything with ``shape`` and ``dtype`` (``fx.ShapeDtypeStruct``, an array).
        vmap_method: what vmap does: "sequential" (or "sequential_unrolled"), "expand_dims", "broadcast_all", or None (it
            raises).

    Raises:
        ShapeError, DTypeError: when the callback runs and returns other shapes or dtypes than announced.

    >>> import fx, numpy as np
    >>> rank = lambda m: fx.pure_callback(lambda a: np.int32(np.linalg.matrix_rank(a)), fx.ShapeDtypeStruct((), "int32"), m)
    >>> fx.jit(rank)(np.ones((3, 3)))
    Array(1, dtype=int32)
    """
    if vmap_method not in VMAP_METHODS:
        raise ArgumentError(f"vmap_method must be one of {VMAP_METHODS}; found {vmap_method!r}")
    leaves, flat, out_avals, out_tree = _flat_callback("pure_callback", callback, result_shape_dtypes, args, kwargs)
    outs = bind(pure_callback_p, *leaves, callback=flat, out_avals=out_avals, vmap_method=vmap_method)
    return tree.unflatten(out_tree, outs)


@user_frames
def io_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, sharding: Any = None, ordered: bool = False,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """Calls a Python function that may do anything, once each time the program reaches this point, in the program's order.

    Args:
        callback: gets arrays, returns a pytree of arrays of the announced shapes and dtypes (see ``pure_callback``).
        result_shape_dtypes: pytree of anything with ``shape`` and ``dtype``; None: it returns None.
        sharding: accepted: there is one device.
        ordered: calls are in order anyway; True: vmap, under which examples have no order, raises.

    Raises:
        ShapeError, DTypeError: when the callback runs and returns other shapes or dtypes than announced.

    >>> import fx, numpy as np
    >>> words = iter([3, 5])
    >>> read = lambda: fx.experimental.io_callback(lambda: np.int32(next(words)), fx.ShapeDtypeStruct((), "int32"))
    >>> fx.jit(lambda x: x * read() + read())(2)
    Array(11, dtype=int32)
    """
    leaves, flat, out_avals, out_tree = _flat_callback("io_callback", callback, result_shape_dtypes, args, kwargs)
    return tree.unflatten(out_tree, bind(io_callback_p, *leaves, callback=flat, out_avals=out_avals, ordered=ordered))


def _is_value(x: Any) -> bool:
    """Whether a leaf is an array or a number that a graph can hold."""
    if isinstance(x, (bool, int, float, complex)):
        return True
    try:
        canonical(x.dtype)
    except (AttributeError, DTypeError):
        return False
    return True


@user_frames
def debug_callback(callback: Callable[..., Any], *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """Calls ``callback(*args, **kwargs)`` with the values, each time the program reaches this point (in order).

    Leaves that are no arrays and no numbers (strings, types ...) arrive as they are.
    """
    leaves, in_tree = tree.flatten((args, kwargs))
    are_values = [_is_value(x) for x in leaves]
    others = [None if v else x for x, v in zip(leaves, are_values)]

    def flat(*xs: np.ndarray) -> None:
        values = iter(xs)
        a, k = tree.unflatten(
            in_tree, [Array(np.asarray(next(values))) if v else x for x, v in zip(others, are_values)]
        )
        callback(*a, **k)

    bind(
        debug_callback_p,
        *[x for x, v in zip(leaves, are_values) if v],
        callback=flat,
        name=getattr(callback, "__name__", "callback"),
    )


@user_frames
def debug_print(fmt: str, *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """``print(fmt.format(*args, **kwargs))`` with the values, also under jit, grad and vmap.

    >>> import fx
    >>> _ = fx.jit(lambda x: fx.debug.print("x = {x}", x=x))(3)
    x = 3
    """

    if not isinstance(fmt, str):
        raise TreeError(f"debug.print takes a format string first; found {fmt!r}. Write debug.print('x = {{x}}', x=x).")

    def show(*a: Any, **k: Any) -> None:
        print(fmt.format(*a, **k))

    debug_callback(show, *args, **kwargs)
