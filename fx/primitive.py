"""Primitives and the strict registry of their rules.

A primitive's whole story stands in one place (its family file under ``fx/primitives/``)::

    sin_p = Primitive("sin")
    sin_p.def_abstract(lambda x: x)
    sin_p.def_impl(np.sin)
    sin_p.def_jvp(lambda primals, tangents, out: mul(tangents[0], cos(primals[0])))
    sin_p.no_transpose("not linear")
    sin_p.def_batch(elementwise_batch(sin_p))

Rules and their signatures (``vals`` are arrays or tracers; a tangent or cotangent of ``None`` is a symbolic zero):

``abstract(*avals, **params)``
    -> ``Aval`` (a tuple of them with ``multiple_results``).  Checks shapes and dtypes: operands must already
    have equal shapes and dtypes where the operation is elementwise; raises ShapeError / DTypeError / AxisError.
``impl(*ndarrays, **params)``
    -> ndarray(s): the NumPy reference.  Must return exactly the shape and dtype that ``abstract`` says.
``jvp(primals, tangents, out, **params)``
    -> tangent of the output (a list with ``multiple_results``), or None.  At least one tangent is not None.
    Integer and boolean values never have a tangent.  ``out`` is the primal result, for rules that reuse it.
``jvp_call(primals, tangents, **params)``
    -> ``(outs, tangents_out)``: in place of ``jvp`` for operations that hold a function (jit, custom rules) and
    compute the primal output along with the tangent.
``forward(arrays, wrt, **params)``
    -> ``(outs, resume)``: the primal output computed together with what ``jvp_call`` needs, which then gets it as
    ``resume``: so a call that is evaluated while it is traced for a derivative is not evaluated twice.
``transpose(ct, inputs, **params)``
    -> a tuple with one cotangent (or None, or a ``Block``) for each input.  ``inputs[i]`` is a ``Linear(aval)`` where the
    primitive is being transposed with respect to that input, and a value elsewhere.
``batch(size, args, dims, **params)``
    -> ``(out, dim)`` or, with ``multiple_results``, ``(outs, dims)``.  ``dims[i]`` is the batch axis of
    ``args[i]`` or None; at least one is not None.  ``size`` is the size of the batch axis.
``batch_named(axis, args, dims, **params)``
    -> ``(out, dim)``, for collectives over the axis that is being mapped; ``dims`` may all be None.
``expand(*avals, **params)``
    -> ``Graph``: the operation made of others, which takes its place in what is compiled.  Primitives of programs have it
    (``transforms.custom_primitive``), those that ``jit/lower`` knows have not.

Giving a rule twice raises; a rule that cannot exist is stated with its reason (``no_jvp("...")``), and the
completeness test wants one or the other for every primitive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import MissingRuleError, RegistryError
from .ir import Aval

__all__ = ["Block", "Linear", "Primitive", "all_primitives", "primitive"]

Rule = Callable[..., Any]
_registry: dict[str, Primitive] = {}


@dataclass(frozen=True, slots=True)
class Linear:
    """Stands in a transpose rule for an input with respect to which the equation is transposed."""

    aval: Aval


@dataclass(frozen=True, slots=True)
class Block:
    """A cotangent that is ``value`` at ``starts`` in an array of ``shape``, and zero elsewhere.  A transpose rule may return
    it: what it is added to says whether the zeros are ever needed (``primitives.blocks``)."""

    value: Any
    starts: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Absent:
    reason: str


class Primitive:
    """An operation that the IR knows by name.

    Args:
        name: unique name; shown in printed graphs and used to find the lowering in ``jit/lower``.
        multiple_results: the rules take and return lists of outputs.
        effect: name of the side effect of every such equation, or None.
        typed_by: the operands whose dtype the result has: it is weak if they all are ("all" of them, "rest" without
            the first, or their positions).  None: the abstract rule says itself what is weak (always with
            ``multiple_results``).
    """

    def __init__(
        self,
        name: str,
        *,
        multiple_results: bool = False,
        effect: str | None = None,
        typed_by: str | tuple[int, ...] | None = "all",
    ) -> None:
        self.name = self._registered(name)
        self.multiple_results = multiple_results
        self.effect = effect
        self.typed_by = None if multiple_results else typed_by
        self.is_constant = False  # its derivative is zero wherever it exists
        self.is_elementwise = False  # an element of its one result follows from those of the operands at its place
        self._rules: dict[str, Rule | _Absent] = {}

    call_primitive = map_primitive = False
    """Whether it takes functions in JAX's older way: none does, graphs are parameters."""

    bind: Callable[..., Any]
    """``bind(*args, **params)``: applies it to values; ``fx.trace`` installs it."""

    def get_bind_params(self, params: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """JAX's way to ask what ``bind`` takes: no functions, and the parameters."""
        return [], params

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        """By name, where it is known by it: its lowering is known of this object."""
        return (primitive, (self.name,)) if _registry.get(self.name) is self else object.__reduce_ex__(self, 2)

    def _registered(self, name: str) -> str:
        """Enters it under its name, by which ``jit`` finds the lowering."""
        if name in _registry:
            raise RegistryError(f"a primitive named {name!r} exists already; choose another name")
        _registry[name] = self
        return name

    # ------------------------------------------------------------------ giving rules

    def _give(self, kind: str, rule: Rule | _Absent) -> Rule:
        if kind in self._rules:
            raise RegistryError(f"primitive {self.name!r} already has its {kind} rule; a rule is given once")
        self._rules[kind] = rule
        return rule  # type: ignore[return-value]

    def def_abstract(self, rule: Rule) -> Rule:
        return self._give("abstract", rule)

    def def_impl(self, rule: Rule) -> Rule:
        return self._give("impl", rule)

    def def_jvp(self, rule: Rule) -> Rule:
        return self._give("jvp", rule)

    def def_jvp_call(self, rule: Rule) -> Rule:
        return self._give("jvp_call", rule)

    def def_forward(self, rule: Rule) -> Rule:
        return self._give("forward", rule)

    def def_transpose(self, rule: Rule) -> Rule:
        return self._give("transpose", rule)

    def def_batch(self, rule: Rule) -> Rule:
        return self._give("batch", rule)

    def def_batch_named(self, rule: Rule) -> Rule:
        return self._give("batch_named", rule)

    def def_expand(self, rule: Rule) -> Rule:
        return self._give("expand", rule)

    def no_gradient(self, reason: str) -> None:
        """The derivative is zero wherever it exists (floor, comparisons, integer operations)."""
        self.is_constant = True
        self._give("jvp", lambda primals, tangents, out, **params: [None] * len(out) if self.multiple_results else None)
        self._give("transpose", _Absent(f"its derivative is zero: {reason}"))

    def no_jvp(self, reason: str) -> None:
        self._give("jvp", _Absent(reason))

    def no_transpose(self, reason: str) -> None:
        self._give("transpose", _Absent(reason))

    def no_batch(self, reason: str) -> None:
        self._give("batch", _Absent(reason))

    def complete(self, kind: str, rule: Rule) -> None:
        """Gives a rule that it does not have, though its absence may have been stated."""
        if self.has(kind):
            raise RegistryError(f"primitive {self.name!r} of fx has its {kind} rule; a rule is given once")
        self._rules[kind] = rule

    def is_weak(self, weak: Sequence[bool]) -> bool:
        """True if the result is weak, for operands that are (``typed_by`` given; a bool is never weak)."""
        if isinstance(self.typed_by, str):
            by = weak if self.typed_by == "all" else weak[1:]
        else:
            by = [weak[i] for i in self.typed_by or ()]
        return bool(by) and all(by)

    # ------------------------------------------------------------------ looking rules up

    def has(self, kind: str) -> bool:
        return not isinstance(self._rules.get(kind, _Absent("")), _Absent)

    def stated(self, kind: str) -> bool:
        """True if the rule was given, or its absence was given a reason."""
        return kind in self._rules

    def rule(self, kind: str) -> Rule:
        r = self._rules.get(kind)
        if r is None:
            raise MissingRuleError(f"primitive {self.name!r} has no {kind} rule. Give it one with def_{kind}.")
        if isinstance(r, _Absent):
            raise MissingRuleError(f"primitive {self.name!r} has no {kind} rule: {r.reason}.")
        return r


def primitive(name: str) -> Primitive:
    """The registered primitive of that name."""
    try:
        return _registry[name]
    except KeyError:
        raise RegistryError(f"there is no primitive named {name!r}") from None


def all_primitives() -> dict[str, Primitive]:
    """Every registered primitive by name."""
    return dict(_registry)
