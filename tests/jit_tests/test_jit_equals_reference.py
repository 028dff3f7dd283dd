"""Law 1, jit changes nothing but time, over the table of every primitive: see ``op_specs`` and ``laws``."""

from __future__ import annotations

import numpy as np
import pytest
from laws import batchings, check_jit, check_jit_of_gradient, check_layouts, check_vmap
from op_specs import SPECS, Spec

PAIRS = [pytest.param(s, d, id=f"{name}-{d}") for name, s in SPECS.items() for d in s.dtypes]
each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@pytest.mark.parametrize("spec,dtype", PAIRS)
def test_jit_equals_reference(spec: Spec, dtype: np.dtype) -> None:
    for case, d in spec.pairs():
        if d == dtype:
            check_jit(spec, case, dtype)
