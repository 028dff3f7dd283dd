"""Law 1, jit changes nothing but time, over the table of every primitive: see ``op_specs`` and ``laws``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from laws import LAYOUTS, batchings, check_jit, check_jit_of_gradient, check_layouts, check_vmap
from op_specs import C64, F32, SPECS, Spec
from thorough import part

from fx.ir import Eqn
from jit.lower.reductions import REDUCTIONS
from jit.lower.registry import LOWERINGS, POINTWISE, LowerContext, Operand
from jit.lower.shaping import SHAPING
from jit.nest.index_map import dense_strides

PAIRS = [pytest.param(s, d, id=f"{name}-{d}") for name, s in SPECS.items() for d in s.compiled]
VIEWED = {name: s for name, s in SPECS.items() if any(c.layouts for c in s.cases)}
SMOOTH = {name: s for name, s in SPECS.items() if s.wrt}


def check_dtype(spec: Spec, dtype: np.dtype) -> None:
    for case, d in spec.pairs():
        if d == dtype:
            check_jit(spec, case, dtype)


@pytest.mark.parametrize("spec,dtype", PAIRS)
def test_jit_equals_reference(spec: Spec, dtype: np.dtype) -> None:
    check_dtype(spec, dtype)


@pytest.mark.parametrize("spec", VIEWED.values(), ids=VIEWED)
def test_operands_of_every_layout(spec: Spec) -> None:
    """Pointwise rules never see a layout: each meets two of them, the others meet all."""
    names, k = list(LAYOUTS), list(VIEWED).index(spec.primitive)
    if spec.primitive in POINTWISE:
        names = [names[k % len(names)], names[(k + 2) % len(names)]]
    for case in spec.cases:
        if case.layouts:
            check_layouts(spec, case, spec.main, names)


@pytest.mark.parametrize("spec", SMOOTH.values(), ids=SMOOTH)
def test_derivatives_under_jit(spec: Spec) -> None:
    smooth = [c for c in spec.cases if c.smooth and c.dtypes is None]
    second = part(smooth[1:2], list(SMOOTH).index(spec.primitive), 2)
    for case, dtype in [*((c, F32) for c in [*smooth[:1], *second]), *((c, C64) for c in smooth[:1])]:
        if dtype in spec.dtypes:
            check_jit_of_gradient(spec, case, dtype, 2e-5)


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.cases[0].operands], ids=lambda s: s.primitive)
def test_vmap_under_jit_is_the_loop(spec: Spec) -> None:
    case, position = spec.typical[0], list(SPECS).index(spec.primitive)
    axes = batchings(case, spec.main)
    for chosen in dict.fromkeys((axes[0], axes[position % len(axes)])):
        check_vmap(spec, case, spec.main, chosen, compiled=True)


# ------------------------------------------------------------------------------------ planted faults


def _slightly_more(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A pointwise rule whose floats are off by 2e-6, whose integers are one too many, whose bools are wrong."""

    def off(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(off, value))
        if value.ty.kind == "b":
            return ~value
        return value * (1 + 2e-6) if value.ty.is_float else value + 1

    return lambda b, eqn, *values: off(rule(b, eqn, *values))


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_a_pointwise_rule_that_is_slightly_off_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POINTWISE, name, _slightly_more(POINTWISE[name]))
    spec = SPECS[name]
    with pytest.raises(AssertionError, match=f"result . of {name} .* elements differ"):
        check_dtype(spec, spec.main)


def _ignoring_strides(rule: Callable[..., None]) -> Callable[..., None]:
    """A lowering that takes its first operand for a dense one."""

    def wrong(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
        first = ins[0]
        if 0 not in first.strides:  # a broadcast operand has less memory than elements
            first = dataclasses.replace(first, strides=dense_strides(first.shape), offset=0)
        rule(ctx, eqn, (first, *ins[1:]), outs)

    return wrong


@pytest.mark.parametrize("name", sorted(set(LOWERINGS) & set(VIEWED)))
def test_a_kernel_that_ignores_strides_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOWERINGS, name, _ignoring_strides(LOWERINGS[name]))
    with pytest.raises(AssertionError, match=f"{name} .* operands"):
        test_operands_of_every_layout(SPECS[name])


@pytest.mark.parametrize(
    "name,other", [("reduce_sum", "reduce_prod"), ("reduce_max", "reduce_min"), ("argmin", "argmax")]
)
def test_a_reduction_by_another_operation_is_caught(name: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REDUCTIONS, name, REDUCTIONS[other])
    with pytest.raises(AssertionError, match=name):
        check_dtype(SPECS[name], SPECS[name].main)


def _shifted(read: Callable[..., Any]) -> Callable[..., Any]:
    """An index operation that begins at the other end of every axis."""

    def wrong(t: Any, eqn: Eqn, k: int, index: Any, conds: Any) -> Any:
        shape = eqn.outputs[k].aval.shape
        flipped = tuple(i.scale(-1).shift(n - 1) if n > 1 else i for i, n in zip(index, shape))
        return read(t, eqn, k, flipped, conds)

    return wrong


@pytest.mark.parametrize("name", ["transpose", "slice", "rev", "pad", "concatenate", "iota"])
def test_an_index_operation_that_reads_elsewhere_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = SHAPING[name]
    monkeypatch.setitem(SHAPING, name, dataclasses.replace(right, read=_shifted(right.read)))
    case = SPECS[name].typical[0]
    with pytest.raises(AssertionError, match=name):
        check_jit(SPECS[name], case, SPECS[name].main)


def test_a_gradient_that_differs_under_jit_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POINTWISE, "cos", _slightly_more(_slightly_more(_slightly_more(POINTWISE["cos"]))))
    check_jit(SPECS["sin"], SPECS["sin"].cases[0], F32)
    with pytest.raises(AssertionError, match="derivatives of sin"):
        check_jit_of_gradient(SPECS["sin"], SPECS["sin"].cases[0], F32, 2e-6)
