"""Checks a kernel: scopes, assignments, and the type of every node.

``verify_kernel`` raises ``GraphError`` with the path to the offending node, such as
``axpy.for i.store y.value.add[1]``.  What passes here compiles: the emitters rely on it and check nothing.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NoReturn

from fx.errors import GraphError

from .loop_ir import (
    IMPLICIT,
    OPS,
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
    b1,
    i64,
)

MAX_ALLOC_BYTES = 64 << 10  # worker threads have small stacks
MAX_LANES = 64
_BITS = {"f": (16, 32, 64), "bf": (16,), "i": (8, 16, 32, 64), "u": (8, 16, 32, 64), "b": (1,)}

# Operand kinds of the operations whose operands and result have one common type.
_NUMBER, _FLOAT, _INTEGER, _BITWISE, _ORDERED = ("fiu", "f", "iu", "iub", "fiub")
_SAME_TYPE = {
    **dict.fromkeys(("add", "sub", "mul", "div", "rem", "neg", "abs", "minnum", "maxnum"), _NUMBER),
    **dict.fromkeys(("fma", "scale", "sqrt", "floor", "ceil", "trunc", "rint", "copysign"), _FLOAT),
    **dict.fromkeys(("shl", "shr", "popcount", "clz", "ipow", "gcd"), _INTEGER),
    **dict.fromkeys(("and", "or", "xor", "not"), _BITWISE),
    **dict.fromkeys(("min", "max"), _ORDERED),
}
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_HORIZONTAL = {"hadd": _NUMBER, "hmax": _NUMBER, "hmin": _NUMBER}


def verify_kernel(kernel: Kernel) -> None:
    """Raises GraphError unless ``kernel`` is well formed."""
    _Verifier(kernel).run()


class _Verifier:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.path: list[str | tuple[str, int]] = [str(kernel.name)]  # a failure leaves it as it stands
        self.locals: dict[str, Ty] = dict.fromkeys(IMPLICIT, i64)
        self.buffers: dict[str, Ty] = {}
        self.mutable: set[str] = set()
        self.scope: list[str] = []  # names declared by the open blocks
        self.ever: dict[str, tuple[str, Ty]] = {}  # every name of the kernel, its kind and type
        self.checked: list[Expr] = []  # expressions found right in the open blocks
        self.checked_ids: set[int] = set()
        self.types: set[Any] = set()  # types found right

    def fail(self, message: str) -> NoReturn:
        steps = [p if isinstance(p, str) else f"{p[0]}[{p[1]}]" for p in self.path]
        raise GraphError(f"{'.'.join(steps)}: {message}")

    def expect(self, condition: bool, message: str) -> None:
        if not condition:
            self.fail(message)

    @contextmanager
    def at(self, step: str) -> Iterator[None]:
        self.path.append(step)
        yield
        self.path.pop()

    def run(self) -> None:
        k = self.kernel
        self.expect(isinstance(k, Kernel), f"{type(k).__name__} is not a Kernel")
        proper = isinstance(k.name, str) and k.name.isidentifier() and not keyword.iskeyword(k.name)
        self.expect(proper, "a kernel's name is an identifier and no keyword")
        for p in k.params:
            with self.at(f"parameter {p.name}"):
                self.type(p.ty)
                self.expect(p.ty.lanes == 1, "a pointer's elements are scalars")
                self.expect(p.pointer or p.ty == i64, f"a parameter that is no pointer is an i64, not {p.ty}")
                self.declare(p.name, p.ty, "buffer" if p.pointer else "integer")
        self.block(k.body)

    # ---------------------------------------------------------------------------------------- names

    def declare(self, name: str, ty: Ty, kind: str) -> None:
        if not (isinstance(name, str) and name.isidentifier()):
            self.fail(f"{name!r} is not an identifier")
        if name in self.locals or name in self.buffers:
            self.fail(f"{name!r} is declared already; names are unique within their scope")
        before = self.ever.setdefault(name, (kind, ty))
        if before != (kind, ty):  # the printed Python has one scope, so a name cannot change its type
            self.fail(f"{name!r} was a {before[0]} of {before[1]} in another block")
        (self.buffers if kind == "buffer" else self.locals)[name] = ty
        self.scope.append(name)

    @contextmanager
    def scoped(self) -> Iterator[None]:
        names, known = len(self.scope), len(self.checked)
        yield
        for name in self.scope[names:]:
            self.locals.pop(name, None)
            self.buffers.pop(name, None)
            self.mutable.discard(name)
        self.checked_ids.difference_update(id(e) for e in self.checked[known:])
        del self.scope[names:], self.checked[known:]

    def buffer(self, name: str, ty: Ty) -> None:
        if name not in self.buffers:
            self.fail(f"no buffer {name!r} is visible here")
        found = self.buffers[name]
        if ty.scalar != found:
            self.fail(f"{name!r} holds {found}, not {ty.scalar}")

    def type(self, ty: Any) -> None:
        if ty in self.types:
            return
        self.expect(isinstance(ty, Ty), f"{ty!r} is not a Ty")
        self.expect(ty.bits in _BITS.get(ty.kind, ()), f"there is no type {ty.kind}{ty.bits}")
        power_of_two = ty.lanes >= 1 and ty.lanes & (ty.lanes - 1) == 0
        self.expect(power_of_two and ty.lanes <= MAX_LANES, f"{ty.lanes} lanes: not a power of two up to {MAX_LANES}")
        self.types.add(ty)

    # ----------------------------------------------------------------------------------- statements

    def block(self, stmts: Sequence[Stmt]) -> None:
        with self.scoped():
            for s in stmts:
                self.statement(s)

    def statement(self, s: Stmt) -> None:
        match s:
            case Let(name, value, mutable):
                with self.at(f"let {name}"):
                    self.declare(name, self.expr(value), "variable" if mutable else "value")
                    if mutable:
                        self.mutable.add(name)
            case Assign(name, value):
                with self.at(f"assign {name}"):
                    self.expect(name in self.locals, f"no local {name!r} is visible here")
                    self.expect(name in self.mutable, f"{name!r} is immutable: declare it with Let(..., mutable=True)")
                    self.typed(value, self.locals[name], "value")
            case Store(buf, index, value, mask):
                with self.at(f"store {buf}"):
                    self.typed(index, i64, "index")
                    with self.at("value"):
                        self.buffer(buf, self.expr(value))
                    if mask is not None:
                        self.typed(mask, b1.vector(value.ty.lanes), "mask")
            case For(var, start, stop, body, step, _):
                with self.at(f"for {var}"):
                    self.typed(start, i64, "start")
                    self.typed(stop, i64, "stop")
                    self.expect(isinstance(step, int) and step > 0, f"the step is a positive int, not {step!r}")
                    with self.scoped():
                        self.declare(var, i64, "index")
                        self.block(body)
            case While(cond, body):
                with self.at("while"):
                    self.typed(cond, b1, "cond")
                    self.block(body)
            case If(cond, then, orelse):
                with self.at("if"):
                    self.typed(cond, b1, "cond")
                    self.block(then)
                    with self.at("else"):
                        self.block(orelse)
            case Alloc(name, ty, size):
                with self.at(f"alloc {name}"):
                    self.type(ty)
                    self.expect(ty.lanes == 1, "a scratch array's elements are scalars")
                    self.expect(isinstance(size, int) and size > 0, f"the size is a positive int, not {size!r}")
                    self.expect(
                        size * ty.itemsize <= MAX_ALLOC_BYTES,
                        f"{size} elements are more than {MAX_ALLOC_BYTES} bytes: take a scratch pointer instead",
                    )
                    self.declare(name, ty, "buffer")
            case Call(function, args):
                with self.at("call"):
                    self.typed(function, i64, "function")
                    for k, a in enumerate(args):
                        if isinstance(a, Place):
                            self.expect(a.buf in self.buffers, f"no buffer {a.buf!r} is visible here")
                        self.typed(a.index if isinstance(a, Place) else a, i64, f"argument {k}")
            case Prefetch(buf, index, level):
                with self.at(f"prefetch {buf}"):
                    self.expect(1 <= level <= 3, f"no cache has level {level}")
                    self.expect(buf in self.buffers, f"no buffer {buf!r} is visible here")
                    self.typed(index, i64, "index")
            case Comment(text):
                self.expect(isinstance(text, str), "a comment is a string")
            case _:
                self.fail(f"{type(s).__name__} is not a statement of the loop language")

    # ---------------------------------------------------------------------------------- expressions

    def typed(self, e: Expr, ty: Ty, role: str) -> None:
        self.path.append(role)
        found = self.expr(e)
        if found != ty:
            self.fail(f"expected {ty}, found {found}")
        self.path.pop()

    def expr(self, e: Expr) -> Ty:
        """Checks ``e`` and returns its type.  (Kernels are thousands of these: no message is made before it is needed.)"""
        if id(e) in self.checked_ids:
            return e.ty
        match e:
            case Const():
                self.type(e.ty)
                self.constant(e.value, e.ty)
            case Ref():
                if e.name not in self.locals:
                    self.fail(f"no local {e.name!r} is visible here")
                if e.ty != self.locals[e.name]:
                    self.fail(f"{e.name!r} is {self.locals[e.name]}, read as {e.ty}")
            case Load():
                self.path.append(f"load {e.buf}")
                self.type(e.ty)
                self.buffer(e.buf, e.ty)
                self.typed(e.index, i64, "index")
                if e.mask is not None:
                    self.typed(e.mask, b1.vector(e.ty.lanes), "mask")
                self.path.pop()
            case Op():
                self.op(e.name, e.args, e.ty)
            case _:
                self.fail(f"{type(e).__name__} is not an expression of the loop language")
        self.checked.append(e)
        self.checked_ids.add(id(e))
        return e.ty

    def op(self, name: str, args: tuple[Expr, ...], ty: Ty) -> None:
        if name not in OPS:
            self.fail(f"the loop language has no operation {name!r}")
        if len(args) != OPS[name]:
            self.fail(f"{name} takes {OPS[name]} operands, not {len(args)}")
        self.type(ty)
        for k, a in enumerate(args):
            self.path.append((name, k))
            self.expr(a)
            self.path.pop()
        self.path.append(name)
        self.operation(name, args, ty)
        self.path.pop()

    def constant(self, value: Any, ty: Ty) -> None:
        if ty.kind in "iu":
            whole = isinstance(value, Integral) and -(1 << (ty.bits - 1)) <= int(value) < 1 << ty.bits
            self.expect(whole, f"{value!r} is not an integer of {ty.bits} bits")
        elif ty.kind == "b":
            self.expect(value in (False, True), f"{value!r} is not a boolean")
        else:
            self.expect(isinstance(value, Real) or hasattr(value, "__float__"), f"{value!r} is not a real number")

    def operation(self, name: str, args: tuple[Expr, ...], ty: Ty) -> None:
        """The types of one operation, its operands being checked already."""
        types = [a.ty for a in args]
        if name in _SAME_TYPE:
            if any(t != ty for t in types):
                self.fail(f"operands ({', '.join(map(str, types))}) and result {ty} have one type")
            if ty.kind not in _SAME_TYPE[name]:
                self.fail(f"not an operation on {ty.scalar}")
        elif name in _COMPARISONS:
            self.expect(types[0] == types[1], f"operands ({types[0]}, {types[1]}) have one type")
            self.expect(types[0].kind in _ORDERED, f"not an operation on {types[0].scalar}")
            self.expect(ty == b1.vector(types[0].lanes), f"the result is {b1.vector(types[0].lanes)}, not {ty}")
        elif name in _HORIZONTAL:
            self.expect(types[0].lanes > 1 and types[0].kind in _HORIZONTAL[name], f"no reduction of {types[0]}")
            self.expect(ty == types[0].scalar, f"the result is {types[0].scalar}, not {ty}")
        else:
            getattr(self, f"_{name}")(args, types, ty)

    def _select(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(types[0] in (b1, b1.vector(ty.lanes)), f"the condition of {ty} cannot be {types[0]}")
        self.expect(types[1] == types[2] == ty, f"cases ({types[1]}, {types[2]}) and result {ty} have one type")

    def _lookup(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(types[0] == Ty("u", ty.bits, ty.lanes) and ty.is_float, f"no lookup of {types[0]} giving {ty}")
        self.expect(all(isinstance(a, Const) and a.ty == ty for a in args[1:]), f"the table is made of constants {ty}")

    def _cast(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(types[0].lanes == ty.lanes, f"{types[0]} and {ty} have different numbers of lanes")

    def _bitcast(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        sizes = [t.itemsize * t.lanes for t in (types[0], ty)]
        self.expect(sizes[0] == sizes[1], f"{types[0]} and {ty} have different sizes")

    def _splat(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(types[0] == ty.scalar and ty.lanes > 1, f"no splat from {types[0]} to {ty}")

    def _lane(self, vector: Ty, lane: Expr) -> None:
        self.expect(vector.lanes > 1, f"{vector} is no vector")
        inside = isinstance(lane, Const) and lane.ty.kind in "iu" and 0 <= lane.value < vector.lanes
        self.expect(inside, f"the lane is a constant integer below {vector.lanes}")

    def _extract(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self._lane(types[0], args[1])
        self.expect(ty == types[0].scalar, f"the result is {types[0].scalar}, not {ty}")

    def _insert(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self._lane(types[0], args[1])
        self.expect(types[0] == ty and types[2] == ty.scalar, f"no insert of {types[2]} into {types[0]} giving {ty}")

    def _reverse(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(types[0] == ty and ty.lanes > 1, f"no reverse of {types[0]} giving {ty}")

    def _every_other(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(types == [ty, ty] and ty.lanes > 1, f"no every_other of {types[0]}, {types[1]} giving {ty}")

    def _interleave(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        good = types[0] == types[1] and ty == types[0].vector(2 * types[0].lanes)
        self.expect(good and types[0].lanes > 1, f"no interleave of {types[0]}, {types[1]} giving {ty}")

    def _half(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self._lane(types[0], args[1])
        self.expect(args[1].value < 2, "the half is 0 or 1")  # type: ignore[union-attr]
        self.expect(ty.lanes > 1 and types[0] == ty.vector(2 * ty.lanes), f"no half of {types[0]} giving {ty}")

    def _exchange(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self._lane(types[0], args[1])
        self.expect(types[0] == ty, f"no exchange of {types[0]} giving {ty}")

    def _compress(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(
            types == [ty, b1.vector(ty.lanes)] and ty.lanes > 1, f"no compress of {types[0]}, {types[1]} giving {ty}"
        )

    def _count(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(types[0].kind == "b" and types[0].lanes > 1 and ty == i64, f"no count of {types[0]} giving {ty}")

    def _any(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(
            types[0].kind == "b" and ty == b1, f"any of {types[0]} giving {ty}: it takes booleans and gives one"
        )

    def _iota(self, args: tuple[Expr, ...], types: list[Ty], ty: Ty) -> None:
        self.expect(ty.lanes > 1 and ty.kind in _NUMBER, f"no iota of {ty}")
