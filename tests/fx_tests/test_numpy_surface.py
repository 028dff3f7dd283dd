"""A walk over all of NumPy's public functions with traced arguments: each computes what NumPy computes, or is refused by name.

Every function is called with the first of a list of argument patterns that NumPy itself accepts.
"""

from __future__ import annotations

import copy
import types
import warnings
from typing import Any

import numpy as np
import pytest

import fx
from fx.errors import FxError

S = np.array([[2.0, 0.5, 0.3], [0.5, 1.5, 0.2], [0.3, 0.2, 1.0]])
V = np.array([0.5, 1.2, 2.5])
N = np.array([1, 2, 5])
U, P = N.astype(np.uint8), np.array([0.1, 0.5, 0.4])

PATTERNS: list[tuple[Any, ...]] = [
    (S,), (V,), (V, V), (S, S), (S, V), (V, 2), (S, 1), (S, 0, 1), ([S, S],), (V, [0, 2]), (2, S), (V > 1, V), (V, V, V), (V > 1, V, V), (V, (3,)),
    (V, np.array([0, 1, 2])), (S, -1), ("i->i", V), (V, "f4"), (V, 1, 2.0), ([V > 1], [V]), (V, [V > 1], [lambda t: t * 2]), (np.sum, 0, S), (V, 0.5),
    (np.sum, S, [0]), (S[None], 3), (S, np.array([[0], [1], [2]]), 2.0, 1), (N, N), (N,), (N, (3, 3)), (N, 3), ((N, N), (6, 6)), (V, V, 1), (U,), (5, P), (P,), (V + 1,),
    (N, N, 1), (V, S), (V, V, [1, 1]), (V, V, V, [1, 1, 1]), (V, V, V, np.stack([S, S])),
]  # fmt: skip

SPACES = {
    "np": np, "np.linalg": np.linalg, "np.fft": np.fft, "np.emath": np.emath, "np.lib.stride_tricks": np.lib.stride_tricks,
    "np.polynomial.polynomial": np.polynomial.polynomial, "np.random": np.random,
}  # fmt: skip

# reason -> functions that are not called here
LEFT_OUT = {
    "takes no array": """arange bartlett base_repr binary_repr blackman bmat broadcast_shapes can_cast datetime_as_string datetime_data
        diag_indices empty eye format_float_positional format_float_scientific fromfunction frompyfunc fromregex fromstring
        full genfromtxt get_include get_printoptions getbufsize geterr geterrcall hamming hanning identity indices info
        is_busday busday_count busday_offset isdtype isnat issubdtype kaiser load loadtxt mask_indices memmap nested_iters
        ones printoptions promote_types set_printoptions setbufsize seterr seterrcall show_config show_runtime test tri
        tril_indices triu_indices typename zeros fftfreq rfftfreq get_bit_generator set_bit_generator
        get_state set_state seed bytes default_rng rand randn random random_sample ranf sample standard_cauchy
        standard_exponential standard_normal""",
    "reads or writes a file": "fromfile save savetxt savez savez_compressed",
    "gives a text or a type": """array2string array_repr array_str min_scalar_type common_type result_type mintypecode einsum_path""",
    "looks at memory": "may_share_memory shares_memory empty_like",
}  # fmt: skip
NOT_CALLED = {name for names in LEFT_OUT.values() for name in names.split()}

# what NumPy refuses before it asks us, and what is not NumPy's result for a stated reason
KNOWN = {
    "np.frombuffer": "asks for bytes, which Python refuses in NumPy's words",
    "np.polydiv": "the remainder keeps its leading zeros, since their number depends on the values (as in JAX)",
}


def functions() -> list[tuple[str, Any]]:
    out = []
    for space, module in SPACES.items():
        for name in sorted(dir(module)):
            f = getattr(module, name)
            if not name.startswith("_") and callable(f) and not isinstance(f, (type, types.ModuleType)):
                out.append((f"{space}.{name}", f))
    return [(name, f) for name, f in out if name.rpartition(".")[2] not in NOT_CALLED]


def call_that_works(f: Any) -> tuple[Any, Any] | None:
    for args in PATTERNS:
        if not any(isinstance(x, np.ndarray) for x in fx.tree.leaves(args)):
            continue
        try:
            return args, f(*copy.deepcopy(args))
        except Exception:
            continue
    return None


def difference(got: Any, want: Any) -> str:
    a, b = fx.tree.leaves(got), [x for x in fx.tree.leaves(want) if isinstance(x, (np.ndarray, np.generic, int, float))]
    if len(a) != len(b):
        return f"{len(a)} results, NumPy has {len(b)}"
    for g, w in zip(a, b):
        g, w = np.asarray(g), np.asarray(w)
        if g.shape != w.shape:
            return f"shape {g.shape}, NumPy has {w.shape}"
        if not np.allclose(g, w, equal_nan=True, rtol=1e-6):
            return f"{g}, NumPy has {w}"
    return ""


@pytest.mark.parametrize(("name", "f"), functions(), ids=[n for n, _ in functions()])
def test_works_as_numpy_or_is_refused_by_name(name: str, f: Any) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = call_that_works(f)
        assert found is not None, f"no pattern of arguments fits {name}: add one, or say in LEFT_OUT why not"
        _check(name, f, *found)


def _check(name: str, f: Any, args: Any, want: Any) -> None:
    leaves, treedef = fx.tree.flatten(args)
    traced = [i for i, x in enumerate(leaves) if isinstance(x, np.ndarray)]
    smooth = [i for i in traced if leaves[i].dtype == np.float64]

    def call(which: list[int], xs: Any) -> Any:
        full = [x.copy() if isinstance(x, np.ndarray) else x for x in leaves]
        for i, x in zip(which, xs):
            full[i] = x
        return f(*fx.tree.unflatten(treedef, full))

    def loss(*xs: Any) -> Any:
        parts = [v for v in fx.tree.leaves(call(smooth, xs)) if hasattr(v, "dtype") and v.dtype.kind in "fc"]
        return sum([np.sum(np.real(v)) for v in parts], start=np.sum(xs[0]) * 0)

    random = name.startswith("np.random")
    for kind in ("jit", "jit of floats", "grad"):
        try:
            if kind == "grad":
                if smooth:
                    fx.grad(loss)(*[leaves[i] for i in smooth])
                continue
            which = traced if kind == "jit" else smooth
            if not which:
                continue
            got = fx.jit(lambda *xs, w=which: call(w, xs), backend="reference")(*[leaves[i] for i in which])
        except FxError as e:
            assert len(str(e)) > 40, f"{name} under {kind}: {e}"
        except Exception as e:
            if name not in KNOWN:
                raise AssertionError(f"{name} under {kind}: {type(e).__name__}: {e}") from e
        else:
            if want is not None and name not in KNOWN and not random:
                assert not difference(got, want), f"{name} under {kind}: {difference(got, want)}"


def test_what_is_left_out_exists() -> None:
    assert not {name for name in NOT_CALLED if not any(name in dir(m) for m in SPACES.values())}


def test_functions_of_types_and_memory() -> None:
    def f(x: Any, n: Any) -> Any:
        assert np.result_type(x, np.float32) == np.float64 and np.can_cast(x.dtype, np.float32, "same_kind")
        assert np.common_type(x, n) is np.float64 and np.isrealobj(x) and not np.iscomplexobj(x)
        assert np.isfortran(x.T) and not np.isfortran(x) and x.T.flags.f_contiguous and x.strides == (24, 8)
        assert np.may_share_memory(x, x[1:]) and not np.shares_memory(x, x + 0) and x[1:].base is x and x.base is None
        assert "f64[3,3]" in np.array2string(x) and np.shape(x) == (3, 3) and np.ndim(x) == 2 and np.size(x) == 9
        return x

    fx.jit(f, backend="reference")(S, N)


def test_namespaces_are_told_apart() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    with fx.config.using(backend="reference"):
        np.testing.assert_array_equal(np.asarray(fx.jit(np.diagonal)(x)), np.diagonal(x))
        try:
            np.testing.assert_array_equal(np.asarray(fx.jit(np.linalg.diagonal)(x)), np.linalg.diagonal(x))
        except FxError as e:
            assert "linalg.diagonal" in str(e)
        with pytest.raises(FxError, match="scimath.sqrt"):
            fx.jit(np.emath.sqrt)(-x)


METHODS_REFUSED = [
    "resize((2, 2))",
    "setflags(write=False)",
    "tobytes()",
    "tofile('x')",
    "dumps()",
    "byteswap()",
    "getfield('f4')",
]


@pytest.mark.parametrize("call", METHODS_REFUSED)
def test_methods_that_cannot_be_traced(call: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def f(x):\n    return x.{call}", space)
    with pytest.raises(FxError, match=f"{call.partition('(')[0]} of a traced f64"):
        fx.jit(space["f"])(S)


def test_shape_and_dtype_cannot_be_set() -> None:
    for name, value in (("shape", (9,)), ("dtype", np.float32)):
        with pytest.raises(FxError, match=f"x.{name} = ... of a traced"):
            fx.jit(lambda x, n=name, v=value: setattr(x, n, v))(S)


def test_every_method_of_numpy_s_arrays_is_there() -> None:
    missing: list[str] = []

    def f(x: Any) -> Any:
        missing.extend(n for n in dir(np.ndarray) if not n.startswith("_") and not hasattr(x, n))
        return x

    fx.jit(f, backend="reference")(S)
    assert missing == ["ctypes", "data"]  # memory, which a traced array has not


def test_put_in_place() -> None:
    def f(x: Any) -> Any:
        x.put([0, 4], [7.0, 8.0])
        x[1:].put(0, 3.0)
        x.fill(2.0) if x.ndim == 1 else x[2].fill(2.0)
        return x

    np.testing.assert_array_equal(np.asarray(fx.jit(f, backend="reference")(S)), f(S.copy()))


METHOD_CALLS = """x.sum(0); x.std(ddof=1); x.var(0, ddof=1, keepdims=True); x.astype(int, casting="unsafe"); x.astype("f4", order="C", copy=False); x.argsort(kind="stable")
x.argsort(axis=0); x.round(decimals=2); x.cumsum(axis=0, dtype=np.float32); x.repeat(2, axis=0); x.take([0, 5], mode="clip"); x.take([0, 1], axis=1); x.flatten("F"); x.flatten()
x.reshape(4, 3, order="F"); x.reshape((2, -1)); x.copy(order="K"); x[0].searchsorted(0.3, side="right"); x.trace(offset=1); x.diagonal(1); x.swapaxes(0, 1); x[None].squeeze(axis=0)
x.transpose(1, 0); x.transpose((1, 0)); x.transpose(); x.argpartition(2); x.clip(max=0.5); x.clip(-0.2, 0.2); x.conj(); x.max(axis=0, keepdims=True); x.max(initial=3.0); x.min(axis=(0, 1))
x.mean(dtype=np.float32); x.prod(axis=1); x.any(axis=0); x.all(); x.argmax(axis=1, keepdims=True); x.argmin(); x.cumprod(1); x.dot(x.T); x.view(np.int64); x.ravel("F"); x.ravel(order="C")
x.T; x.mT; x.nbytes; x.itemsize; x.size; x.ndim; x.sum(where=x > 0); x.sum(axis=-1, dtype=np.float64, initial=1.0); len(x); x.compress([True, False, True], axis=0); (x > 0).choose([x, x * 2])
x @ x.T; x // 0.3; x % 0.3; divmod(x, 0.3); x**2; 2**x; -x; +x; abs(x); (x > 0) & (x < 0.5); ~(x > 0); (x * 4).astype(int) << 1; x.real; x.imag; x.flat[3]; x.flat[1:3]; [v for v in x.flat][2]
x.mean(axis=0, where=x > -2); x.std(axis=(0, 1), keepdims=True); x.ravel().searchsorted(x.ravel()[:2], sorter=x.ravel().argsort()); x.strides; x.dtype.kind == "f"; x.flags.c_contiguous"""


@pytest.mark.parametrize("call", [c.strip() for c in METHOD_CALLS.replace("\n", ";").split(";")])
def test_methods_take_numpy_s_arguments(call: str) -> None:
    f = eval(f"lambda x: {call}", {"np": np})
    x = np.sin(np.arange(12.0)).reshape(3, 4)
    got, want = fx.jit(f, backend="reference")(x), f(x.copy())
    assert not difference(got, want), difference(got, want)
    for g, w in zip(fx.tree.leaves(got), fx.tree.leaves(want)):
        assert not isinstance(w, np.ndarray) or w.dtype.kind != "f" or np.asarray(g).dtype == w.dtype
