"""Our functions beside those of JAX on random arguments: what the tables of ``jax_calls.Case`` are held to.

The laws of a case: value and dtype are JAX's; jit, on the reference and (for a part of the cases) compiled, gives the
eager value; the gradient and the batched call are JAX's.  JAX's answers are recorded: ``pytest --update-golden`` asks
it again.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jax_calls import Case
from recorded import answers
from thorough import part

import fx
import fx.numpy as fnp
from fx import dtypes, tree

REFUSALS = (TypeError, ValueError, NotImplementedError)
REFUSED = "refused"


@dataclass(frozen=True)
class Table:
    """The calls of the functions of one namespace.

    Args:
        space: the namespace, below ``jax`` and ``fx``.
        not_called: names that no case calls, with the reason.
        dtype_rules: (name, dtype) -> why the dtype of the result differs from JAX's.
    """

    space: str
    cases: Sequence[Case]
    not_called: Mapping[str, str] = field(default_factory=dict)
    dtype_rules: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def ids(self) -> list[tuple[int, str]]:
        """The number of a case and a dtype, for each dtype of each case."""
        return [(i, d) for i, case in enumerate(self.cases) for d in case.dtypes]

    def key(self, index: int, dtype: str) -> str:
        """The name of a case in the record: cases of one name are numbered."""
        names = self.cases[index].names
        return f"{names} {sum(c.names == names for c in self.cases[:index])} {dtype}"

    def called(self) -> set[str]:
        """Names that a case calls; of ``norm.pdf`` it is ``norm`` that stands in the namespace."""
        return {n.split(".")[0] for case in self.cases for n in case.names.split()}

    def function(self, lib: Any, name: str) -> Any:
        return operator.attrgetter(name)(importlib.import_module(f"{lib.__name__}.{self.space}"))

    def ask(self, index: int, dtype: str) -> dict[str, Any]:
        """JAX's answers for all functions of a case: one program, as it is the compilation that takes the time."""
        import jax
        import jax.numpy as jnp

        case, arrays = self.cases[index], draw(self.cases[index], dtype)
        full = dtype == case.dtypes[0] and case.traced
        found: dict[str, Any] = {}

        def program(*xs: Any) -> list[Any]:
            for n in case.names.split():
                found[n] = _attempt(_laws(jax, jnp, case, self.function(jax, n), full), *xs)
            return [v for v in tree.leaves(found) if hasattr(v, "dtype")]

        with jax.enable_x64(False), np.errstate(all="ignore"):  # JAX casts constants to float16 with NumPy
            values = iter(jax.jit(program)(*arrays) if case.traced else program(*map(jnp.asarray, arrays)))
        return tree.map(lambda v: np.asarray(next(values)) if hasattr(v, "dtype") else v, found)

    def _compute(self) -> dict[str, Any]:
        chunks: list[bytes] = []
        layout = {self.key(i, d): _described(self.ask(i, d), chunks) for i, d in self.ids()}
        return {"layout": np.array(json.dumps(layout)), "bytes": np.frombuffer(b"".join(chunks), np.uint8)}

    def record(self, update: bool) -> dict[str, Any]:
        """The recorded answers: key -> name -> (value, gradient, batched value), each a list of leaves."""
        name = f"jax_{self.space.replace('.', '_')}_calls"
        return _read(name) if not update else _decoded(answers(name, True, self._compute))

    def check(self, index: int, dtype: str, record: Mapping[str, Any]) -> None:
        """Holds every function of a case to the laws."""
        case, theirs = self.cases[index], record[self.key(index, dtype)]
        full = dtype == case.dtypes[0] and case.traced
        for name in case.names.split():
            want = theirs[name]
            arrays = draw(case, dtype)
            assert want != REFUSED, f"JAX refuses this call of {name}: it says nothing"
            f, what = self.function(fx, name), f"{name} of {dtype}"
            got = _laws(fx, fnp, case, f, full)(*map(fnp.asarray, arrays))
            known = (name, dtype) in self.dtype_rules
            for law, g, w in zip(("value", "gradient", "batched"), got, want):
                compare(g, w, case.tol if law == "value" else 10 * case.tol, f"{law} of {what}", not known)
            if not case.traced:
                continue
            backend = "native" if full and part([True], index, 8) else "reference"
            with fx.config.using(backend=backend):
                compiled = fx.jit(lambda *xs, f=f: _numbers(case.run(fx, f, *xs)))(*arrays)
            compare(compiled, _numbers(got[0]), case.jit_tol, f"jit ({backend}) of {what}")


def draw(case: Case, dtype: str) -> list[np.ndarray]:
    return [spec.draw(dtype, seed) for seed, spec in enumerate(case.arrays)]


def compare(got: Any, want: Any, tol: float, what: str, same_dtype: bool = True) -> None:
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


def _weights(x: Any) -> np.ndarray:
    return np.cos(np.arange(np.size(x), dtype=np.float32)).reshape(np.shape(x))


def _laws(lib: Any, xp: Any, case: Case, f: Any, full: bool) -> Any:
    """(value, gradient, batched value) of a case as a function of its arrays, in either library."""

    def value(*arrays: Any) -> Any:
        return case.run(lib, f, *arrays)

    def scalar(*arrays: Any) -> Any:
        leaves = [x for x in tree.leaves(value(*arrays)) if hasattr(x, "dtype") and np.dtype(x.dtype) == np.float32]
        return sum([xp.sum(x * _weights(x)) for x in leaves], xp.float32(0))

    def laws(*arrays: Any) -> Any:
        wrt = tuple([i for i, a in enumerate(arrays) if a.dtype == np.float32])
        gradient = lib.grad(scalar, argnums=wrt)(*arrays) if full and case.grad and wrt else ()
        batched: Any = ()
        if full and case.vmap and arrays:
            twice = [xp.stack([a, xp.flip(a, 0)]) for a in arrays]
            batched = lib.vmap(value)(*twice)
        return value(*arrays), gradient, batched

    return laws


def _described(answers: dict[str, Any], chunks: list[bytes]) -> Any:
    """Answers as JSON: an array is its dtype and shape, and its bytes go to ``chunks``."""

    def leaf(v: Any) -> Any:
        if not hasattr(v, "dtype"):
            return {"plain": v if isinstance(v, (bool, int, float)) else str(v)}
        chunks.append(np.ascontiguousarray(v).tobytes())
        return {"dtype": str(v.dtype), "shape": v.shape}

    return {n: v if v == REFUSED else [[leaf(x) for x in _leaves(part)] for part in v] for n, v in answers.items()}


@functools.cache
def _read(name: str) -> dict[str, Any]:
    return _decoded(answers(name, False, dict))


def _decoded(archive: Mapping[str, np.ndarray]) -> dict[str, Any]:
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


def _leaves(x: Any) -> list[Any]:
    """The leaves of an answer; a shape, a string or a number is one as well."""
    return tree.leaves(list(x) if isinstance(x, tuple) else x)


def _numbers(x: Any) -> list[Any]:
    """The arrays among the leaves of an answer."""
    return [v for v in _leaves(x) if hasattr(v, "dtype")]
