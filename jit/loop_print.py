"""Prints a kernel as Python.

The text is what runs: with the names of ``loop_runtime`` it executes in plain Python on NumPy arrays, and
``emit_numba`` compiles the same text.  How the types appear:

* Integers other than 64-bit ones are narrowed after wrapping arithmetic: ``i32(a*b + c)``.
* A float16 or bfloat16 value is the float32 that equals it: ``round_f16(a + b)``; ``f32_from_f16`` and
  ``f16_from_f32`` stand at loads and stores.  A boolean is a byte in memory: ``u8(a < b)``.
* A vector is a slice: ``y[i:i + 8] = fma(x[i:i + 8], w, y[i:i + 8])``.

An operation that is used more than once, or is large, gets a name (``t1 = ...``), so that lines stay short and
the text is never longer than the kernel is large.
"""

from __future__ import annotations

import functools
import keyword
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fx.errors import GraphError

from .loop_ir import (
    IMPLICIT,
    Alloc,
    Assign,
    Call,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Op,
    Place,
    Prefetch,
    Ref,
    Stmt,
    Store,
    Ty,
    While,
    f32,
    i64,
)
from .loop_runtime import NAMES, round_bf16
from .loop_walk import declared, operands, statements

_INDENT = "    "
# Python's binding powers; an operand of less power needs parentheses.
_ATOM, _UNARY, _PRODUCT, _SUM, _SHIFT, _AND, _XOR, _OR, _COMPARE, _NOT = range(10, 0, -1)
_INFIX = {
    "mul": ("*", _PRODUCT), "add": (" + ", _SUM), "sub": (" - ", _SUM), "shl": (" << ", _SHIFT), "shr": (" >> ", _SHIFT),
    "and": (" & ", _AND), "xor": (" ^ ", _XOR), "or": (" | ", _OR), "eq": (" == ", _COMPARE), "ne": (" != ", _COMPARE),
    "lt": (" < ", _COMPARE), "le": (" <= ", _COMPARE), "gt": (" > ", _COMPARE), "ge": (" >= ", _COMPARE),
}  # fmt: skip
_ASSOCIATIVE_ON_INTEGERS = ("add", "mul", "and", "or", "xor")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
# Modulo 2^n these need their operands only modulo 2^n: one narrowing at the end of a chain is enough.
_RING = ("add", "sub", "mul", "neg", "and", "or", "xor", "not", "shl")
_FUNCTIONS = {"min": "minimum", "max": "maximum", "any": "any_lane"}  # where the name is not the operation's own
# Exact on float16: no rounding behind them.
_EXACT_ON_HALVES = ("neg", "abs", "copysign", "min", "max", "minnum", "maxnum", "floor", "ceil", "trunc", "rint", "select",
                    "splat", "extract", "insert", "iota", "hmax", "hmin", "hadd", "reverse", "every_other", "interleave", "half",
                    "exchange", "compress")  # fmt: skip
_RESERVED = frozenset([*NAMES, "range", "abs", *IMPLICIT])
_SHORT_NODES = 7  # index arithmetic up to this size reads better repeated than named
_LINE_NODES = 18  # larger expressions are split into lines


def print_kernel(kernel: Kernel) -> str:
    """Executable Python with the kernel's name, its parameters and then ``lo, hi, worker``."""
    return "\n".join(_Printer(kernel).run()) + "\n"


def python_names(names: Iterable[str]) -> dict[str, str]:
    """Python variables for the kernel's names, that shadow nothing the printed text needs."""
    safe: dict[str, str] = {}
    for name in dict.fromkeys(names):
        new = name
        while keyword.iskeyword(new) or new in _RESERVED or (new != name and new in safe.values()):
            new += "_"
        safe[name] = new
    return safe


class _Printer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.named = _named(kernel.body)
        self.known: dict[int, str] = {}  # the names of the operations that are computed already
        self.lasting: list[int] = []  # keys of ``known`` that live until their block ends
        self.brief: list[int] = []  # ... until their statement ends, as they read memory or variables
        self.reads = 0  # counts readings of what can change, to tell the two apart
        self.mutable: set[str] = set()
        self.lines: list[str] = []
        self.depth = 0
        self.names = python_names([*(p.name for p in kernel.params), *declared(kernel.body)])
        self.names.update((n, n) for n in IMPLICIT)
        self.taken = set(self.names.values())
        self.temporaries = 0

    def run(self) -> list[str]:
        params = [f'{self.names[p.name]}: "{p.ty}{"*" if p.pointer else ""}"' for p in self.kernel.params]
        self.line(f"def {self.kernel.name}({', '.join([*params, *IMPLICIT])}):")
        self.block(self.kernel.body)
        return self.lines

    def line(self, text: str) -> None:
        self.lines.append(_INDENT * self.depth + text)

    # ------------------------------------------------------------------------ operations with a name

    def name(self, e: Op) -> str:
        """Computes an operation in a line of its own and returns the name it gets."""
        reads = self.reads
        text, _ = self.unnamed(e, False)
        self.temporaries += 1
        while (name := f"t{self.temporaries}") in self.taken:
            self.temporaries += 1
        self.line(f"{name} = {text}")
        self.known[id(e)] = name
        (self.lasting if self.reads == reads else self.brief).append(id(e))
        return name

    def forget(self, keys: list[int], first: int = 0) -> None:
        for key in keys[first:]:
            del self.known[key]
        del keys[first:]

    # ----------------------------------------------------------------------------------- statements

    @contextmanager
    def indented(self) -> Iterator[None]:
        first = len(self.lasting)
        self.depth += 1
        yield
        self.depth -= 1
        self.forget(self.lasting, first)

    def block(self, stmts: Sequence[Stmt]) -> None:
        with self.indented():
            for s in stmts:
                self.statement(s)
            if all(isinstance(s, (Comment, Prefetch)) for s in stmts):
                self.line("pass")

    def statement(self, s: Stmt) -> None:
        match s:
            case Let(name, value, mutable):
                self.line(f"{self.names[name]} = {self.text(value)}")
                if mutable:
                    self.mutable.add(name)
            case Assign(name, value):
                self.line(f"{self.names[name]} = {self.text(value)}")
            case Store(buf, index, value, mask, past):
                if mask is None:
                    remark = "  # past the caches" if past else ""
                    self.line(f"{self.element(buf, index, value.ty)} = {self.stored(value)}{remark}")
                else:
                    place = f"{self.names[buf]}, {self.text(index)}, {self.text(mask)}"
                    self.line(f"store_masked({place}, {self.stored(value)})")
            case For(var, start, stop, body, step, vectorize):
                steps = "" if step == 1 else f", {step}"
                remark = "  # vectorize" if vectorize else ""
                self.line(f"for {self.names[var]} in range({self.text(start)}, {self.text(stop)}{steps}):{remark}")
                self.forget(self.brief)
                self.block(body)
            case While():
                self.while_(s)
            case If(cond, then, orelse):
                self.line(f"if {self.text(cond)}:")
                self.forget(self.brief)
                self.block(then)
                if orelse:
                    self.line("else:")
                    self.block(orelse)
            case Alloc(name, ty, size):
                self.line(f"{self.names[name]} = alloc({'u8' if ty.kind == 'b' else ty}, {size})")
            case Call(function, args):
                given = [
                    f"address({self.names[a.buf]}, {self.text(a.index)})" if isinstance(a, Place) else self.text(a)
                    for a in args
                ]
                self.line(f"call({self.text(function)}, ({', '.join(given)}{',' * (len(given) == 1)}))")
            case Prefetch(buf, index, level):
                self.line(f"# prefetch {self.names[buf]}[{self.text(index)}] into L{level}")
            case Comment(text):
                for part in text.splitlines():
                    self.line(f"# {part}")
            case _:
                raise GraphError(f"{type(s).__name__} is not a statement of the loop language")
        self.forget(self.brief)

    def while_(self, s: While) -> None:
        """The condition is computed anew in each round, and so are the lines that it needs ahead of it."""
        first = len(self.lines)
        with self.indented():
            cond = self.text(s.cond)
            self.forget(self.brief)
            if len(self.lines) > first:
                self.line(f"if not ({cond}):")
                self.line(_INDENT + "break")
                cond = "True"
        self.lines.insert(first, f"{_INDENT * self.depth}while {cond}:")
        self.block(s.body)

    def element(self, buf: str, index: Expr, ty: Ty) -> str:
        if ty.lanes == 1:
            return f"{self.names[buf]}[{self.text(index)}]"
        end = index + ty.lanes
        if isinstance(index, Const):
            end = Const(index.value + ty.lanes, i64)
        return f"{self.names[buf]}[{self.text(index)}:{self.text(end)}]"

    def stored(self, e: Expr) -> str:
        """``e`` as it lies in memory."""
        text = self.text(e)
        return f"{e.ty.scalar}_from_f32({text})" if _is_half(e.ty) else f"u8({text})" if e.ty.kind == "b" else text

    # ---------------------------------------------------------------------------------- expressions

    def text(self, e: Expr, power: int = 0, raw: bool = False) -> str:
        """``e`` in Python, in parentheses if it binds less than ``power``.

        raw: the value is needed only modulo 2^bits, so no narrowing.
        """
        key = id(e)
        if key in self.named:
            if key in self.brief:
                self.reads += 1
            return self.known.get(key) or self.name(e)  # type: ignore[arg-type]
        text, own = self.unnamed(e, raw)
        return text if own >= power else f"({text})"

    def unnamed(self, e: Any, raw: bool) -> tuple[str, int]:
        kind = type(e)
        if kind is Const:
            text = _constant(e.value, e.ty.scalar)
            if e.ty.lanes > 1:
                return f"splat({text}, {e.ty.lanes})", _ATOM
            return text, _UNARY if text[0] == "-" else _ATOM
        if kind is Ref:
            self.reads += e.name in self.mutable
            return self.names[e.name], _ATOM
        if kind is Load:
            self.reads += 1
            if e.mask is None:
                text = self.element(e.buf, e.index, e.ty)
            else:
                text = f"masked({self.names[e.buf]}, {self.text(e.index)}, {self.text(e.mask)})"
            if e.ty.kind == "b":
                return f"b1({text})", _ATOM
            return f"f32_from_{e.ty.scalar}({text})" if _is_half(e.ty) else text, _ATOM
        if kind is not Op:
            raise GraphError(f"{kind.__name__} is not an expression of the loop language")
        if e.name == "cast":
            return self.cast(e.args[0], e.ty), _ATOM
        if e.name == "bitcast":
            return self.bitcast(e.args[0], e.ty), _ATOM
        return self.operation(e, raw)

    def operation(self, e: Op, raw: bool) -> tuple[str, int]:
        ty = e.ty
        narrow = ty.kind in "iu" and e.name in _RING + ("shr", "abs") and _narrows(e.name, ty)
        text, power = self.arithmetic(e, narrow and e.name in _RING)
        if narrow and not (raw and e.name in _RING):
            return f"{ty.scalar}({text})", _ATOM
        if _is_half(ty) and e.name not in _EXACT_ON_HALVES:
            return f"round_{ty.scalar}({text})", _ATOM
        return text, power

    def arithmetic(self, e: Op, raw: bool) -> tuple[str, int]:
        """The operation itself, before narrowing or rounding."""
        name, args, ty = e.name, e.args, e.ty
        if name == "div" and ty.is_float:
            return f"{self.text(args[0], _PRODUCT)}/{self.text(args[1], _PRODUCT + 1)}", _PRODUCT
        if name in _INFIX:
            symbol, power = _INFIX[name]
            associative = name in _ASSOCIATIVE_ON_INTEGERS and not ty.is_float
            left = power + 1 if name in _COMPARISONS else power  # a < b < c means something else in Python
            right = power if associative else power + 1
            a, b = self.text(args[0], left, raw), self.text(args[1], right, raw and name != "shl")
            return f"{a}{symbol}{b}", power
        match name:
            case "neg":
                return f"-{self.text(args[0], _UNARY, raw)}", _UNARY
            case "not":
                scalar = ty.kind == "b" and ty.lanes == 1
                return (
                    (f"not {self.text(args[0], _NOT)}", _NOT)
                    if scalar
                    else (f"~{self.text(args[0], _UNARY, raw)}", _UNARY)
                )
            case "abs" if ty.kind == "u":
                return self.text(args[0], _ATOM), _ATOM
            case "extract":
                return f"{self.text(args[0], _ATOM)}[{args[1].value}]", _ATOM  # type: ignore[union-attr]
            case "half" | "exchange":
                return f"{name}({self.text(args[0])}, {args[1].value})", _ATOM  # type: ignore[union-attr]
            case "insert":
                return f"insert({self.text(args[0])}, {args[1].value}, {self.text(args[2])})", _ATOM  # type: ignore[union-attr]
            case "splat":
                return f"splat({self.text(args[0])}, {ty.lanes})", _ATOM
            case "iota":
                return f"iota({f32 if _is_half(ty) else ty.scalar}, {ty.lanes})", _ATOM
            case "any" if args[0].ty.lanes == 1:
                return self.text(args[0], _ATOM), _ATOM
            case "hadd" if _is_half(ty):
                return f"hadd_{ty}({self.text(args[0])})", _ATOM
        return f"{_FUNCTIONS.get(name, name)}({', '.join(self.text(a) for a in args)})", _ATOM

    def cast(self, x: Expr, ty: Ty) -> str:
        src, dst = x.ty.scalar, ty.scalar
        if src == dst or (_is_half(src) and dst == f32):
            return self.text(x, _ATOM)
        text = self.text(x)
        if _is_half(dst):
            # float64 -> float16 rounds once; everything else goes through float32
            through = src.kind in "iu" or (src.bits == 64 and dst.kind == "bf")
            if src.kind == "b":
                return f"f32({text})"
            return f"round_{dst}({f'f32({text})' if through else text})"
        if dst.kind in "iu" and src.is_float:
            return f"sat_{dst}({text})"
        return f"{dst}({text})"

    def bitcast(self, x: Expr, ty: Ty) -> str:
        src, dst = x.ty.scalar, ty.scalar
        if src == dst:
            return self.text(x, _ATOM)
        if "b" in (src.kind, dst.kind):
            return f"{dst}({self.text(x)})"
        text = f"{src}_from_f32({self.text(x)})" if _is_half(src) else self.text(x)
        if src.bits == dst.bits and src.kind in "iu" and dst.kind in "iu":
            return f"{dst}({text})"
        text = f"bitcast({text}, {dst})"
        return f"f32_from_{dst}({text})" if _is_half(dst) else text


def _is_half(ty: Ty) -> bool:
    return ty.is_float and ty.bits == 16


def _narrows(name: str, ty: Ty) -> bool:
    """Python's (or Numba's) result of the operation can be wider than ``ty``."""
    return ty.bits < 64 or (name in ("neg", "not") and ty.kind == "u")


def _named(stmts: Sequence[Stmt]) -> set[int]:
    """The operations that get a line of their own, by id: those used more than once, but for short index
    arithmetic, and those that would make a line too long."""
    order: dict[int, Expr] = {}  # parents before children
    named: set[int] = set()
    stack = [e for s in statements(stmts) for e in operands(s)]
    while stack:
        e = stack.pop()
        if not isinstance(e, (Op, Load)):
            continue
        if id(e) not in order:
            order[id(e)] = e
            stack += operands(e)
        else:
            named.add(id(e) if isinstance(e, Op) else id(e.index))
    sizes: dict[int, int] = {}  # nodes when written in full; a child used twice may come too late, but is named
    result: set[int] = set()
    for key, e in reversed(order.items()):
        size = 1 + sum(sizes.get(id(c), 1) for c in operands(e))
        short = size <= _SHORT_NODES and e.ty == i64
        if isinstance(e, Op) and (size > _LINE_NODES or (key in named and not short)):
            result.add(key)
            size = 1
        sizes[key] = size
    return result


def _constant(value: Any, ty: Ty) -> str:
    return _nonzero_constant(value, ty) if value else _scalar_constant(value, ty)  # 0.0 and -0.0 are equal keys


def _scalar_constant(value: Any, ty: Ty) -> str:
    if ty.kind == "b":
        return str(bool(value))
    if ty.kind in "iu":
        bits = int(value) & ((1 << ty.bits) - 1)
        number = bits - (1 << ty.bits) if ty.kind == "i" and bits >> (ty.bits - 1) else bits
        return str(number) if ty == i64 else f"{ty}({number})"
    with np.errstate(over="ignore"):
        if ty.kind == "bf":
            value = round_bf16(np.float32(value))
        else:
            value = {16: np.float16, 32: np.float32, 64: np.float64}[ty.bits](value)
    if math.isnan(value) or math.isinf(value):
        digits = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    else:
        digits = str(value)  # the shortest that rounds back to it
    if ty.bits == 16:
        return f"f32({repr(float(value)) if math.isfinite(value) else digits})"
    return f"{ty}({digits})"


_nonzero_constant = functools.lru_cache(4096)(_scalar_constant)
