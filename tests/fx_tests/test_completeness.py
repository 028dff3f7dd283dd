"""Every primitive stands everywhere it must: its rules, the table of cases, the lowerings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from op_specs import SPECS

from fx.errors import MissingRuleError
from fx.passes.inline import CALLS
from fx.primitive import Primitive, all_primitives
from jit.lower.reductions import REDUCTIONS
from jit.lower.registry import LOWERINGS, POINTWISE
from jit.lower.shaping import SHAPING
from jit.storage import CALLBACKS

ROOT = Path(__file__).resolve().parents[2]
OURS: dict[str, Primitive] = {name: p for name, p in all_primitives().items() if name in SPECS}

# What is gone from a graph before it is compiled, and why.
NEVER_COMPILED = {
    **dict.fromkeys(CALLS, "inlined: fx.passes.inline"),
    **dict.fromkeys(
        ("psum", "pmax", "pmin", "all_gather", "axis_index"), "vmap turns it into operations on the batch axis"
    ),
    "custom_vjp_linear": "transposing it calls the user's backward rule",
}


def registered() -> set[str]:
    """The primitives of the library in a fresh process, where no test has registered its own."""
    code = "import fx, fx.primitive; [getattr(fx, n) for n in fx.__all__]; print(*fx.primitive.all_primitives())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_table_holds_every_primitive() -> None:
    assert set(SPECS) == registered()


def test_every_primitive_is_compiled_or_gone_before() -> None:
    tables = (SHAPING, REDUCTIONS, POINTWISE, LOWERINGS, dict.fromkeys(CALLBACKS), NEVER_COMPILED)
    for k, table in enumerate(tables):
        for other in tables[k + 1 :]:
            assert not set(table) & set(other), "an operation has two lowerings"
    assert set().union(*tables) == set(SPECS)


def test_every_rule_is_given_or_its_absence_explained() -> None:
    for name in SPECS:
        prim = OURS[name]
        assert prim.has("abstract") and prim.has("impl"), name
        assert prim.stated("jvp") or prim.has("jvp_call"), f"{name} states no derivative"
        assert prim.stated("transpose"), f"{name} states no transpose"
        assert prim.stated("batch"), f"{name} states no batching rule"
        for kind in ("jvp", "transpose", "batch"):
            if prim.stated(kind) and not prim.has(kind):
                with pytest.raises(MissingRuleError, match=rf"{name}.*{kind}"):
                    prim.rule(kind)


def has_derivative(prim: Primitive) -> bool:
    """Its jvp rule gives a tangent that is not always zero."""
    try:
        prim.rule("transpose")
    except MissingRuleError as absent:
        return prim.has("jvp_call") or (prim.has("jvp") and "its derivative is zero" not in str(absent))
    return True


def test_what_has_a_derivative_is_differentiated_by_the_laws() -> None:
    for name in sorted(set(SPECS) - set(NEVER_COMPILED)):
        assert bool(SPECS[name].wrt) == has_derivative(OURS[name]), name
