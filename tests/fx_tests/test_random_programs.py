"""Random programs under random transforms: jit changes nothing but time, and threads change not a bit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from program_draws import program
from programs import Program, transformed

import fx
import jit
from fx.array import to_numpy
from jit.lower.registry import POINTWISE
from jit.lower.shaping import SHAPING

# More of them: FX_TEST_EXAMPLES=50 multiplies the numbers below and draws other programs on every run.
MORE = int(os.environ.get("FX_TEST_EXAMPLES", "1"))

codes = st.integers(20, 60).flatmap(lambda n: st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n))
nestings = st.lists(st.sampled_from(["grad", "jvp", "vmap", "checkpoint", "jit", "grad", "vmap"]), max_size=3).filter(
    lambda names: names.count("grad") + names.count("jvp") <= 2
)


def profile(examples: int) -> settings:
    quiet = (
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
        HealthCheck.filter_too_much,
    )
    return settings(
        max_examples=examples * MORE, deadline=None, derandomize=MORE == 1, suppress_health_check=quiet, database=None
    )


def results(p: Program, nesting: Sequence[str], dtype: str, how: str) -> list[np.ndarray]:
    f = transformed(p, nesting)
    run = f if how == "eager" else fx.jit(f, backend=how)
    with fx.config.using(backend="reference" if how == "eager" else how):
        return [to_numpy(y) for y in run(*[x.astype(dtype) for x in p.inputs])]


def check_program(p: Program, nesting: Sequence[str]) -> None:
    """Compiled, interpreted and eager results agree as well as float32 and float64 results of the reference do."""
    exact = results(p, nesting, "float64", "reference")
    plain = results(p, nesting, "float32", "reference")
    for how in ("native", "eager"):
        found = results(p, nesting, "float32", how)
        for k, (got, want, truth) in enumerate(zip(found, plain, exact, strict=True)):
            assert (got.shape, got.dtype) == (want.shape, want.dtype) == (truth.shape, np.float32)
            usable = np.isfinite(truth) & np.isfinite(want)
            rounding = np.abs(want - truth)[usable].max(initial=0.0)
            allowed = 20 * rounding + 5e-5 * (1 + np.abs(truth[usable]).max(initial=0.0))
            with np.errstate(invalid="ignore"):
                bad = usable & ~(np.abs(got - truth) <= allowed)
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                graph = fx.make_graph(transformed(p, nesting))(*p.inputs)
                raise AssertionError(
                    f"{how} result {k} of {'('.join(reversed(nesting)) or 'the program'} at {at} is {got[at]}, the reference"
                    f" gives {want[at]} in float32 and {truth[at]} in float64; allowed difference {allowed:.3g}\n{p}\n{graph}"
                )


@profile(18)
@given(codes, nestings)
def test_random_programs(codes: list[int], nesting: list[str]) -> None:
    p = program(codes)
    note(repr(p))
    check_program(p, nesting)


@profile(6)
@given(codes, nestings)
def test_random_programs_give_the_same_bits_with_any_number_of_threads(codes: list[int], nesting: list[str]) -> None:
    p = program(codes, wide=True)
    note(repr(p))
    found = []
    for threads in (1, 2, 3):
        with jit.using_threads(threads):
            found.append([y.tobytes() for y in results(p, nesting, "float32", "native")])
    assert found[0] == found[1] == found[2]


def test_threads_share_the_work_of_wide_programs() -> None:
    """Otherwise the law above would say nothing."""
    programs = [program(list(range(1 + k, 41 + k)), wide=True) for k in range(8)]
    steps = [s for p in programs for s in fx.jit(p).lower(*p.inputs).executable.program.steps]
    assert sum(s.total > s.chunk for s in steps) > 1


# ------------------------------------------------------------------------------------ planted faults

PLANTED = [list(range(1 + k, 41 + k)) for k in range(2)]


def check_all() -> None:
    for codes in PLANTED:
        check_program(program(codes), ["vmap", "grad"])


def test_a_lowering_that_computes_something_else_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check_all()
    right = POINTWISE["mul"]
    monkeypatch.setitem(POINTWISE, "mul", lambda b, eqn, x, y: right(b, eqn, x, y) * 1.01)
    with pytest.raises(AssertionError, match="native result"):
        check_all()


def test_an_index_map_that_reads_elsewhere_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SHAPING["slice"]

    def wrong(t: Any, eqn: Any, k: int, index: Any, conds: Any) -> Any:
        return right.read(t, eqn.replace(params={**eqn.params, "start_indices": (0,) * len(index)}), k, index, conds)

    monkeypatch.setitem(SHAPING, "slice", dataclasses.replace(right, read=wrong))
    with pytest.raises(AssertionError, match="native result"):
        check_all()


def test_a_program_prints_itself_and_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    p = program(PLANTED[0])
    monkeypatch.setitem(POINTWISE, "mul", lambda b, eqn, x, y: x)
    with pytest.raises(AssertionError) as failure:
        check_program(p, ["grad"])
    assert repr(p) in str(failure.value) and "return" in str(failure.value) and "= mul " in str(failure.value)
    shrunk = program([*PLANTED[0][:5], *[0] * 35])
    assert 0 < len(shrunk.steps) < len(p.steps) and shrunk.steps == p.steps[: len(shrunk.steps)]
