"""Law 1, jit changes nothing but time, over the table of every primitive: see ``op_specs`` and ``laws``."""

from __future__ import annotations

import numpy as np
import pytest
from laws import batchings, check_jit, check_jit_of_gradient, check_layouts, check_vmap
from op_specs import C64, F32, SPECS, Spec, Tolerance

PAIRS = [pytest.param(s, d, id=f"{name}-{d}") for name, s in SPECS.items() for d in s.compiled]
VIEWED = {name: s for name, s in SPECS.items() if any(c.layouts for c in s.cases)}
SMOOTH = {name: s for name, s in SPECS.items() if s.wrt}


@pytest.mark.parametrize("spec,dtype", PAIRS)
def test_jit_equals_reference(spec: Spec, dtype: np.dtype) -> None:
    for case, d in spec.pairs():
        if d == dtype:
            check_jit(spec, case, dtype)


@pytest.mark.parametrize("spec", VIEWED.values(), ids=VIEWED)
def test_operands_of_every_layout(spec: Spec) -> None:
    for case in spec.cases:
        if case.layouts:
            check_layouts(spec, case, spec.main)


@pytest.mark.parametrize("spec", SMOOTH.values(), ids=SMOOTH)
def test_derivatives_under_jit(spec: Spec) -> None:
    smooth = [c for c in spec.cases if c.smooth and c.dtypes is None]
    for case, dtype in [*((c, F32) for c in smooth[:2]), *((c, C64) for c in smooth[:1])]:
        if dtype in spec.dtypes:
            check_jit_of_gradient(spec, case, dtype, 2e-5)


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.cases[0].operands], ids=lambda s: s.primitive)
def test_vmap_under_jit_is_the_loop(spec: Spec) -> None:
    case, position = spec.typical[0], list(SPECS).index(spec.primitive)
    axes = batchings(case, spec.main)
    for chosen in dict.fromkeys((axes[0], axes[position % len(axes)])):
        check_vmap(spec, case, spec.main, chosen, compiled=True)
