"""The names of JAX that fx has, and every function of ``fx.numpy`` against ``jax.numpy`` on random arguments.

The tables are ``surface.py`` (names that are absent, with reasons) and ``numpy_cases.py`` (calls).  The laws of a case:
value and dtype are JAX's; jit, on the reference and (for a part of the cases) compiled, gives the eager value; the
gradient and the batched call are JAX's.  JAX's answers are recorded: ``pytest --update-golden`` asks it again.
"""

from __future__ import annotations

import functools
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from numpy_cases import CASES, DTYPE_RULES, NOT_CALLED, Case
from recorded import answers
from surface import NAMESPACES, listing

import fx
import fx.numpy as fnp
from fx import dtypes, tree
from fx.errors import ConcretizationError

try:
    import jax
    import jax.numpy as jnp
except ImportError:  # the recorded answers do without
    jax = jnp = None
needs_jax = pytest.mark.skipif(jax is None, reason="compares with the installed JAX")

REFUSALS = (TypeError, ValueError, NotImplementedError)
REFUSED = "refused"


# --------------------------------------------------------------------------------------------- names


@needs_jax
@pytest.mark.parametrize("name", NAMESPACES)
def test_names(name: str) -> None:
    space = NAMESPACES[name]
    assert space.share() >= 0.97
    assert set(space.missing()) == set(space.absent), "a name has no reason, or one that is not true any more"
    assert set(space.outside) <= set(space.names()) - set(space.present())
    assert f"{space.ours}: {len(space.present())} of" in listing({name: space})


def _called() -> set[str]:
    return {n for case in CASES for n in case.names.split()}


@needs_jax
def test_every_function_is_called() -> None:
    """... but for constants and dtypes, which are equal, and those with a reason."""
    present = set(NAMESPACES["numpy"].present())
    assert _called() | set(NOT_CALLED) <= present | {"fft"}
    rest = present - _called() - set(NOT_CALLED)
    for name in rest:
        ours, theirs = getattr(fnp, name), getattr(jnp, name)
        if isinstance(theirs, (float, type(None))):
            assert ours is theirs or ours == theirs or ours != ours, name
        elif isinstance(ours, type) and isinstance(theirs, type) and issubclass(theirs, np.generic):
            assert ours is theirs or ours.__name__ == theirs.__name__, name
        else:
            assert np.dtype(ours) == np.dtype(theirs) or name in _WIDTH, name


_WIDTH = {"int_", "uint", "float_", "complex_"}  # of 32 bits in JAX unless 64 are switched on


# ---------------------------------------------------------------------------------------------- laws


def _weights(x: Any) -> np.ndarray:
    return np.cos(np.arange(np.size(x), dtype=np.float32)).reshape(np.shape(x))


def _laws(space: Any, framework: Any, case: Case, name: str, full: bool) -> Any:
    """(value, gradient, batched value) of a case as a function of its arrays, in either library."""

    def value(*arrays: Any) -> Any:
        return case.call(getattr(space, name), *arrays)

    def scalar(*arrays: Any) -> Any:
        leaves = [x for x in tree.leaves(value(*arrays)) if hasattr(x, "dtype") and np.dtype(x.dtype) == np.float32]
        return sum([space.sum(x * _weights(x)) for x in leaves], space.float32(0))

    def laws(*arrays: Any) -> Any:
        wrt = tuple([i for i, a in enumerate(arrays) if a.dtype == np.float32])
        gradient = framework.grad(scalar, argnums=wrt)(*arrays) if full and case.grad and wrt else ()
        batched: Any = ()
        if full and case.vmap and arrays:
            twice = [space.stack([a, space.flip(a, 0)]) for a in arrays]
            batched = framework.vmap(value)(*twice)
        return value(*arrays), gradient, batched

    return laws


def _arrays(case: Case, dtype: str) -> list[np.ndarray]:
    return [spec.draw(dtype, seed) for seed, spec in enumerate(case.arrays)]


def _key(index: int, dtype: str) -> str:
    """The name of a case in the record: cases of one name are numbered."""
    names = CASES[index].names
    return f"{names} {sum(c.names == names for c in CASES[:index])} {dtype}"


def _ask(index: int, dtype: str) -> dict[str, Any]:
    """JAX's answers for all functions of a case: one program, as it is the compilation that takes the time."""
    case, arrays = CASES[index], _arrays(CASES[index], dtype)
    full = dtype == case.dtypes[0] and case.traced
    answers: dict[str, Any] = {}

    def program(*xs: Any) -> list[Any]:
        answers.update({n: _attempt(_laws(jnp, jax, case, n, full), *xs) for n in case.names.split()})
        return [v for v in tree.leaves(answers) if hasattr(v, "dtype")]

    with jax.enable_x64(False):
        found = iter(jax.jit(program)(*arrays) if case.traced else program(*map(jnp.asarray, arrays)))
    return tree.map(lambda v: np.asarray(next(found)) if hasattr(v, "dtype") else v, answers)


def _described(answers: dict[str, Any], chunks: list[bytes]) -> Any:
    """Answers as JSON: an array is its dtype and shape, and its bytes go to ``chunks``."""

    def leaf(v: Any) -> Any:
        if not hasattr(v, "dtype"):
            return {"plain": v if isinstance(v, (bool, int, float)) else str(v)}
        chunks.append(np.ascontiguousarray(v).tobytes())
        return {"dtype": str(v.dtype), "shape": v.shape}

    return {n: v if v == REFUSED else [[leaf(x) for x in _leaves(part)] for part in v] for n, v in answers.items()}


def _leaves(x: Any) -> list[Any]:
    """The leaves of an answer; a shape, a string or a number is one as well."""
    return tree.leaves(list(x) if isinstance(x, tuple) else x)


def _compute() -> dict[str, Any]:
    chunks: list[bytes] = []
    layout = {_key(i, d): _described(_ask(i, d), chunks) for i, d in IDS}
    return {"layout": np.array(json.dumps(layout)), "bytes": np.frombuffer(b"".join(chunks), np.uint8)}


@functools.cache
def _record(update: bool) -> dict[str, Any]:
    """The recorded answers: key -> name -> (value, gradient, batched value), each a list of leaves."""
    archive = answers("jax_numpy", update, _compute)
    data, offset = archive["bytes"].tobytes(), 0

    def leaf(v: dict[str, Any]) -> Any:
        nonlocal offset
        if "plain" in v:
            return v["plain"]
        d = dtypes.canonical("bfloat16" if v["dtype"] == "bfloat16" else v["dtype"])
        count = math.prod(v["shape"])
        x = np.frombuffer(data, d, count, offset).reshape(v["shape"])
        offset += count * d.itemsize
        return x

    return {
        key: {n: v if v == REFUSED else [[leaf(x) for x in part] for part in v] for n, v in case.items()}
        for key, case in json.loads(str(archive["layout"])).items()
    }


def _attempt(f: Any, *args: Any) -> Any:
    try:
        return f(*args)
    except REFUSALS:
        return REFUSED


def _compare(got: Any, want: Any, tol: float, what: str, same_dtype: bool = True) -> None:
    got = _leaves(got)
    assert len(got) == len(want), f"{what}: {len(got)} results, {len(want)} wanted"
    for g, w in zip(got, want):
        if not hasattr(w, "dtype"):
            assert (str(g) if isinstance(w, str) else g) == w and not hasattr(g, "dtype"), what
            continue
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape, f"{what}: shape {g.shape}, {w.shape} wanted"
        assert not same_dtype or g.dtype == w.dtype, f"{what}: dtype {g.dtype}, {w.dtype} wanted"
        half = 8e-3 if w.dtype.kind == "V" or g.dtype.kind == "V" else 1e-3 if np.float16 in (w.dtype, g.dtype) else 0
        if w.dtype.kind in "Vf" and w.dtype.itemsize == 2:
            g, w = g.astype(np.float32), w.astype(np.float32)
        bound = max(tol, 2 * half)
        np.testing.assert_allclose(g, w, rtol=bound, atol=bound, err_msg=what)


IDS = [(i, d) for i, case in enumerate(CASES) for d in case.dtypes]


def _numbers(x: Any) -> list[Any]:
    """The arrays among the leaves of an answer."""
    return [v for v in _leaves(x) if hasattr(v, "dtype")]


@needs_jax
def test_the_record_is_of_this_jax() -> None:
    for index, dtype in IDS[:: len(IDS) // 4]:
        for name, (value, *_) in _ask(index, dtype).items():
            _compare(value, _record(False)[_key(index, dtype)][name][0], 1e-6, name)


@pytest.mark.parametrize(("index", "dtype"), IDS, ids=[f"{CASES[i].names.split()[0]}{i}-{d}" for i, d in IDS])
def test_functions(index: int, dtype: str, update_golden: bool) -> None:
    case, theirs = CASES[index], _record(update_golden)[_key(index, dtype)]
    full = dtype == case.dtypes[0] and case.traced
    for name in case.names.split():
        want = theirs[name]
        arrays = _arrays(case, dtype)
        assert want != REFUSED, f"JAX refuses this call of {name}: it says nothing"
        laws = _laws(fnp, fx, case, name, full)
        got = laws(*map(fnp.asarray, arrays))
        what = f"{name} of {dtype}"
        known = (name, dtype) in DTYPE_RULES
        for part, g, w in zip(("value", "gradient", "batched"), got, want):
            _compare(g, w, case.tol if part == "value" else 10 * case.tol, f"{part} of {what}", not known)
        if not case.traced:
            continue
        backend = "native" if full and index % 4 == 0 else "reference"
        f = getattr(fnp, name)
        with fx.config.using(backend=backend):
            compiled = fx.jit(lambda *xs, f=f: _numbers(case.call(f, *xs)))(*arrays)
        _compare(compiled, _numbers(got[0]), 1e-6, f"jit ({backend}) of {what}")


# ----------------------------------------------------------------------------- data-dependent shapes

DATA_DEPENDENT: dict[str, Any] = {
    **dict.fromkeys("nonzero flatnonzero argwhere unique unique_all unique_counts unique_inverse unique_values where".split(), lambda f, x: f(x)),
    **dict.fromkeys("union1d setdiff1d setxor1d intersect1d".split(), lambda f, x: f(x, x)),
    **dict.fromkeys("compress extract".split(), lambda f, x: f(x > 0, x)),
    "bincount": lambda f, x: f(x.astype("int32")),
    "repeat": lambda f, x: f(x, x.astype("int32")),
    "delete": lambda f, x: f(x, x.astype("int32")),
    "trim_zeros": lambda f, x: f(x),
    "real_if_close": lambda f, x: f(x + 0j),
}  # fmt: skip


@pytest.mark.parametrize("name", DATA_DEPENDENT)
def test_shapes_that_depend_on_values_are_named_errors(name: str) -> None:
    """... that say which function it was, and how to fix the shape."""
    f = getattr(fnp, name)
    way = {"bincount": "length=", "repeat": "total_repeat_length="}.get(name, "size=|outside the traced function")
    for transformed in (fx.jit, fx.vmap):
        with pytest.raises(ConcretizationError, match=f"^{name} .*traced(.|\\n)*({way})"):
            transformed(lambda x: DATA_DEPENDENT[name](f, x))(np.ones((2, 3) if transformed is fx.vmap else 3))
    assert DATA_DEPENDENT[name](f, fnp.asarray([1.0, 0.0, 2.0])) is not None


# --------------------------------------------------------------------------------------------- files


def test_files() -> None:
    """What is written is read again, by NumPy and by us."""
    x = fnp.arange(6, dtype="float32").reshape(2, 3)
    buffer = io.BytesIO()
    fnp.save(buffer, x)
    buffer.seek(0)
    np.testing.assert_array_equal(fnp.load(buffer), x)
    buffer = io.BytesIO()
    fnp.savez(buffer, x, twice=2 * x)
    buffer.seek(0)
    read = fnp.load(buffer)
    np.testing.assert_array_equal(read["arr_0"], x)
    np.testing.assert_array_equal(read["twice"], 2 * x)


def test_raw_files(tmp_path: Any) -> None:
    x = np.arange(5, dtype="float32")
    x.tofile(tmp_path / "raw")
    np.testing.assert_array_equal(fnp.fromfile(tmp_path / "raw", dtype="float32"), x)
    fnp.savetxt(tmp_path / "text", fnp.asarray(x))
    np.testing.assert_array_equal(fnp.loadtxt(tmp_path / "text"), x)
    np.testing.assert_array_equal(fnp.fromiter(iter([1, 2, 3]), dtype="int32"), [1, 2, 3])
    assert fnp.loadtxt(tmp_path / "text").dtype == "float32" and fnp.genfromtxt(tmp_path / "text").shape == (5,)
