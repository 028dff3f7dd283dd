"""Identities: equations that do nothing, choices between one thing, and pairs of operations that are one.

Arithmetic with a neutral element goes only where no bit can change: ``x * 1`` and ``x / 1``, ``x + (-0.0)`` and
``x - 0.0``.  ``x + 0.0`` stays, which turns -0.0 into 0.0, and so does all complex arithmetic: the products of a
complex multiplication by 1 turn an infinity into NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import is_complex, is_float
from ..ir import Atom, Eqn, Graph, Literal, Var
from ..primitive import all_primitives
from .rewrite import Substitution

__all__ = ["simplify"]

_ALIASES = ("copy", "stop_gradient", "name")


def _same_shape(e: Eqn) -> bool:
    return e.inputs[0].aval.shape == e.outputs[0].aval.shape


# primitive -> does this equation return its first operand unchanged?
_IDENTITIES: dict[str, Callable[[Eqn], bool]] = {
    **{name: lambda e: True for name in _ALIASES},
    "reshape": _same_shape,
    "squeeze": _same_shape,
    "expand_dims": _same_shape,
    "slice": _same_shape,
    "transpose": lambda e: e.params["permutation"] == tuple(range(len(e.params["permutation"]))),
    "broadcast_in_dim": _same_shape,
    "convert_element_type": lambda e: e.inputs[0].aval.dtype == e.outputs[0].aval.dtype,
    "rev": lambda e: all(e.inputs[0].aval.shape[d] <= 1 for d in e.params["dimensions"]),
    "concatenate": lambda e: len(e.inputs) == 1,
    "reduce_sum": lambda e: not e.params["axes"],
    "reduce_max": lambda e: not e.params["axes"],
    "reduce_min": lambda e: not e.params["axes"],
    "reduce_prod": lambda e: not e.params["axes"],
    "pad": lambda e: all(c == (0, 0, 0) for c in e.params["padding_config"]),
    "integer_pow": lambda e: e.params["y"] == 1,
}

# primitive -> the scalar that changes nothing as its second operand (of floats; of integers it is the same number)
_NEUTRAL = {"mul": 1.0, "div": 1.0, "add": -0.0, "sub": 0.0}
_COMMUTE = ("mul", "add")

_RESHAPES = ("reshape", "squeeze", "expand_dims")


def _merge(e: Eqn, first: Eqn, prims: dict[str, Any]) -> Eqn | None:
    """``e`` applied to the result of ``first`` as one equation, or None."""
    if e.prim.name == "transpose" and first.prim.name == "transpose":
        p, q = e.params["permutation"], first.params["permutation"]
        return e.replace(inputs=first.inputs, params={"permutation": tuple(q[i] for i in p)})
    if e.prim.name in _RESHAPES and first.prim.name in _RESHAPES and "reshape" in prims:
        shape = e.outputs[0].aval.shape
        return e.replace(prim=prims["reshape"], inputs=first.inputs, params={"new_sizes": shape})
    if e.prim.name == "neg" and first.prim.name == "neg":
        return e.replace(prim=prims["copy"], inputs=first.inputs, params={}) if "copy" in prims else None
    if e.prim.name == "abs" and first.prim.name == "neg" and _is_signed(e.inputs[0].aval.dtype):
        return e.replace(inputs=first.inputs)  # the sigmoids of x and -x have the same exponential then
    return None


def _is_signed(dtype: np.dtype) -> bool:
    """Whether numbers and their negatives have the same magnitude: those of unsigned integers have not."""
    return is_float(dtype) or dtype.kind == "i"


def simplify(g: Graph) -> Graph:
    """Removes identities (copies, reshapes to the same shape, x * 1 ...) and merges transposes, reshapes and changes of sign."""
    from_primitive = _primitives()
    sub, out = Substitution(), []
    made: dict[Var, Eqn] = {}
    for e in g.eqns:
        e = sub.apply(e)
        while len(e.inputs) == 1 and type(e.inputs[0]) is Var and e.inputs[0] in made and not _is_identity(e):
            merged = _merge(e, made[e.inputs[0]], from_primitive)
            if merged is None:
                break
            e = merged
        replacement = e.inputs[0] if _is_identity(e) else _only_case(e) or _beside_neutral(e, made)
        if replacement is not None and replacement.aval.same_type(e.outputs[0].aval):
            sub.map[e.outputs[0]] = replacement
            continue
        out.append(e)
        if len(e.outputs) == 1:
            made[e.outputs[0]] = e
    return sub.finish(g, out)


def _is_identity(e: Eqn) -> bool:
    rule = _IDENTITIES.get(e.prim.name)
    return rule is not None and not e.effect and rule(e)


def _only_case(e: Eqn) -> Atom | None:
    """The operand that a choice between several times the same one returns, or None."""
    if e.prim.name != "select_n":
        return None
    first, *others = e.inputs[1:]
    return first if all(x is first for x in others) else None


def _beside_neutral(e: Eqn, made: dict[Var, Eqn]) -> Atom | None:
    """The operand that the equation returns unchanged because the other one is neutral, or None."""
    neutral = _NEUTRAL.get(e.prim.name)
    if neutral is None or is_complex(e.outputs[0].aval.dtype):
        return None
    x, y = e.inputs
    if _is_scalar(y, neutral, made):
        return x
    return y if e.prim.name in _COMMUTE and _is_scalar(x, neutral, made) else None


def _is_scalar(a: Atom, value: float, made: dict[Var, Eqn]) -> bool:
    """True if the operand is the literal ``value``, or an array of it; 0.0 and -0.0 are told apart."""
    if type(a) is Var and a in made and made[a].prim.name == "broadcast_in_dim":
        a = made[a].inputs[0]
    if type(a) is not Literal or a.value != value:
        return False
    return not is_float(a.aval.dtype) or bool(np.signbit(a.value) == np.signbit(value))


def _primitives() -> dict[str, Any]:
    registered = all_primitives()
    return {name: registered[name] for name in ("reshape", "copy") if name in registered}
