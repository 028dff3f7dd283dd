"""The rows of ``benchmarks/`` at small sizes: what fx, NumPy, JAX and PyTorch compute there is the same.  Nothing is timed."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import platform

import numpy as np
import pytest

from benchmarks import applications
from benchmarks.applications.measure import difference
from benchmarks.applications.program import library
from benchmarks.process import AVX2_ONLY, differs, environment
from benchmarks.report import as_json, as_markdown, line, verdict
from benchmarks.row import Goal, Result, Row, leaves
from benchmarks.rows import (
    FAMILIES,
    convolutions,
    elementwise,
    indexing,
    loops,
    overheads,
    products,
    reductions,
    steps,
    windows,
)

CONVOLUTIONS = [
    dataclasses.replace(
        c, batch=2, channels=4, out=4 if c.groups > 1 else 3, size=(7,) * c.ndim, groups=min(c.groups, 4)
    )
    for c in convolutions.CASES
    if c.name.startswith(("7x7", "depthwise", "transposed"))
]
SMALL = [
    *(elementwise.chain(name, 9, np.float64) for name in elementwise.CHAINS),
    *(reductions.norm(name, (3, 5)) for name in reductions.NORMS),
    *(reductions.reduction("argmax", axis, (3, 5), compiled=False) for axis in (None, 0)),
    *(products.shaped(3, 4, 5, form=form) for form in ("ab", "tb", "at")),
    products.batched(2, 3),
    products.dense(3, 4, 5, "relu"),
    *(convolutions.conv(c, wanted) for c in CONVOLUTIONS[::2] for wanted in ("forward", "image", "weights")),
    convolutions.conv(CONVOLUTIONS[1], "forward"),
    *(windows.pooling(kind, 2, 6, 3, 2, 2, both=True) for kind in ("max", "average")),
    indexing.top_k((3, 8), 2),
    indexing.one_hot(5, 3),
    indexing.cumsum((8,), 0),
    indexing.scatter_add(6, 3),
    indexing.lookup_gradient(5, 2, 4),
    loops.recurrence(3, gradient=True),
    overheads.eager_gradient(),
    steps.network(
        "CNN", 4, steps.Network((8, 8, 1), ((3, 3, 1, 2), (18, 5), (5, 3)), "adam")
    ).row(4),
    steps.lstm(3, 2, 4, 3).row(2),
    steps.transformer(2, 3, 4, 2).row(2),
]  # fmt: skip


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_all_settings_of_a_row_compute_the_same(row: Row) -> None:
    shown = {}
    for setting, write in row.writes.items():
        library = setting.partition(":")[0]
        if setting.startswith("torch:compile") or (library != "copy" and importlib.util.find_spec(library) is None):
            continue  # PyTorch's compiler takes seconds for a function
        prepared = write(row.data(np.random.default_rng(0)))
        shown[setting] = [np.array(a) for a in leaves(prepared.show(prepared.run()))]
    assert {"fx", "numpy"} <= shown.keys() or len(shown) > 1
    assert {s: differs(row, got, shown["fx"]) for s, got in shown.items()} == dict.fromkeys(shown, {})


def test_a_wrong_result_is_told() -> None:
    row, want = elementwise.ROWS[0], [np.linspace(0.0, 1.0, 8)]
    assert differs(row, [want[0] * (1 + 1e-5)], want) == {}
    assert "of the largest magnitude" in differs(row, [want[0] * 1.01], want)["error"]
    assert "of the largest magnitude" in differs(row, [want[0] * np.nan], want)["error"]
    assert "shapes" in differs(row, [want[0][:4]], want)["error"]


def test_goals_and_their_verdicts() -> None:
    result = Result("a row", "us", (Goal(0.5), Goal(1.3, "copy")))
    result.samples = {"fx": [1e-6, 1e-6, 9e-6], "jax": [4e-6], "torch:NCHW": [3e-6], "copy": [1e-6]}
    assert verdict(result) is True  # 1/3 of the best peer, and the copy is no peer
    assert "0.33" in line(result) and "met" in line(result)
    result.samples["numpy"] = [1.5e-6]
    assert verdict(result) is False and "MISSED" in line(result)
    assert verdict(Result("no peer", "us", (Goal(1.0),), {"fx": [1e-6]})) is None
    assert verdict(Result("absolute", "us", (Goal(2e-6, "absolute"),), {"fx": [1e-6]})) is True
    assert math.isnan(Goal(1.0).value({"fx": 1.0}))


def test_a_row_may_take_no_time() -> None:
    """... as what the first call at a new size takes more than the next one: no ratio to it, and the others stand."""
    nothing = Result("new size", "ms", (Goal(5e-3, "absolute"),), {"fx": [0.0, 0.0], "fx1": [1e-3], "jax": [0.0, 1.0]})
    assert verdict(nothing) is True and "met" in line(nothing)
    row = json.loads(as_json([nothing], 2, {}))["rows"][0]
    assert (row["scaling"], row["spread"]["fx"], row["ratio"], row["met"]) == (None, None, 0.0, True)
    assert "| 0 |" in as_markdown({"sizes": [nothing]}, 2, {"gflops": 1.0, "gbytes": 1.0})


def test_the_tables_to_be_read_stand_by_family_with_their_counts() -> None:
    good = Result("log(|x|)", "us", (Goal(1.0),), {"fx": [1e-6], "fx1": [1.9e-6], "jax": [4e-6], "torch:NCHW": [3e-6]})
    bad = Result("slow", "ms", (Goal(1.0),), {"fx": [2e-3], "jax": [1e-3]})
    text = as_markdown({"loops": [good], "starts": [bad, bad]}, 2, {"gflops": 300.0, "gbytes": 50.0})
    loops, starts = text.partition("## Loops")[2].split("## Starts")
    assert "1 of 3 rows meet their goals; 1 of 1 rows above 200 us gain" in text.partition("## Loops")[0]
    assert "| log(\\|x\\|) | 1 |  | 4 | 3 |  |  | 0.33 | 0.33 | 1.90 | <= 1 | met |" in loops
    assert "\n\n1 of 1 rows" in loops and "\n\n0 of 2 rows" in starts
    assert starts.count("| slow [ms] | 2 |  | 1 |  |  |  | 2.00 | 2.00 |  | <= 1 | missed |") == 2


def test_libraries_held_to_fewer_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heading says so, and what holds XLA to them stands beside the number of threads."""
    assert "2 threads each, AVX2 at most;" in as_markdown({}, 2, {"gflops": 1.0, "gbytes": 1.0}, "avx2")
    text = as_markdown({}, 2, {"gflops": 1.0, "gbytes": 1.0})
    assert "2 threads each;" in text and f"NumPy {np.__version__}" in text
    assert json.loads(as_json([], 2, {}))["about"]["versions"]["Python"] == platform.python_version()
    for name, value in AVX2_ONLY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    assert "OPENBLAS_CORETYPE" not in environment(2)  # at its best setting NumPy uses what the processor has
    monkeypatch.setenv("OPENBLAS_CORETYPE", AVX2_ONLY["OPENBLAS_CORETYPE"])
    child = environment(2)
    assert child.items() >= {**AVX2_ONLY, "XLA_FLAGS": child["XLA_FLAGS"]}.items()
    assert child["XLA_FLAGS"].startswith(AVX2_ONLY["XLA_FLAGS"]) and "multi_thread_eigen=true" in child["XLA_FLAGS"]


def test_names_are_unique_and_goals_name_settings_that_exist() -> None:
    rows = [row for family in FAMILIES.values() for row in family]
    assert len({row.name for row in rows}) == len(rows)
    known = {"absolute", "peers", "jax", "torch", "numpy", "autograd", "copy"}
    for row in rows:
        assert row.goals and {goal.against for goal in row.goals} <= known
        if isinstance(row, Row):
            assert {g.against for g in row.goals} - {"absolute", "peers"} <= row.writes.keys()


def test_every_application_is_listed_and_says_what_it_is() -> None:
    modules = (applications.simulation, applications.statistics, applications.learning, applications.geometry)
    written = [
        name
        for module in modules
        for name, f in vars(module).items()
        if getattr(f, "__module__", "") == module.__name__
    ]
    assert sorted(applications.PROGRAMS) == sorted(written) and len(written) == 44
    assert all(
        name == p.name and "\n" not in p.description and p.description for name, p in applications.PROGRAMS.items()
    )


@pytest.mark.parametrize("name", ["attention_decoding", "small_matrices", "levenberg_marquardt"])
def test_an_application_computes_the_same_compiled_and_eager(name: str) -> None:
    fx, program = library("fx"), applications.PROGRAMS[name]
    function, args = program.write(fx)
    eager, compiled = ([np.asarray(a) for a in fx.tree.leaves(f(*args))] for f in (function, fx.jit(function)))
    assert [(a.shape, a.dtype) for a in eager] == [(a.shape, a.dtype) for a in compiled]
    assert difference(compiled, eager, program.strays) <= program.tolerance


def test_the_difference_of_outputs() -> None:
    want = np.array([1.0, np.nan, np.inf, -4.0])
    assert difference([want], [want]) == 0.0
    assert difference([want + [0.0, 0.0, 0.0, 1.0]], [want]) == 0.25
    assert difference([np.array([1.0, 2.0, np.inf, -4.0])], [want]) == math.inf
    assert difference([want * [1.0, 1.0, -1.0, 1.0]], [want]) == math.inf
    assert difference([np.array([1.0, 2.0, np.inf, -3.0])], [want], strays=0.25) == 0.25
    assert difference([np.array([1j])], [np.array([-1j])]) == 2.0
    assert difference([np.zeros((0, 3))], [np.zeros((0, 3))]) == 0.0
