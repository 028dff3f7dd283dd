"""Primitives of a program's own, whose rules have the form that JAX gives them.

A ``CustomPrimitive`` is a primitive like any other: each of its rules here calls the one that the program gave, and says in
JAX's way what is zero (``Zero``), what is transposed (``UndefinedPrimal``) and where batch axes are.  ``jit/lower`` does not
know it.  Compiled programs hold in its place what ``mlir.lower_fun(f)`` was given, traced for the types of the equation, or
else, where there is none, a call of the Python function that ``def_impl`` was given; ``explain()`` shows that call.

The rules are given as ``p.def_impl(f)``, ``p.def_abstract_eval(f)``, and in the tables of ``fx.interpreters``
(``ad.primitive_jvps[p] = f`` ...), which read the rules of fx's own primitives in the same form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array, to_numpy
from ..dtypes import float0
from ..errors import DTypeError, MissingRuleError, RegistryError
from ..ir import Aval, Graph, aval_of_array
from ..primitive import Linear, Primitive, all_primitives
from ..primitives.callbacks import io_callback_p, pure_callback_p
from ..trace import aval_of, bind, concrete_value, eval_graph, recording_builder, state, trace_flat
from .custom_call import SymbolicZero, tangent_type

__all__ = ["CustomPrimitive", "RuleTable", "UndefinedPrimal", "Zero", "batchers", "jvps", "transposes"]

Given = Callable[..., Any]


class Zero(SymbolicZero):
    """A tangent or cotangent that is zero, of type ``aval``; a pytree without leaves."""


class UndefinedPrimal:
    """Stands in a transpose rule for an operand of type ``aval`` that the equation is linear in; a pytree without leaves."""

    __slots__ = ("aval",)

    def __init__(self, aval: Aval) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"UndefinedPrimal({self.aval})"


tree.register_pytree_node(Zero, lambda z: ((), z.aval), lambda aval, _: Zero(aval))
tree.register_pytree_node(UndefinedPrimal, lambda u: ((), u.aval), lambda aval, _: UndefinedPrimal(aval))


def _zero_of(x: Any) -> Zero:
    """The zero tangent of a value, or of values of a type."""
    return Zero(tangent_type(x if type(x) is Aval else aval_of(x)))


def _present(t: Any) -> Any:
    """A tangent or cotangent that a rule returned; None where it is zero."""
    if t is None or isinstance(t, SymbolicZero) or (isinstance(t, np.ndarray) and t.dtype == float0):
        return None
    return t


def _outputs(prim: Primitive, out: Any) -> Sequence[Any]:
    return out if prim.multiple_results else (out,)


def _type_of(x: Any) -> Aval:
    """What an abstract rule returned, as a type."""
    return x if type(x) is Aval else Aval(tuple(x.shape), np.dtype(x.dtype), bool(getattr(x, "weak_type", False)))


def _numbered(a: Aval) -> Aval:
    """The type with plain numbers for sizes: a rule of the program's is written for those."""
    return a if all(type(n) is int for n in a.shape) else a.with_(shape=tuple([int(n) for n in a.shape]))


# ------------------------------------------------------------- a rule in JAX's form, in that of fx


def _jvp_of(
    prim: Primitive, rule: Given, primals: Sequence[Any], tangents: Sequence[Any], /, **params: Any
) -> tuple[list[Any], list[Any]]:
    zeros = [_zero_of(p) if t is None else t for p, t in zip(primals, tangents)]
    out, t_out = rule(primals, zeros, **params)
    return list(_outputs(prim, out)), [_present(t) for t in _outputs(prim, t_out)]


def _transpose_of(prim: Primitive, rule: Given, ct: Any, inputs: Sequence[Any], /, **params: Any) -> tuple[Any, ...]:
    if prim.multiple_results:
        avals = [x.aval if type(x) is Linear else aval_of(x) for x in inputs]
        ct = [_zero_of(a) if c is None else c for c, a in zip(ct, prim.rule("abstract")(*avals, **params))]
    found = rule(ct, *[UndefinedPrimal(x.aval) if type(x) is Linear else x for x in inputs], **params)
    return tuple([_present(c) for c in found])


def _batch_of(
    prim: Primitive, rule: Given, size: int, args: Sequence[Any], dims: Sequence[int | None], /, **params: Any
) -> tuple[Any, Any]:
    outs, out_dims = rule(state.mapped[-1], args, dims, **params)
    return (list(outs), list(out_dims)) if prim.multiple_results else (outs, out_dims)


_ADAPTED: dict[str, Callable[..., Any]] = {"jvp": _jvp_of, "transpose": _transpose_of, "batch": _batch_of}


class _PrimitiveType(type):
    """All primitives are instances of ``CustomPrimitive`` to ``isinstance``: it is what programs know as ``Primitive``."""

    def __instancecheck__(cls, x: Any) -> bool:
        return issubclass(type(x), Primitive)


class CustomPrimitive(Primitive, metaclass=_PrimitiveType):
    """An operation that a program defines: ``fx.extend.core.Primitive(name)``.

    Without further rules it can be applied to values (``p.bind(x)``).  ``def_abstract_eval`` lets it be traced,
    ``ad.primitive_jvps[p]`` differentiated, ``ad.primitive_transposes[p]`` transposed, ``batching.primitive_batchers[p]``
    mapped, ``mlir.register_lowering(p, mlir.lower_fun(f))`` compiled; without the last one a compiled program calls ``impl``.

    Args:
        name: what graphs show.  Where fx has a primitive of that name, an underscore is appended.

    ``multiple_results`` is set to True for an operation whose rules take and return lists of results.

    >>> import fx, fx.numpy as fnp
    >>> from fx.interpreters import ad, batching, mlir
    >>> scaled_sin_p = fx.extend.core.Primitive("scaled_sin")
    >>> f = scaled_sin_p.def_impl(lambda x, *, scale: fnp.sin(scale * x))
    >>> _ = scaled_sin_p.def_abstract_eval(lambda x, *, scale: x)
    >>> mlir.register_lowering(scaled_sin_p, mlir.lower_fun(f, multiple_results=False))
    >>> ad.defjvp(scaled_sin_p, lambda t, x, *, scale: t * scale * fnp.cos(scale * x))
    >>> fx.jit(fx.grad(lambda x: scaled_sin_p.bind(x, scale=2.0)))(0.0)
    Array(2., dtype=float32, weak_type=True)
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, typed_by=None)
        self.given: dict[str, Given] = {}
        self.def_abstract(self._abstract)
        super().def_impl(self._evaluated)
        self.def_jvp_call(self._jvp)
        self.def_transpose(self._transpose)
        self.def_batch(self._batch)
        self.def_expand(self._expand)

    def _registered(self, name: str) -> str:
        return f"{name}_" if name in all_primitives() else name

    def __reduce__(self) -> Any:
        return _made_again, (self.name, self.multiple_results, self.effect, self.given)

    def bind(self, /, *args: Any, **params: Any) -> Any:
        """Applies it: evaluates it, which needs no rule but ``def_impl``'s, or records it."""
        if recording_builder(args) is not None or "axis_name" in params:
            return bind(self, *args, **params)
        out = self._run(
            [x if type(x) is Array else Array(np.asarray(concrete_value(x)), aval_of(x).weak) for x in args], params
        )
        values = [o if type(o) is Array else Array(to_numpy(o)) for o in _outputs(self, out)]
        return values if self.multiple_results else values[0]

    # ------------------------------------------------------------------ what the program gives

    def def_impl(self, rule: Given) -> Given:  # type: ignore[override]
        """``rule(*arrays, **params)``: the result(s), from arrays."""
        self.given["impl"] = rule
        return rule

    def def_abstract_eval(self, rule: Given) -> Given:
        """``rule(*avals, **params)``: the type(s) of the result(s), a ``ShapedArray``, from those of the operands."""
        self.given["abstract_eval"] = rule
        return rule

    def def_effectful_abstract_eval(self, rule: Given) -> Given:
        """``rule(*avals, **params)``: a pair, the type(s) as for ``def_abstract_eval``, and the effects.  It is never dropped."""
        self.effect = "custom"
        return self.def_abstract_eval(lambda *avals, **params: rule(*avals, **params)[0])

    @property
    def impl(self) -> Given:
        """What ``def_impl`` was given."""
        return self._needs("impl", "p.def_impl(lambda *arrays, **params: ...)")

    def _needs(self, kind: str, how: str) -> Given:
        try:
            return self.given[kind]
        except KeyError:
            raise MissingRuleError(f"primitive {self.name!r} has no {kind} rule. Give it one: {how}.") from None

    # ------------------------------------------------------------------ the rules of fx

    def _abstract(self, /, *avals: Aval, **params: Any) -> Any:
        rule = self._needs("abstract_eval", "p.def_abstract_eval(lambda *avals, **params: ...)")
        out = rule(*[_numbered(a) for a in avals], **params)
        return tuple([_type_of(o) for o in out]) if self.multiple_results else _type_of(out)

    def _run(self, arrays: Sequence[Array], params: dict[str, Any]) -> Any:
        """What ``impl`` makes of arrays; it belongs to no trace that is going on around it."""
        rule = self.given.get("impl") or self.given.get("lowering") or self.impl
        outer, state.absorbing = state.absorbing, []
        try:
            return rule(*arrays, **params)
        finally:
            state.absorbing = outer

    def _evaluated(self, /, *arrays: np.ndarray, **params: Any) -> Any:
        out = self._run([Array(a) for a in arrays], params)
        return [to_numpy(o) for o in out] if self.multiple_results else to_numpy(out)

    def _jvp(self, primals: Sequence[Any], tangents: Sequence[Any], /, **params: Any) -> Any:
        rule = self._needs("jvp", "ad.primitive_jvps[p] = lambda primals, tangents, **params: (out, tangent)")
        return _jvp_of(self, rule, primals, tangents, **params)

    def _transpose(self, ct: Any, inputs: Sequence[Any], /, **params: Any) -> tuple[Any, ...]:
        rule = self._needs("transpose", "ad.primitive_transposes[p] = lambda ct, *operands, **params: cotangents")
        return _transpose_of(self, rule, ct, inputs, **params)

    def _batch(self, size: int, args: Sequence[Any], dims: Sequence[int | None], /, **params: Any) -> tuple[Any, Any]:
        rule = self._needs("batch", "batching.primitive_batchers[p] = lambda args, dims, **params: (out, dim)")
        return _batch_of(self, rule, size, args, dims, **params)

    def _expand(self, /, *avals: Aval, **params: Any) -> Graph:
        lowering = self.given.get("lowering")
        if lowering is None:
            return self._called(avals, params)
        graph, constants = trace_flat(
            lambda *xs: _outputs(self, lowering(*xs, **params)), avals, kind="lowering", name=self.name
        )
        if not constants:
            return graph
        types = [aval_of(c) for c in constants]
        values = [to_numpy(c) for c in constants]

        def closed(*xs: Any) -> list[Any]:  # a graph holds no arrays: the program asks for them
            found = bind(pure_callback_p, callback=lambda: values, out_avals=tuple(types), vmap_method=None)
            return eval_graph(graph, [*xs, *found])

        return trace_flat(closed, avals, kind="lowering", name=self.name)[0]

    def _called(self, avals: Sequence[Aval], params: dict[str, Any]) -> Graph:
        """A call of ``impl`` from the compiled program."""
        self._needs("impl", "p.def_impl(f), or a lowering: mlir.register_lowering(p, mlir.lower_fun(f))")
        types = tuple(_outputs(self, self._abstract(*avals, **params)))

        def call(*arrays: np.ndarray) -> list[np.ndarray]:
            found = self._evaluated(*arrays, **params)
            return [self._announced(o, a) for o, a in zip(_outputs(self, found), types, strict=True)]

        def f(*xs: Any) -> Any:
            if self.effect:
                return bind(io_callback_p, *xs, callback=call, out_avals=types, ordered=True)
            return bind(pure_callback_p, *xs, callback=call, out_avals=types, vmap_method=None)

        return trace_flat(f, avals, kind="lowering", name=self.name)[0]

    def _announced(self, x: np.ndarray, a: Aval) -> np.ndarray:
        if x.shape == a.shape and x.dtype.kind == a.dtype.kind:
            return x.astype(a.dtype, copy=False)
        raise DTypeError(
            f"the impl of primitive {self.name!r} returned {aval_of_array(x.shape, x.dtype)}; its abstract_eval rule says {a}"
        )


def _made_again(name: str, multiple_results: bool, effect: str | None, given: dict[str, Given]) -> CustomPrimitive:
    """A primitive in another process."""
    p = CustomPrimitive(name)
    p.multiple_results, p.effect, p.given = multiple_results, effect, given
    return p


# ------------------------------------------------------------------------------- tables of rules


class RuleTable(MutableMapping[Primitive, Given]):
    """The rules of one kind, by primitive.  A primitive of fx can be given one that it does not have.

    Args:
        kind: what ``CustomPrimitive.given`` calls it.
        of_native: the rule of a primitive of fx in JAX's form, None where it has none.
    """

    def __init__(
        self,
        kind: str,
        of_native: Callable[[Primitive], Given | None],
        stored: Callable[[Given], Given] = lambda rule: rule,
    ) -> None:
        self.kind, self._of_native, self._stored = kind, of_native, stored

    def __setitem__(self, prim: Primitive, rule: Given) -> None:
        rule = self._stored(rule)
        if issubclass(type(prim), CustomPrimitive):
            prim.given[self.kind] = rule  # type: ignore[attr-defined]
        elif self.kind == "jvp" and prim.has("jvp"):
            prim.complete("jvp", rule)  # raises
        else:
            kind = "jvp_call" if self.kind == "jvp" else self.kind
            prim.complete(kind, functools.partial(_ADAPTED[self.kind], prim, rule))

    def __getitem__(self, prim: Primitive) -> Given:
        if issubclass(type(prim), CustomPrimitive):
            return prim.given[self.kind]  # type: ignore[attr-defined, no-any-return]
        rule = self._of_native(prim)
        if rule is None:
            raise KeyError(prim)
        return rule

    def __delitem__(self, prim: Primitive) -> None:
        if not issubclass(type(prim), CustomPrimitive):
            raise RegistryError(f"{prim!r} is a primitive of fx, whose rules stay")
        del prim.given[self.kind]  # type: ignore[attr-defined]

    def __contains__(self, prim: object) -> bool:
        try:
            self[prim]  # type: ignore[index]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[Primitive]:
        return (p for p in all_primitives().values() if p in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _native_jvp(prim: Primitive) -> Given | None:
    if not (prim.has("jvp") or prim.has("jvp_call")):
        return None

    def rule(primals: Sequence[Any], tangents: Sequence[Any], /, **params: Any) -> tuple[Any, Any]:
        ts = [_present(t) for t in tangents]
        if prim.has("jvp_call") and any(t is not None for t in ts):
            outs, t_outs = prim.rule("jvp_call")(primals, ts, **params)
        else:
            out = prim.bind(*primals, **params)
            outs, t_outs = _outputs(prim, out), [None] * len(_outputs(prim, out))
            if any(t is not None for t in ts):
                t_outs = _outputs(prim, prim.rule("jvp")(primals, ts, out, **params))
        pair = list(outs), [_zero_of(o) if t is None else t for o, t in zip(outs, t_outs)]
        return pair if prim.multiple_results else (pair[0][0], pair[1][0])

    return rule


def _native_transpose(prim: Primitive) -> Given | None:
    if not prim.has("transpose"):
        return None

    def rule(ct: Any, *operands: Any, **params: Any) -> Any:
        cts = [_present(c) for c in ct] if prim.multiple_results else _present(ct)
        inputs = [Linear(x.aval) if type(x) is UndefinedPrimal else x for x in operands]
        found = prim.rule("transpose")(cts, inputs, **params)
        return [
            None if type(x) is not UndefinedPrimal else _zero_of(x.aval) if c is None else c
            for c, x in zip(found, operands)
        ]

    return rule


def _native_batch(prim: Primitive) -> Given | None:
    if not prim.has("batch"):
        return None

    def rule(axis: Any, args: Sequence[Any], dims: Sequence[int | None], /, **params: Any) -> Any:
        return prim.rule("batch")(axis.size, args, dims, **params)

    return rule


jvps = RuleTable("jvp", _native_jvp)
transposes = RuleTable("transpose", _native_transpose)
batchers = RuleTable("batch", _native_batch)  # rule(axis, args, dims, **params); ``axis`` has a size and a name
