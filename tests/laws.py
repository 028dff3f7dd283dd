"""The laws over the table of ``op_specs``, as functions that raise AssertionError where a law is broken.

The tests run them; the planted faults show that each of them can fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from closeness import assert_close, wide
from op_specs import Case, Spec, Tolerance

import fx
import jit
from fx import dtypes
from fx.array import to_numpy
from fx.errors import DTypeError
from fx.interpret import run_graph
from fx.ir import Aval, Graph, subgraphs
from fx.passes import inline
from fx.primitive import primitive
from fx.primitives import joining
from fx.primitives import shaping as S
from fx.trace import trace_flat
from fx.transforms.eager import pull_back
from fx.verify import verify_graph


def outputs(out: Any) -> list[np.ndarray]:
    """Results of a function as NumPy arrays."""
    return [to_numpy(o) for o in fx.tree.leaves(out)]


def title(spec: Spec, case: Case, dtype: np.dtype) -> str:
    return f"{spec.primitive} {case.name} [{dtype}]"


# --------------------------------------------------------------------------------- tracing, evaluating


def graph_of(f: Callable[..., Any], *arrays: np.ndarray) -> Graph:
    """The graph of ``f`` on arrays of these shapes and dtypes; it closes over nothing."""
    graph, captures = trace_flat(
        lambda *xs: fx.tree.leaves(f(*xs)), [Aval(a.shape, a.dtype) for a in arrays], kind="jit"
    )
    assert not captures
    return graph


def primitives_in(graph: Graph) -> set[str]:
    """Names of all equations, those of nested graphs included."""
    return {e.prim.name for e in graph.eqns}.union(
        *(primitives_in(g) for e in graph.eqns for _, g in subgraphs(e.params))
    )


def check_reference(spec: Spec, case: Case, dtype: np.dtype) -> None:
    """The traced graph is well formed, and every reference returns what its abstract rule says."""
    f, xs = spec.function(case, dtype), case.draw(dtype)
    graph = verify_graph(graph_of(f, *xs))
    assert not spec.recorded or spec.primitive in primitives_in(graph), f"{title(spec, case, dtype)} does not run it"
    flat = verify_graph(inline(graph))
    with fx.config.using(backend="reference"):
        traced, inlined, called = run_graph(graph, xs, check=True), run_graph(flat, xs, check=True), outputs(f(*xs))
        strided = outputs(f(*[relaid(x, "strided") for x in xs])) if case.everywhere else called
    terms = terms_of(spec, case, dtype, xs) or [None] * len(called)
    for t, i, s, c, size in zip(traced, inlined, strided, called, terms, strict=True):
        assert_close(t, c, Tolerance(), f"{title(spec, case, dtype)}, traced")
        assert_close(i, c, Tolerance(), f"{title(spec, case, dtype)}, inlined")
        assert_close(s, c, spec.tolerance.of(dtype), f"{title(spec, case, dtype)}, of strided operands", size)


def check_refusals(spec: Spec) -> None:
    """The abstract rule raises DTypeError for every dtype that the table does not list."""
    case = spec.cases[0]
    if case.f is not None or not case.operands:
        return
    prim, drawn = primitive(spec.primitive), case.draw(spec.main)
    params = case.params(spec.main) if callable(case.params) else case.params
    for dtype in (d for d in dtypes.ALL if d not in spec.dtypes):
        avals = [Aval(x.shape, dtype if x.dtype == spec.main else x.dtype) for x in drawn]
        try:
            found = prim.rule("abstract")(*avals, **params)
        except DTypeError as error:
            assert spec.primitive in str(error), f"the message does not name {spec.primitive}: {error}"
        else:
            raise AssertionError(f"{spec.primitive} takes {dtype} and gives {found}; the table says it does not")


# ------------------------------------------------------------------------------------------ derivatives


def of_operands(f: Callable[..., Any], xs: Sequence[np.ndarray], wrt: Sequence[int]) -> Callable[..., Any]:
    """The inexact results of ``f`` as a function of the operands ``wrt``."""

    def g(*chosen: Any) -> Any:
        full = list(xs)
        for i, x in zip(wrt, chosen):
            full[i] = x
        return tuple(o for o in fx.tree.leaves(f(*full)) if dtypes.is_inexact(o.dtype))

    return g


def directions(rng: np.random.Generator, xs: Sequence[Any]) -> list[np.ndarray]:
    """Random numbers, one for each element."""

    def one(x: Any) -> np.ndarray:
        v = rng.standard_normal(x.shape)
        return (v + 1j * rng.standard_normal(x.shape) if dtypes.is_complex(x.dtype) else v).astype(x.dtype)

    return [one(x) for x in xs]


def active(spec: Spec, case: Case, xs: Sequence[np.ndarray]) -> list[int]:
    """The operands of this case that have a derivative."""
    wrt = spec.wrt if case.wrt is None else case.wrt
    return [i for i in wrt if i < len(xs) and dtypes.is_inexact(xs[i].dtype)]


def _prepare(spec: Spec, case: Case, dtype: np.dtype) -> tuple[Callable[..., Any], list[np.ndarray], Any]:
    rng = np.random.default_rng(11)
    xs = case.draw(dtype)
    wrt = active(spec, case, xs)
    return of_operands(spec.function(case, dtype), xs, wrt), [xs[i] for i in wrt], rng


def _near(got: Any, want: Any, tolerance: float, what: str) -> None:
    """Within ``tolerance`` of the largest number."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype, (
        f"{what}: {got.dtype}{got.shape}, {want.dtype}{want.shape}"
    )
    with np.errstate(invalid="ignore"):
        size = np.abs(want[np.isfinite(want)]).max(initial=1.0)
        good = (np.abs(got - want) <= tolerance * size) | (np.isnan(got) & np.isnan(want)) | (got == want)
    assert good.all(), f"{what}: largest difference {np.nanmax(np.abs(got - want))}\n{got}\n{want}"


def check_jvp(spec: Spec, case: Case, dtype: np.dtype) -> None:
    """The tangent is the fourth-order difference quotient, for real and for complex directions."""
    g, xs, rng = _prepare(spec, case, dtype)
    vs, h = [v * 0.05 for v in directions(rng, xs)], 1e-3

    def at(k: int) -> list[np.ndarray]:
        return outputs(g(*[np.asarray(x + k * h * v) for x, v in zip(xs, vs)]))

    out, tangents = fx.jvp(g, tuple(xs), tuple(vs))
    what = f"jvp of {title(spec, case, dtype)}"
    for o, t, p1, m1, p2, m2 in zip(outputs(out), outputs(tangents), at(1), at(-1), at(2), at(-2), strict=True):
        with np.errstate(invalid="ignore"):  # the identities of empty windows are infinite
            quotient = np.where(np.isfinite(p1), (8 * (p1 - m1) - (p2 - m2)) / (12 * h), 0)
        assert o.shape == t.shape
        _near(t, quotient.astype(t.dtype), 2e-8, what)


def _pairing(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    """Re(sum(x * y)), without conjugation: the pairing that transposes are with respect to."""
    return float(sum(np.real(np.sum(np.asarray(x) * np.asarray(y))) for x, y in zip(xs, ys, strict=True)))


def check_transpose(spec: Spec, case: Case, dtype: np.dtype) -> None:
    """<J v, w> = <v, J^T w>, and each cotangent has the type of its operand."""
    g, xs, rng = _prepare(spec, case, dtype)
    vs = directions(rng, xs)
    _, tangents = fx.jvp(g, tuple(xs), tuple(vs))
    out, pull = fx.vjp(g, *xs)
    ws = directions(rng, outputs(out))
    cts = outputs(pull(tuple(ws)))
    assert [(c.shape, c.dtype) for c in cts] == [(x.shape, x.dtype) for x in xs]
    left, right = _pairing(outputs(tangents), ws), _pairing(vs, cts)
    what = f"transpose of {title(spec, case, dtype)}"
    assert math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9), f"{what}: <Jv, w> = {left}, <v, J^T w> = {right}"


def check_eager(spec: Spec, case: Case, dtype: np.dtype) -> bool:
    """Plain grad, straight back through the evaluated equations, gives what transposing the tangent graph gives.

    Returns whether it went straight back (an operation that holds a function does not).
    """
    g, xs, rng = _prepare(spec, case, dtype)
    ws = directions(rng, outputs(g(*xs)))
    went: list[bool] = []

    def loss(*args: Any) -> Any:
        return sum(fx.numpy.sum(fx.numpy.real(o * w)) for o, w in zip(fx.tree.leaves(g(*args)), ws))

    def straight(*args: Any) -> Any:
        found = pull_back(*args)
        went.append(found is not None)
        return found

    gradient = fx.grad(loss, tuple(range(len(xs))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fx.api.traced, "pull_back", straight)
        found = outputs(gradient(*xs))
        patch.setattr(fx.api.traced, "pull_back", lambda *args: None)
        wanted = outputs(gradient(*xs))
    for f, w in zip(found, wanted, strict=True):
        _near(f, w, 1e-12, f"plain grad of {title(spec, case, dtype)}")
    return went == [True]


def check_linear(spec: Spec, case: Case, dtype: np.dtype) -> None:
    """The transpose rule itself: <f(x) - f(0), w> = <x, f^T w> for each operand in which the operation is linear."""
    f, drawn, rng = spec.function(case, dtype), case.draw(dtype), np.random.default_rng(12)
    linear = spec.wrt if spec.linear is None else spec.linear
    for i in (i for i in active(spec, case, drawn) if i in linear):
        alone, x = of_operands(f, drawn, [i]), drawn[i]
        found, constant = outputs(alone(x)), outputs(alone(np.zeros_like(x)))
        ws = directions(rng, found)
        (ct,) = outputs(fx.linear_transpose(alone, x)(tuple(ws)))
        with np.errstate(invalid="ignore"):
            linear_part = [np.where(np.isfinite(y), y - c, 0) for y, c in zip(found, constant)]
        left, right = _pairing(linear_part, ws), _pairing([x], [ct])
        what = f"transpose of {title(spec, case, dtype)} for operand {i}"
        assert math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9), (
            f"{what}: <f(x), w> = {left}, <x, f^T w> = {right}"
        )


def batched(
    case: Case, dtype: np.dtype, axes: Sequence[int | None], size: int = 3
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Operands with a batch axis where ``axes`` says, and the operands of each example."""
    draws = [case.draw(dtype, seed) for seed in range(size)]
    args = [x if d is None else np.stack([xs[i] for xs in draws], d) for i, (x, d) in enumerate(zip(draws[0], axes))]
    examples = [[xs[i] if d is not None else draws[0][i] for i, d in enumerate(axes)] for xs in draws]
    return args, examples


def batchings(case: Case, dtype: np.dtype) -> list[tuple[int | None, ...]]:
    """in_axes: all in front, all at the end, each operand alone, mixed."""
    ends = [x.ndim for x in case.draw(dtype)]
    n = len(ends)
    found: list[tuple[int | None, ...]] = [(0,) * n, tuple(ends)] if n else []
    if n > 1:
        found += [tuple(min(1, ends[j]) if j == i else None for j in range(n)) for i in range(n)]
        found.append(tuple(ends[j] if j % 2 else 0 for j in range(n)))
    return list(dict.fromkeys(found))


def check_vmap(
    spec: Spec, case: Case, dtype: np.dtype, axes: tuple[int | None, ...], *, compiled: bool = False
) -> None:
    """vmap is a loop over the examples; with ``compiled``, jit of vmap is that loop run by the reference."""
    f, tolerance = spec.function(case, dtype), spec.tolerance.of(dtype)
    args, examples = batched(case, dtype, axes)
    over = fx.vmap(f, in_axes=axes)
    got = outputs((fx.jit(over) if compiled else over)(*args))
    loop = [outputs(f(*xs)) for xs in examples]
    sizes = [terms_of(spec, case, dtype, xs) for xs in examples]
    for k, o in enumerate(got):
        want = np.stack([example[k] for example in loop])
        terms = None if sizes[0] is None else np.stack([s[k] for s in sizes])
        assert_close(o, want, tolerance, f"vmap{axes} of {title(spec, case, dtype)}", terms)


# -------------------------------------------------------------------------------------- compiled code


def terms_of(spec: Spec, case: Case, dtype: np.dtype, xs: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """What the reference gives for the magnitudes of the operands: the scale of an operation that adds up."""
    if not spec.tolerance.terms or not dtypes.is_inexact(dtype):
        return None
    with np.errstate(invalid="ignore"):
        magnitudes = [np.abs(x).astype(x.dtype) if dtypes.is_inexact(x.dtype) else x for x in xs]
    return [np.where(np.isfinite(wide(t)), wide(t), 0) for t in outputs(spec.function(case, dtype)(*magnitudes))]


def compiled(graph: Graph, engine: str = "quick") -> jit.Executable:
    """The graph as it stands, calls inlined, as native code; plan and loops are verified."""
    return jit.compile(inline(graph), jit.Options(verify=True, engine=engine))


def relaid(x: np.ndarray, how: str) -> np.ndarray:
    """The same numbers in other strides: what a caller may pass."""
    if not x.ndim:
        return x.copy()
    if how == "strided":
        base = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
        y = base[tuple(slice(1, None, 2) for _ in x.shape)]
        y[...] = x
        return y
    if how == "reversed":
        flip = tuple(slice(None, None, -1) for _ in x.shape)
        return np.ascontiguousarray(x[flip]).reshape(x.shape)[flip]
    return np.asfortranarray(x)


def check_jit(spec: Spec, case: Case, dtype: np.dtype) -> None:
    """Native code gives what the reference gives, from operands in any strides, and leaves them alone."""
    f, xs = spec.function(case, dtype), case.draw(dtype)
    graph = graph_of(f, *xs)
    want = run_graph(graph, xs)
    terms = terms_of(spec, case, dtype, xs) or [None] * len(want)
    # LLVM's optimisations meet every kernel once, at its main dtype
    run, before = compiled(graph, "llvm" if dtype == spec.main else "quick"), [x.tobytes() for x in xs]
    got = run(*xs)
    assert [x.tobytes() for x in xs] == before, f"{title(spec, case, dtype)} changed an operand"
    for k, (g, w, t) in enumerate(zip(got, want, terms, strict=True)):
        assert_close(g, w, spec.tolerance.of(dtype), f"result {k} of {title(spec, case, dtype)}", t, xs)
    if case.layouts or case.everywhere:
        for how in ("strided", "reversed", "columns first"):
            again = run(*[relaid(x, how) for x in xs])
            assert all(a.tobytes() == g.tobytes() for a, g in zip(again, got)), (
                f"{title(spec, case, dtype)} of {how} operands"
            )


# name -> (array, view): the array that is passed, and what the program makes of it before the operation
LAYOUTS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, Callable[[Any], Any]]]] = {
    "transposed": lambda x: (x.T.copy(), lambda v: S.transpose(v, tuple(reversed(range(x.ndim))))),
    "strided": lambda x: (
        np.repeat(x, 2, -1), lambda v: joining.slice(v, (0,) * x.ndim, v.shape, (*(1,) * (x.ndim - 1), 2)),
    ),
    "reversed": lambda x: (x[(slice(None, None, -1),) * x.ndim].copy(), lambda v: S.rev(v, tuple(range(x.ndim)))),
    "broadcast": lambda x: (
        x[0].copy() if len(x) else np.zeros(x.shape[1:], x.dtype),
        lambda v: S.broadcast_in_dim(v, x.shape, tuple(range(1, x.ndim))),
    ),
    "sliced": lambda x: (
        np.pad(x, [(1, 2)] * x.ndim), lambda v: joining.slice(v, (1,) * x.ndim, tuple(n + 1 for n in x.shape), (1,) * x.ndim),
    ),
}  # fmt: skip


def check_layouts(spec: Spec, case: Case, dtype: np.dtype, names: Sequence[str] = tuple(LAYOUTS)) -> None:
    """The operation reads its operands through views that the program makes: every stride, 0 and negative ones, too.

    One program holds all of them, each operand in another layout.
    """
    f, xs = spec.function(case, dtype), case.draw(dtype)
    every = list(LAYOUTS)
    viewed = [
        [LAYOUTS[every[(i + k) % len(every)]](x) if x.ndim else (x, lambda v: v) for i, x in enumerate(xs)]
        for k in map(every.index, names)
    ]

    def program(*bases: Any) -> list[Any]:
        left = iter(bases)
        return [f(*[view(next(left)) for _, view in row]) for row in viewed]

    bases = [base for row in viewed for base, _ in row]
    graph = graph_of(program, *bases)
    want = run_graph(graph, bases)
    scales: list[Any] = []
    for row in viewed:
        seen = [to_numpy(view(base)) for base, view in row]
        scales += terms_of(spec, case, dtype, seen) or [None] * (len(want) // len(names))
    for k, (g, w, t) in enumerate(zip(compiled(graph)(*bases), want, scales, strict=True)):
        layout = names[k // (len(want) // len(names))]
        assert_close(g, w, spec.tolerance.of(dtype), f"{title(spec, case, dtype)} of {layout} operands", t)


def check_jit_of_gradient(spec: Spec, case: Case, dtype: np.dtype, tolerance: float) -> None:
    """Tangent and cotangents under jit are those computed eagerly, and those of their graph, which is well formed."""
    xs = case.draw(dtype)
    wrt = active(spec, case, xs)
    g, chosen, rng = of_operands(spec.function(case, dtype), xs, wrt), [xs[i] for i in wrt], np.random.default_rng(3)
    vs, ws = directions(rng, chosen), directions(rng, outputs(g(*chosen)))

    def derivatives(xs: Any, vs: Any, ws: Any) -> Any:
        return fx.jvp(g, tuple(xs), tuple(vs)), fx.vjp(g, *xs)[1](tuple(ws))

    what = f"derivatives of {title(spec, case, dtype)} under jit"
    traced = fx.make_graph(derivatives)(chosen, vs, ws)
    arguments = [*chosen, *vs, *ws, *map(to_numpy, traced.consts)]
    interpreted = run_graph(verify_graph(traced.graph), arguments, check=True)
    pairs = outputs(fx.jit(derivatives)(chosen, vs, ws)), outputs(derivatives(chosen, vs, ws)), interpreted
    for got, want, same in zip(*pairs, strict=True):
        assert got.dtype == want.dtype == same.dtype, what
        _near(wide(got), wide(want), tolerance, what)
        _near(wide(same), wide(want), tolerance, what)
