"""The laws of the rules, over the table of every primitive: see ``op_specs`` and ``laws``.

Finite differences of second order and the truths of SciPy, JAX and naive loops stand in the families' own tests; here
every primitive, in every dtype, and proof that a broken rule of any of them is caught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from laws import (
    batchings,
    check_eager,
    check_jvp,
    check_linear,
    check_reference,
    check_refusals,
    check_transpose,
    check_vmap,
)
from op_specs import SPECS, Spec

from fx import interning, tree
from fx.primitive import Primitive, primitive
from fx.primitives import elementwise as E
from fx.primitives.helpers import broadcast_batch
from fx.primitives.indexing import dynamic_index_in_dim
from fx.trace import bind

each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
SMOOTH = {name: s for name, s in SPECS.items() if s.wrt}
each_smooth = pytest.mark.parametrize("spec", SMOOTH.values(), ids=SMOOTH)


@each
def test_references_return_what_the_abstract_rules_say(spec: Spec) -> None:
    for case, dtype in spec.pairs():
        check_reference(spec, case, dtype)


def test_other_dtypes_are_refused() -> None:
    for spec in SPECS.values():
        check_refusals(spec)


@each_smooth
def test_jvp_is_the_difference_quotient(spec: Spec) -> None:
    for case, dtype in spec.smooth():
        check_jvp(spec, case, dtype)


@each_smooth
def test_transpose_is_the_adjoint(spec: Spec) -> None:
    for case, dtype in spec.smooth():
        check_transpose(spec, case, dtype)
        if primitive(spec.primitive).has("transpose") and case.f is None:
            check_linear(spec, case, dtype)


@each_smooth
def test_plain_grad_goes_straight_back(spec: Spec) -> None:
    went = [check_eager(spec, case, dtype) for case, dtype in spec.smooth()]
    assert all(went) or primitive(spec.primitive).has("jvp_call") or any(case.f is not None for case in spec.cases)


def check_vmaps(spec: Spec) -> None:
    for case in spec.typical:
        for axes in batchings(case, spec.main):
            check_vmap(spec, case, spec.main, axes)


@each
def test_vmap_is_the_loop(spec: Spec) -> None:
    check_vmaps(spec)


# ------------------------------------------------------------------------------------ planted faults

# A collective's equation is gone before anything is differentiated or batched from outside.
PLANTED = {name: s for name, s in SPECS.items() if s.recorded}


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What the right rule gave is kept with the graphs of loops; what the broken one gives must not be."""
    interning.forget()
    yield
    interning.forget()


def _wrong_jvp(rule: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """The rule with a tangent that is off by a thousandth."""

    def grow(t: Any) -> Any:
        return None if t is None else E.mul(t, 1.001)

    def wrong(*args: Any, **params: Any) -> Any:
        found = rule(*args, **params)
        if kind == "jvp_call":
            return found[0], [grow(t) for t in found[1]]
        return [grow(t) for t in found] if isinstance(found, list) else grow(found)

    return wrong


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("name", [n for n in PLANTED if n in SMOOTH])
def test_a_jvp_rule_that_is_off_by_a_thousandth_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prim = primitive(name)
    kind = "jvp" if prim.has("jvp") else "jvp_call"
    monkeypatch.setitem(prim._rules, kind, _wrong_jvp(prim.rule(kind), kind))
    with pytest.raises(AssertionError, match=f"jvp of {name}"):
        test_jvp_is_the_difference_quotient(SPECS[name])


def _first_cotangent_dropped(rule: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*args: Any, **params: Any) -> Any:
        found = list(rule(*args, **params))
        first = next(i for i, ct in enumerate(found) if ct is not None)
        return tuple([None if i == first else ct for i, ct in enumerate(found)])

    return wrong


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize(
    "name", [n for n in PLANTED if n in SMOOTH and primitive(n).has("transpose") and SPECS[n].cases[0].f is None]
)
def test_a_transpose_rule_that_drops_a_cotangent_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prim = primitive(name)
    monkeypatch.setitem(prim._rules, "transpose", _first_cotangent_dropped(prim.rule("transpose")))
    with pytest.raises(AssertionError, match=f"transpose of {name}"):
        test_transpose_is_the_adjoint(SPECS[name])


def _first_example_for_all(prim: Primitive) -> Callable[..., Any]:
    """A batch rule that computes the first example and repeats its result."""

    def wrong(size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        one = [x if d is None else dynamic_index_in_dim(x, 0, d, keepdims=False) for x, d in zip(args, dims)]
        out = tree.map(lambda o: broadcast_batch(o, size, 0), bind(prim, *one, **params))
        return (out, [0] * len(out)) if prim.multiple_results else (out, 0)

    return wrong


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("name", [n for n in PLANTED if SPECS[n].cases[0].operands and n != "debug_callback"])
def test_a_batch_rule_that_looks_at_one_example_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prim = primitive(name)
    monkeypatch.setitem(prim._rules, "batch", _first_example_for_all(prim))
    with pytest.raises(AssertionError, match=r"vmap\(.*\) of " + name):
        check_vmaps(SPECS[name])


def test_a_batch_rule_with_a_wrong_axis_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    prim = primitive("reduce_sum")
    right = prim.rule("batch")

    def wrong(*args: Any, **params: Any) -> Any:
        out, dim = right(*args, **params)
        return out, (dim + 1) % out.ndim

    monkeypatch.setitem(prim._rules, "batch", wrong)
    with pytest.raises(AssertionError, match="vmap"):
        check_vmaps(SPECS["reduce_sum"])


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("name,fault", [("cbrt", "dtype"), ("transpose", "shape")])
def test_a_reference_that_breaks_its_abstract_rule_is_caught(
    name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prim = primitive(name)
    right = prim.rule("impl")
    change = (lambda y: y.astype(np.float64)) if fault == "dtype" else (lambda y: y[None])
    monkeypatch.setitem(prim._rules, "impl", lambda *args, **params: change(right(*args, **params)))
    with pytest.raises(AssertionError, match=f"{name}: the reference returned"):
        test_references_return_what_the_abstract_rules_say(SPECS[name])
