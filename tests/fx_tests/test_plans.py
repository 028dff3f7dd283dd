"""Functions that remember the operations they are made of: what a plan gives is what the function gives, to the bit."""

from __future__ import annotations

import importlib
import operator
from typing import Any

import matrix_cases
import mpmath
import nn_cases
import numpy as np
import numpy_cases
import pytest
import random_cases
import scipy_cases
from beside_jax import draw

import fx
import fx.numpy as fnp
from fx import backend, errors, exact, plans, tree
from fx.array import Array
from fx.ir import Aval, Literal
from fx.numpy import contraction
from fx.primitive import all_primitives
from fx.primitives import special_math
from fx.trace import reference_of

TABLES = {
    "numpy": numpy_cases.CASES, "nn": nn_cases.CASES, "random": random_cases.RANDOM, "numpy.linalg": matrix_cases.LINALG,
    "scipy.special": scipy_cases.SPECIAL,
}  # fmt: skip


def planned_of(f: Any) -> Any:
    """The plans of a function of the library; None if it has none."""
    behind = {fnp.dot: contraction._dot, fnp.matmul: contraction._matmul}
    return getattr(getattr(f, "_planned", behind.get(f, f)) if callable(f) else f, "plans", None)


def function(space: str, name: str) -> Any:
    return operator.attrgetter(name)(importlib.import_module(f"fx.{space}"))


CALLS = [
    (space, name, i, dtype)
    for space, cases in TABLES.items()
    for i, case in enumerate(cases)
    for name in case.names.split()
    if planned_of(function(space, name)) is not None
    for dtype in case.dtypes
]


def described(x: Any) -> Any:
    """A result as what can be compared: types, structure, bits."""
    leaves, structure = tree.flatten(x)
    return structure, [
        (type(v), v.dtype, v.shape, getattr(v, "weak_type", None), np.asarray(v).tobytes())
        if hasattr(v, "dtype")
        else v
        for v in leaves
    ]


@pytest.mark.parametrize(("space", "name", "i"), dict.fromkeys(call[:3] for call in CALLS))
def test_a_plan_gives_the_same_bits(space: str, name: str, i: int) -> None:
    case, f = TABLES[space][i], function(space, name)
    for dtype in case.dtypes:
        check_bits(case, f, dtype)


def check_bits(case: Any, f: Any, dtype: str) -> None:
    arrays = [fnp.asarray(x) for x in draw(case, dtype)]
    with fx.config.using(explain_misses=False):  # under options of a moment nothing is planned
        want = described(case.run(fx, f, *arrays))
    planned_of(f).clear()
    for _ in range(3):
        found = described(case.run(fx, f, *arrays))
        for a, b in zip(found[1], want[1], strict=True):
            assert a[:-1] == b[:-1]
            np.testing.assert_array_equal(np.frombuffer(a[-1], a[1]), np.frombuffer(b[-1], b[1]))
        assert found == want


def special_rule(prim: Any) -> Any:
    reference = prim.rule("impl")
    return getattr(getattr(reference, "loud", reference), "special", None)


def gathers(x: np.ndarray) -> list[tuple[list[np.ndarray], dict[str, Any]]]:
    """Slices along each axis, at indices inside and outside, of several shapes and dtypes."""
    found: list[tuple[list[np.ndarray], dict[str, Any]]] = []
    for d in range(x.ndim):
        sizes = (*x.shape[:d], 1, *x.shape[d + 1 :])
        for shape in ((1,), (4, 1), (2, 3, 1), (0, 1)):
            outer = len(shape) - 1
            behind = (*range(d), *range(d + outer, x.ndim - 1 + outer))
            first = tuple(range(outer, x.ndim - 1 + outer))
            for low, high, dtype in (
                (0, x.shape[d], np.int32),
                (-3, x.shape[d] + 2, np.int64),
                (0, 9, np.uint8),
                (0, 5, np.uint64),
            ):
                index = np.random.default_rng(d).integers(low, max(high, low + 1), shape).astype(dtype)
                for offset in {behind, first}:
                    for mode, fill in (("fill", None), ("clip", None), ("promise_in_bounds", None), ("fill", 1)):
                        numbers = (offset, (d,), (d,), (), ())
                        found.append(
                            (
                                [x, index],
                                {"dimension_numbers": numbers, "slice_sizes": sizes, "mode": mode, "fill_value": fill},
                            )
                        )
    return found


def operands_of(name: str, x: np.ndarray) -> list[tuple[list[np.ndarray], dict[str, Any]]]:
    """Operands and parameters of the primitives whose reference has special cases."""
    n, axes = x.ndim, tuple(range(x.ndim))
    known = np.asarray(3).astype(x.dtype)
    one = x.ravel()[:1].reshape(()) if x.size else known
    if name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
        return [([x, np.full(x.shape, known)], {}), ([one, known], {})]
    if name == "div":
        return [([x, x[::-1] if n else x], {}), ([one, known], {})]
    if name == "gather":
        return gathers(x)
    if name == "select_n":
        return [([np.asarray(x == 1), x, x[::-1] if n else x], {}), ([np.asarray(x == 1).astype(np.int32), x, x], {})]
    special: dict[str, list[dict[str, Any]]] = {
        "integer_pow": [{"y": y} for y in (-1, 0, 1, 2, 3, 5)],
        "convert_element_type": [{"new_dtype": np.dtype(t)} for t in ("f4", "f8", "i4", "u1", "?", "c8")],
        "bitcast_convert_type": [{"new_dtype": np.dtype(t)} for t in ("f4", "i4", "u4", "i8", "u1", "u2")],
        "reshape": [{"new_sizes": (x.size,)}, {"new_sizes": (1, x.size)}],
        "transpose": [{"permutation": axes[::-1]}],
        "squeeze": [{"dimensions": tuple(i for i in axes if x.shape[i] == 1)}],
        "expand_dims": [{"dimensions": (0,)}, {"dimensions": (n,)}],
        "slice": [{"start_indices": (0,) * n, "limit_indices": x.shape, "strides": (2,) * n}],
        "broadcast_in_dim": [
            {"shape": (2, *x.shape), "broadcast_dimensions": tuple(i + 1 for i in axes)},
            {"shape": (*x.shape, 4), "broadcast_dimensions": axes},
            {"shape": tuple(s if s != 1 else 5 for s in x.shape), "broadcast_dimensions": axes},
        ],
    }  # fmt: skip
    if name.startswith("reduce_"):
        return [([x], {"axes": a}) for a in (axes, axes[:1], ())]
    return [([x], p) for p in special.get(name, [{}])]


def thrice(f: Any, *args: Any, **options: Any) -> Any:
    """The third result of a call: by then its kind is planned."""
    return [f(*args, **options) for _ in range(3)][-1]


def planned_kinds(f: Any) -> int:
    return sum(callable(run) for run in planned_of(f).values())


def test_numbers_that_are_equal_are_not_the_same_kind() -> None:
    x = fnp.asarray(np.float32([0.5, -1.0]))
    for a, b in [(0.0, -0.0), (1, True), (1, 1.0), (np.float32(0.0), np.float32(-0.0)), (np.int32(1), 1)]:
        for _ in range(3):
            for value in (a, b):
                with fx.config.using(explain_misses=False):
                    want = described(fnp.copysign(x, value))
                assert described(fnp.copysign(x, value)) == want


def test_complex_numbers_with_zeros_of_other_signs_are_not_the_same_kind() -> None:
    for _ in range(3):
        for value in (0j, complex(0.0, -0.0), complex(-0.0, 0.0), complex(-0.0, 1.0), 1j):
            assert np.asarray(fnp.full(2, value)).tobytes() == np.full(2, value, np.complex64).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "bool", "complex64"])
def test_types_of_operands_are_told_apart(dtype: str) -> None:
    values = np.array([0, 1, 1]).astype(dtype)
    weak = Array(np.asarray(values[1]), weak_type=dtype != "bool")
    for _ in range(3):
        for x in (values, fnp.asarray(values), weak, values[1], fnp.asarray(values)[:, None]):
            with fx.config.using(explain_misses=False):
                want = described(fx.nn.silu(x) if dtype != "complex64" else fnp.exp(x) * 2)
            assert described(fx.nn.silu(x) if dtype != "complex64" else fnp.exp(x) * 2) == want


def test_options_that_change_are_other_plans() -> None:
    first = thrice(fnp.linspace, 0, 1, 4)
    fx.config.default_float = "float64"
    try:
        second = thrice(fnp.linspace, 0, 1, 4)
        assert (first.dtype, second.dtype) == (np.float32, np.float64)
    finally:
        fx.config.default_float = "float32"
    with fx.config.using(default_float="float64"):
        assert thrice(fnp.linspace, 0, 1, 4).dtype == np.float64
    assert fnp.linspace(0, 1, 4).dtype == np.float32


def test_errors_are_those_of_the_function() -> None:
    x = fnp.ones((2, 3))
    for _ in range(4):
        with pytest.raises(errors.ShapeError, match="glu halves an axis"):
            fx.nn.glu(x)
        with pytest.raises(errors.AxisError):
            fx.nn.softmax(x, axis=5)
        with pytest.raises(errors.DTypeError):
            fx.random.normal(fnp.ones(2))
    gone = fnp.ones(3)
    thrice(fx.nn.softmax, gone)
    gone.delete()
    with pytest.raises(errors.DeletedArrayError):
        fx.nn.softmax(gone)


def test_results_of_calls_without_arrays_are_not_shared() -> None:
    a, b = thrice(fnp.eye, 3), fnp.eye(3)
    assert planned_kinds(fnp.eye) and not np.shares_memory(np.asarray(a), np.asarray(b))
    with fx.config.using(array_api=True):
        a[0, 0] = 7
    assert b.tolist() == fnp.eye(3).tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    "f",
    [
        lambda a: fnp.roll(a, 0), lambda a: fnp.moveaxis(a, 0, 1), lambda a: fnp.split(a, 2)[0], lambda a: fnp.rot90(a, 0),
        lambda a: fnp.tile(a, 1), lambda a: fnp.append(a, a[:0], 0), lambda a: fx.nn.relu(a),
    ],
)  # fmt: skip
def test_every_call_shares_memory_of_the_caller_s_or_none_does(f: Any) -> None:
    a = np.arange(6.0).reshape(2, 3)
    for x in (a, fnp.asarray(a)):
        shared = [np.shares_memory(a, np.asarray(f(x))) for _ in range(4)]
        assert len(set(shared)) == 1


def test_a_traced_function_is_not_planned_but_traced() -> None:
    x = fnp.asarray(np.float32([0.5, -1.0]))
    thrice(fx.nn.softplus, x)
    graph = fx.make_graph(lambda v: fx.nn.softplus(v))(x)
    assert "custom_jvp_call" in str(graph)
    np.testing.assert_allclose(fx.grad(lambda v: fnp.sum(fx.nn.softplus(v)))(x), fx.nn.sigmoid(x), rtol=1e-6)
    recorded = fx.make_graph(lambda: fnp.linspace(0, 1, 4))()
    assert recorded.eqns


def test_typed_keys_give_typed_keys() -> None:
    key, raw = fx.random.key(3), fx.random.PRNGKey(3)
    typed, words = thrice(fx.random.split, key, 3), thrice(fx.random.split, raw, 3)
    assert type(typed) is fx.random.KeyArray and type(words) is Array
    np.testing.assert_array_equal(fx.random.key_data(typed), words)
    for step in range(5):
        folded = fx.random.fold_in(key, step)
        np.testing.assert_array_equal(fx.random.key_data(folded), fx.random.fold_in(raw, fnp.asarray(np.uint32(step))))
    assert len({tuple(fx.random.key_data(fx.random.fold_in(key, step)).tolist()) for step in range(5)}) == 5


def test_debugging_sees_every_operation() -> None:
    bad = fnp.asarray(np.float32([np.inf, 1.0]))
    thrice(fx.nn.mish, -bad)
    with fx.debug_nans(), pytest.raises(errors.NaNError):
        fx.nn.mish(-bad)


def test_warnings_are_off_in_a_plan_and_come_back() -> None:
    before = np.geterr()
    with np.errstate(all="raise"):
        thrice(fx.nn.logsumexp, fnp.asarray(np.float32([-np.inf, -np.inf])))
        thrice(fx.nn.softplus, fnp.asarray(np.float32([1e38, -1e38])))
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(2))
    assert np.geterr() == before


def test_what_has_no_kind_goes_the_long_way() -> None:
    class Odd:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.float32([1.0, 2.0])

    before = len(planned_of(fx.nn.silu))
    assert thrice(fx.nn.silu, Odd()).shape == (2,)
    assert len(planned_of(fx.nn.silu)) == before


def test_dtypes_by_their_names_are_part_of_a_kind() -> None:
    planned_of(fnp.linspace).clear()
    for dtype in (fnp.float32, fnp.float64, np.float32, np.dtype("float64"), "float32"):
        assert thrice(fnp.linspace, 0, 1, 4, dtype=dtype).dtype == np.dtype(dtype)
    assert planned_kinds(fnp.linspace) == 5


def test_large_work_is_done_once_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """To plan a call it is made twice more: not where it takes long."""
    planned_of(fx.nn.silu).clear()
    monkeypatch.setattr(plans, "_MOST_PLANNED", 8000)
    large, small = fnp.ones(1001), fnp.ones(999)
    np.testing.assert_allclose(thrice(fx.nn.silu, large)[:999], thrice(fx.nn.silu, small))
    assert planned_kinds(fx.nn.silu) == 1


def test_plans_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_MOST_SEEN", 10)
    for k in range(25):
        thrice(fx.nn.silu, fnp.ones(k))
    assert len(planned_of(fx.nn.silu)) <= 10


DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int32", "uint8", "uint32", "int64", "bool", "complex64"]


@pytest.mark.parametrize("prim", [p for p in all_primitives().values() if p.has("impl") and special_rule(p)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_references_for_special_cases_are_the_reference(prim: Any, dtype: str) -> None:
    """To the bit, in the dtypes, layouts and sizes that the primitive takes."""
    d = fnp.dtype(dtype)
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2 if d == np.bool_ else 100, (2, 3))
    base = np.concatenate([numbers, [[0, 1, 1]]]).astype(d)
    if d.kind in "fVc":
        base[0] = np.array([np.nan, -0.0, np.inf]).astype(d)
    found = False
    for x in (base, base.T, base[::2, ::-1], base[:0], base[:1], base[:, :1], base[0, 0:1].reshape(())):
        for arrays, params in operands_of(prim.name, x):
            avals = [Aval(a.shape, a.dtype) for a in arrays]
            try:
                prim.rule("abstract")(*avals, **params)
            except errors.FxError:
                continue
            for types in (
                avals,
                [avals[0], *[Literal(a[()], v) if not a.shape else v for a, v in zip(arrays[1:], avals[1:])]],
            ):
                with np.errstate(all="ignore"):
                    got = np.asarray(reference_of(prim, types, params)(*arrays))
                    want = np.asarray(prim.rule("impl")(*arrays, **params))
                assert (got.dtype, got.shape) == (want.dtype, want.shape)
                assert got.tobytes() == want.tobytes()
                found = True
    assert found or d.kind not in ("iu" if prim.name.startswith("shift") else "f")


# ------------------------------------------------------------------------------------------- traced operands


TRACED = [
    (space, name, i)
    for space, name, i, dtype in CALLS
    if dtype == TABLES[space][i].dtypes[0]
    and TABLES[space][i].traced
    and TABLES[space][i].grad
    and dtype.startswith("float")
]


def gradients(run: Any, arrays: list[Any]) -> Any:
    """What a function gives under plain ``vjp``, with the cotangents of ones, and its tangents under ``jvp``."""
    wrt = [k for k, x in enumerate(arrays) if x.dtype.kind == "f"]

    def f(*chosen: Any) -> Any:
        given = list(arrays)
        for k, x in zip(wrt, chosen):
            given[k] = x
        return run(*given)

    outs, pull = fx.vjp(f, *[arrays[k] for k in wrt])
    ones = tree.map(lambda o: fnp.ones_like(o) if o.dtype.kind == "f" else np.zeros(o.shape, fx.float0), outs)
    tangents = fx.jvp(f, tuple(arrays[k] for k in wrt), tuple(fnp.ones_like(arrays[k]) for k in wrt))
    return outs, pull(ones), tangents


@pytest.mark.parametrize(("space", "name", "i"), TRACED)
def test_recorded_again_a_function_has_the_same_derivatives(space: str, name: str, i: int) -> None:
    case, f = TABLES[space][i], function(space, name)
    arrays = [fnp.asarray(x) for x in draw(case, case.dtypes[0])]
    if not any(x.dtype.kind == "f" for x in arrays):
        return
    run = lambda *xs: tree.leaves(case.run(fx, f, *xs))  # noqa: E731
    with fx.config.using(explain_misses=False):
        want = described(gradients(run, arrays))
    for _ in range(3):
        assert described(gradients(run, arrays)) == want


def test_traces_inside_of_traces() -> None:
    def inner(x: Any) -> Any:
        return fx.grad(lambda y: fnp.sum(fnp.hypot(x * 2.0, y) * x + fnp.mean(y / 3)))(x)

    x = fnp.asarray(np.array([0.5, -1.5, 2.0]))
    with fx.config.using(explain_misses=False):
        want = described(
            (inner(x), fx.grad(lambda v: fnp.sum(inner(v)))(x), fx.jacfwd(inner)(x), fx.vmap(inner)(x[:, None]))
        )
    for _ in range(3):
        found = inner(x), fx.grad(lambda v: fnp.sum(inner(v)))(x), fx.jacfwd(inner)(x), fx.vmap(inner)(x[:, None])
        assert described(found) == want


def test_arrays_that_a_traced_function_changes_are_read_when_they_are_used() -> None:
    def f(x: Any) -> Any:
        w = np.ones(3)
        y = fnp.logaddexp(x, w)
        w[:] = 5.0
        return fnp.sum(y * w[0] + fnp.logaddexp(x, w))

    x = np.array([0.5, -1.0, 2.0])
    want = 5.0 / (1 + np.exp(1.0 - x)) + 1 / (1 + np.exp(5.0 - x))
    for _ in range(4):
        np.testing.assert_allclose(fx.grad(f)(x), want, rtol=1e-14)


def test_a_traced_value_that_is_written_to() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        row = y[0]
        row += 1.0
        y[1] = fnp.hypot(row, y[1])
        return fnp.sum(y * y)

    x = np.array([[0.5, 1.0], [2.0, -1.0]])
    with fx.config.using(explain_misses=False):
        want = described(fx.value_and_grad(f)(x))
    for _ in range(4):
        assert described(fx.value_and_grad(f)(x)) == want


def test_a_traced_value_that_outlived_its_trace_is_named() -> None:
    kept: list[Any] = []
    for _ in range(4):
        fx.grad(lambda x: (kept.append(x * 3.5), fnp.sum(x * 3.5))[1])(np.ones(2))
        with pytest.raises(errors.LeakedTracerError):
            fnp.hypot(kept[-1], 1.0)
        with pytest.raises(errors.LeakedTracerError):
            kept[-1] * 2.5


def test_equations_name_the_line_that_they_come_from() -> None:
    sources = []

    def f(x: Any) -> Any:
        y = fnp.hypot(x, 2.0)
        sources.append({(e.source.file, e.source.function) for e in y.builder.eqns})
        return fnp.sum(y)

    for _ in range(4):
        fx.grad(f)(np.ones(2))
    assert all(found == {(__file__, "f")} for found in sources)


WHOLE_NUMBERS = (
    "power",
    "gcd",
    "lcm",
    "ldexp",
    "searchsorted",
    "floor_divide",
    "remainder",
    "copysign",
    "heaviside",
    "nan_to_num",
)


@pytest.mark.parametrize(
    ("space", "name", "i", "dtype"), [c for c in CALLS if c[0] == "random" or c[1] in WHOLE_NUMBERS]
)
def test_what_begins_natively_has_the_same_bits(
    space: str, name: str, i: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, f = TABLES[space][i], function(space, name)
    arrays = [fnp.asarray(x) for x in draw(case, dtype)]
    with fx.config.using(explain_misses=False):
        want = described(case.run(fx, f, *arrays))
    monkeypatch.setattr(plans, "_WORTH_COMPILING", 2)
    backend.native()
    for _ in range(5):
        assert described(case.run(fx, f, *arrays)) == want


def test_random_bits_are_made_natively() -> None:
    key = fx.random.PRNGKey(5)
    backend.native()
    planned_of(fx.random.uniform).clear()
    for _ in range(plans._WORTH_COMPILING + 4):
        x = fx.random.uniform(key, (4,))
    (run,) = planned_of(fx.random.uniform).values()
    assert run.part is None and "begun_natively" in run.run.__qualname__
    with fx.config.using(explain_misses=False):
        assert described(fx.random.uniform(key, (4,))) == described(x)
    reversed_key = key[::-1][::-1]
    assert described(fx.random.uniform(reversed_key, (4,))) == described(x)


@pytest.mark.parametrize(
    ("dtype", "exactly"), [("float32", 24), ("float64", 24), ("int32", 24), ("uint8", 24), ("float16", 0)]
)
def test_the_exact_part_of_a_graph(dtype: str, exactly: int) -> None:
    """What follows on an operation that rounds in its own way is not in it, whatever comes after; 16 bits round twice."""

    def f(x: Any) -> Any:
        for _ in range(12):
            x = x * 3 + 1
        y = fnp.cumsum(x)
        for _ in range(12):
            y = y * 3 + 1
        return y, x

    graph = lower(f, dtype)
    part = exact.exact_part(graph)
    found = [] if part is None else [e.prim.name for e in part.eqns if e.prim.name in ("mul", "add")]
    assert len(found) == exactly
    assert part is None or part.outputs == (part.eqns[-1].outputs[0],)


def lower(f: Any, dtype: str) -> Any:
    return fx.jit(f).lower(np.ones(3, dtype)).graph


def test_the_inverse_of_erf_where_it_is_rare() -> None:
    """To the bit the same for an element alone as beside others, in the centre, in the tails and beyond."""
    x = np.array([0.0, 0.5, -0.85, 0.8501, -0.99, 1 - 1e-9, -(1 - 1e-12), 1 - 2**-53, 1.0, -1.0, 1.5, np.nan])
    together = special_math.erf_inv(x)
    alone = np.concatenate([special_math.erf_inv(x[k : k + 1]) for k in range(x.size)])
    assert together.tobytes() == alone.tobytes()
    exact_values = [float(mpmath.erfinv(mpmath.mpf(float(v)))) for v in x[:8]]
    np.testing.assert_allclose(together[:8], exact_values, rtol=1e-14)


@pytest.mark.parametrize("new", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_become_integers_as_each_does_alone(dtype: str, new: str) -> None:
    """Truncated, and held at the limits: an array all of whose elements are inside takes a short way."""
    info = np.iinfo(new)
    near = [float(info.max) + d for d in (-1.5, -1, -0.5, 0, 0.5, 1, 2)] + [
        float(info.min) + d for d in (-2, -1, -0.5, 0, 0.5, 1)
    ]
    with np.errstate(all="ignore"):
        x = np.array([0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 3e9, 1e30, *near, np.inf, -np.inf, np.nan]).astype(dtype)
    wanted = [
        0 if v != v else min(max(int(max(min(v, 1e38), -1e38)), info.min), info.max) for v in x.astype(float).tolist()
    ]
    np.testing.assert_array_equal(np.asarray(fnp.asarray(x).astype(new)), np.array(wanted, new))
    for v, w in zip(x, wanted):
        for few in ([v], [v, v], [v, 0.0]):
            assert int(fnp.asarray(np.array(few, dtype)).astype(new)[0]) == w
    assert fnp.asarray(x[:0]).astype(new).shape == (0,)


def test_what_a_function_keeps_is_small_and_not_handed_out() -> None:
    """Arrays that depend on no operand are made once, when the function is written; a result is an array of its own."""
    x = fnp.asarray(np.arange(9.0).reshape(3, 3))
    for _ in range(3):
        first, second = fnp.tril(x), fnp.tril(x)
        assert not np.may_share_memory(np.asarray(first), np.asarray(second))
        np.testing.assert_array_equal(np.asarray(first), np.tril(np.arange(9.0).reshape(3, 3)))
    big = fnp.ones((400, 400))
    for _ in range(3):
        assert float(fnp.sum(fnp.tril(big))) == 400 * 401 / 2
    for f in planned_of(fnp.tril).values():
        kept = [v for v in getattr(getattr(f, "run", None), "__globals__", {}).values() if isinstance(v, np.ndarray)]
        assert sum(v.nbytes for v in kept if v.strides != (0,) * v.ndim) <= 1 << 17


def test_the_array_interface_tells_where_the_memory_is() -> None:
    data = np.arange(6.0).reshape(2, 3)[:, ::2]
    told = Array(data).__array_interface__
    assert told["data"] == (data.ctypes.data, True) and told["strides"] == data.strides and told["shape"] == (2, 2)
    seen = np.asarray(fnp.asarray(data))
    assert not seen.flags.writeable and np.may_share_memory(seen, data)


def test_numpy_s_arrays_beside_ours_take_the_short_way_and_the_long_one_alike() -> None:
    """Products and ufuncs of NumPy's arrays and ours, in either order, give what two of ours give."""
    rng = np.random.default_rng(3)
    for dtype in ("float32", "float64", "complex64", "int32", "float16"):
        a, b, v = (rng.normal(size=s).astype(dtype) for s in ((3, 4), (4, 2), (4,)))
        for x, y in ((a, b), (a, v), (v, v), (v, b)):
            ours = fnp.asarray(x), fnp.asarray(y)
            for f in (fnp.dot, fnp.matmul, fnp.inner if x is y else fnp.dot):
                want = described(f(*ours))
                assert described(f(x, ours[1])) == described(f(ours[0], y)) == described(f(x, y)) == want
        for g, h in ((np.multiply, fnp.multiply), (np.hypot, fnp.hypot), (np.equal, fnp.equal)):
            if dtype != "complex64" or g is not np.hypot:
                want = described(h(fnp.asarray(v), fnp.asarray(v)))
                assert described(g(v, fnp.asarray(v))) == described(g(fnp.asarray(v), v)) == want
        assert (
            described(v * fnp.asarray(v)) == described(fnp.asarray(v) * v) == described(fnp.asarray(v) * fnp.asarray(v))
        )
    for x, y in (
        (np.float32(rng.normal(size=(3, 4))), rng.normal(size=(4, 5))),
        (rng.normal(size=(2, 3, 4)), np.arange(4)),
    ):
        for f in (fnp.dot, fnp.matmul):
            with fx.config.using(explain_misses=False):
                want = described(f(x, fnp.asarray(y)))
            for _ in range(3):
                assert described(f(x, fnp.asarray(y))) == described(f(fnp.asarray(x), y)) == want
    for _ in range(3):
        with pytest.raises(errors.ShapeError):
            fnp.dot(np.ones(3), fnp.ones(4))
