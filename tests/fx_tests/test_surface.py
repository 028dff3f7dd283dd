"""The names of JAX that fx has, and their functions beside JAX's on random arguments.

The tables are ``surface.py`` (names that are absent, with reasons) and ``numpy_cases.py``, ``lax_cases.py`` ... (calls);
the laws of the calls stand in ``beside_jax.py``.
"""

from __future__ import annotations

import importlib
import inspect
import io
from typing import Any

import lax_cases
import matrix_cases
import nn_cases
import numpy as np
import numpy_cases
import pytest
import random_cases
import scipy_cases
from beside_jax import Table, compare
from surface import NAMESPACES, NEWER, listing

import fx
import fx.numpy as fnp
from fx.errors import ConcretizationError

try:
    import jax
    import jax.numpy as jnp
except ImportError:  # the recorded answers do without
    jax = jnp = None
needs_jax = pytest.mark.skipif(jax is None, reason="compares with the installed JAX")

TABLES = {
    t.space: t
    for t in (
        Table("numpy", numpy_cases.CASES, numpy_cases.NOT_CALLED, numpy_cases.DTYPE_RULES),
        Table("lax", lax_cases.CASES, lax_cases.NOT_CALLED, lax_cases.DTYPE_RULES),
        Table("nn", nn_cases.CASES, nn_cases.NOT_CALLED, nn_cases.DTYPE_RULES),
        Table("image", nn_cases.IMAGE),
        *[Table(name, cases, random_cases.NOT_CALLED.get(name, {})) for name, cases in random_cases.TABLES.items()],
        *[
            Table(name, cases, matrix_cases.NOT_CALLED.get(name, {}), matrix_cases.DTYPE_RULES)
            for name, cases in matrix_cases.TABLES.items()
        ],
        *[Table(f"scipy.{name}", cases, {}, scipy_cases.DTYPE_RULES) for name, cases in scipy_cases.TABLES.items()],
    )
}


# --------------------------------------------------------------------------------------------- names


@needs_jax
@pytest.mark.parametrize("name", NAMESPACES)
def test_names(name: str) -> None:
    space = NAMESPACES[name]
    assert space.share() >= 0.97
    assert set(space.missing()) <= set(space.absent), "a name has no reason"
    ours = importlib.import_module(space.ours)
    assert not [n for n in {**space.absent, **space.outside} if hasattr(ours, n)], "a reason is not true any more"
    assert f"{space.ours}: {len(space.present())} of" in listing({name: space})


@needs_jax
@pytest.mark.parametrize("space", TABLES)
def test_every_function_is_called(space: str) -> None:
    """... but for constants, dtypes and primitives, and those with a reason."""
    table, present = TABLES[space], set(NAMESPACES[space].present()) - NEWER.get(space, set())
    assert table.called() | set(table.not_called) <= present
    for name in present - table.called() - set(table.not_called):
        ours, theirs = table.function(fx, name), table.function(jax, name)
        if name.endswith("_p"):
            assert ours.name.split("-")[0], name
        elif isinstance(theirs, (float, type(None))):
            assert ours is theirs or ours == theirs or ours != ours, name
        elif isinstance(ours, type) and isinstance(theirs, type) and issubclass(theirs, np.generic):
            assert ours is theirs or ours.__name__ == theirs.__name__, name
        else:
            assert space == "numpy" and (np.dtype(ours) == np.dtype(theirs) or name in _WIDTH), name


_WIDTH = {"int_", "uint", "float_", "complex_"}  # of 32 bits in JAX unless 64 are switched on


RETURNED = {"Exported", "Ref"}  # classes that programs get objects of, and make none


@needs_jax
def test_nothing_is_left_uncompared() -> None:
    """Each namespace has a table here, or one of programs beside JAX's: ``test_trees.py``, ``test_debug.py``, ``test_export.py``,
    ``test_refs.py`` (JAX's own names are the transforms)."""
    assert set(NAMESPACES) == set(TABLES) | {"tree", "tree_util", "debug", "export", "ref", ""}


# parameters that JAX's functions have and ours have not, with the reason; those of fx.numpy, fx.lax and fx.scipy stand in
# test_numpy_against_jax.py, test_lax_names.py, test_linalg.py and test_scipy_....py
PARAMETERS: dict[str, str] = {
    "out_sharding": "one device", "manual_axis_type": "one device", "sum_match": "one device", "is_ref": "there are no references",
    "axis_env": "vmap binds names", "concrete": "JAX raises where it is given", "reduce_axes": "JAX raises where it is given",
    "in_nzs": "which tangents are zero is found while tracing", "saveable_args": "so is what the backward pass needs",
    "unreduced_kind": "one device", "axis_sizes": "axis_shapes here, as in JAX 0.10", "with_logs": "logs of a backward pass",
    "with_accums": "accumulators of JAX's own", "remat": "a rule for checkpoint beside that for gradients",
}  # fmt: skip


@needs_jax
@pytest.mark.parametrize("space", [s for s in NAMESPACES if s.split(".")[0] not in ("numpy", "lax", "scipy")])
def test_parameters_and_defaults_are_jax_s(space: str) -> None:
    """Programs may name every argument that JAX's functions take, and leave out those that it has a default for."""
    ours, theirs = (importlib.import_module(f"{lib}.{space}".rstrip(".")) for lib in ("fx", "jax"))
    for name in set(NAMESPACES[space].present()) - RETURNED:
        try:
            wanted, have = (inspect.signature(getattr(m, name)).parameters for m in (theirs, ours))
        except (TypeError, ValueError):
            continue  # no function, or one without a signature
        if any(p.kind == p.VAR_KEYWORD for p in have.values()):
            continue
        for n, p in wanted.items():
            if n.startswith("_"):
                continue  # JAX's own affair
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and n not in PARAMETERS:
                assert n in have, f"{space}.{name}: {n} is missing"
                assert (p.default is p.empty) or have[n].default is not p.empty, f"{space}.{name}: {n} has no default"
                simple = (type(None), bool, int, float, str, tuple)
                if type(p.default) in simple and type(have[n].default) in simple:
                    assert have[n].default == p.default or (space, n) == ("debug", "ordered"), f"{space}.{name}: {n}"


# ---------------------------------------------------------------------------------------------- laws

CALLS = [
    pytest.param(t, i, id=f"{t.space}-{case.names.split()[0]}{i}")
    for t in TABLES.values()
    for i, case in enumerate(t.cases)
]


@needs_jax
@pytest.mark.parametrize("space", TABLES)
def test_the_record_is_of_this_jax(space: str) -> None:
    table = TABLES[space]
    values_alone = [
        (i, d) for i, d in table.ids() if d != table.cases[i].dtypes[0]
    ]  # without derivatives: soon compiled
    for index, dtype in values_alone[len(values_alone) // 2 :][:1]:
        for name, (value, *_) in table.ask(index, dtype).items():
            compare(value, table.record(False)[table.key(index, dtype)][name][0], 1e-6, name)


@pytest.fixture(scope="session")
def renewed(request: pytest.FixtureRequest) -> Any:
    """The record of a table; with ``--update-golden`` it is made anew once."""
    update = bool(request.config.getoption("--update-golden"))
    found: dict[str, Any] = {}

    def of(table: Table) -> Any:
        if table.space not in found:
            found[table.space] = table.record(update)
        return found[table.space]

    return of


@pytest.mark.parametrize(("table", "index"), CALLS)
def test_functions(table: Table, index: int, renewed: Any) -> None:
    for dtype in table.cases[index].dtypes:
        table.check(index, dtype, renewed(table))


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
