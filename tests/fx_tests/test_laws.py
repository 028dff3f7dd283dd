"""The laws of the rules, over the table of every primitive: see ``op_specs`` and ``laws``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from laws import batchings, check_jvp, check_reference, check_transpose, check_vmap
from op_specs import EXACT, SPECS, Case, Spec, Tolerance

from fx import dtypes
from fx.errors import DTypeError
from fx.ir import Aval
from fx.primitive import primitive

each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
SMOOTH = {name: s for name, s in SPECS.items() if s.wrt}
each_smooth = pytest.mark.parametrize("spec", SMOOTH.values(), ids=SMOOTH)


@each
def test_references_return_what_the_abstract_rules_say(spec: Spec) -> None:
    for case, dtype in spec.pairs():
        check_reference(spec, case, dtype)


@each_smooth
def test_jvp_is_the_difference_quotient(spec: Spec) -> None:
    for case, dtype in spec.smooth():
        check_jvp(spec, case, dtype)


@each_smooth
def test_transpose_is_the_adjoint(spec: Spec) -> None:
    for case, dtype in spec.smooth():
        check_transpose(spec, case, dtype)
