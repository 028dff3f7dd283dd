"""The loop language: a small, closed, typed tree between fusion and machine code.

One ``Kernel`` is one native function.  Its parameters are pointers and 64-bit integers; it runs the
half-open range ``[lo, hi)`` of its outermost parallel index, so the runtime may cut the range wherever it
likes without changing a bit of the result.  Everything is frozen; unknown nodes raise in the verifier, the
printer and the emitters alike.  ``loop_builder`` writes kernels.

Values are scalars, or SIMD vectors where ``Ty.lanes > 1``.  Complex numbers do not exist here: a lowering
works on (re, im) pairs of reals.  Printed, a kernel is Python (``loop_print``); ``llvm.emit`` turns it into
machine code, ``emit_numba`` compiles the printed Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

from fx.errors import GraphError

LINE_BYTES = 64  # what a store past the caches is aligned to

# ------------------------------------------------------------------------------------------- types


@dataclass(frozen=True, slots=True)
class Ty:
    """kind: 'f' float, 'bf' bfloat16 (load, store and cast only), 'i' signed, 'u' unsigned, 'b' boolean (1 byte in memory)."""

    kind: str
    bits: int
    lanes: int = 1

    def vector(self, lanes: int) -> Ty:
        return Ty(self.kind, self.bits, lanes)

    @property
    def scalar(self) -> Ty:
        return Ty(self.kind, self.bits)

    @property
    def itemsize(self) -> int:
        return max(1, self.bits // 8)

    @property
    def is_float(self) -> bool:
        return self.kind in ("f", "bf")

    def __str__(self) -> str:
        return f"{self.kind}{self.bits if self.kind != 'bf' else 16}" + (f"x{self.lanes}" if self.lanes > 1 else "")


f16, f32, f64, bf16 = Ty("f", 16), Ty("f", 32), Ty("f", 64), Ty("bf", 16)
i8, i16, i32, i64 = (Ty("i", b) for b in (8, 16, 32, 64))
u8, u16, u32, u64 = (Ty("u", b) for b in (8, 16, 32, 64))
b1 = Ty("b", 1)

# ------------------------------------------------------------------------------------- expressions

# name -> number of operands.  Operands have one common type unless said otherwise; shifts by >= width are undefined.
OPS = {
    # arithmetic (integer add/sub/mul wrap; idiv and rem truncate towards zero as C; division by zero is guarded by the lowering)
    "add": 2, "sub": 2, "mul": 2, "div": 2, "rem": 2, "neg": 1, "fma": 3,
    # min/max on floats propagate NaN; minnum/maxnum compile to the bare machine instruction (second operand if either is NaN)
    "min": 2, "max": 2, "minnum": 2, "maxnum": 2,
    "abs": 1, "sqrt": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "copysign": 2,
    # scale(x, n): x * 2**floor(n) rounded once; n, of x's type, has a half that is an exponent of it, or is anything less for a finite x; NaN if either is
    "scale": 2,
    # lookup(i, c0, c1, ..., c15): the constant whose number stands in the last four bits of i, an unsigned integer as wide as they
    "lookup": 17,
    # bits (operands integer or boolean); shr is arithmetic on signed and logical on unsigned types
    "and": 2, "or": 2, "xor": 2, "not": 1, "shl": 2, "shr": 2, "popcount": 1, "clz": 1,
    # of integers: x to the power of an exponent that counts as unsigned (it wraps); the greatest common divisor of unsigned numbers
    "ipow": 2, "gcd": 2,
    # comparisons -> boolean; float comparisons are ordered (false on NaN) but for ne, which is true on NaN
    "eq": 2, "ne": 2, "lt": 2, "le": 2, "gt": 2, "ge": 2,
    # select(cond, if_true, if_false)
    "select": 3,
    # to another type: cast converts the value (float -> integer saturates, NaN -> 0; integer -> integer wraps; to bool: x != 0); bitcast keeps the bits
    "cast": 1, "bitcast": 1,
    # vectors: splat scalar -> vector; hadd/hmax/hmin vector -> scalar (fixed binary tree); lane i of vector is extract(v, Const i)
    # insert(v, Const i, x) is v with lane i replaced by x; iota is (0, 1, 2, ...) of its type
    "splat": 1, "hadd": 1, "hmax": 1, "hmin": 1, "extract": 2, "insert": 3, "iota": 0,
    # any(boolean) is a scalar: whether it is true in some lane.  Of a scalar, it is the scalar.
    "any": 1,
    # reverse(v); every_other(a, b): lanes 0, 2, 4 ... of a, and as many lanes 1, 3, 5 ... of b; interleave(a, b): a vector of
    # twice the lanes, a0 b0 a1 b1 ...; half(v, Const 0 or 1): the first or second half of the lanes, of four at least
    # exchange(v, Const k), k below the number of lanes: lane i of the result is lane i ^ k of v
    # compress(v, mask): the lanes where the mask is true, in front and in order; what stands behind them is each machine's own.
    # count(mask): how many are true, an i64.
    "reverse": 1, "every_other": 2, "interleave": 2, "half": 2, "exchange": 2, "compress": 2, "count": 1,
}  # fmt: skip


class Arith:
    """Base of every expression: operators on expressions, so that a kernel generator reads like the arithmetic it emits.

    Python numbers become constants of the other operand's type.
    """

    __slots__ = ()

    def _bin(self, op: str, other: Any, swap: bool = False) -> Expr:
        this = as_expr(self)
        o = lift(other, this.ty)
        return op_(op, o, this) if swap else op_(op, this, o)

    def __add__(self, o: Any) -> Expr:
        return self._bin("add", o)

    def __radd__(self, o: Any) -> Expr:
        return self._bin("add", o, True)

    def __sub__(self, o: Any) -> Expr:
        return self._bin("sub", o)

    def __rsub__(self, o: Any) -> Expr:
        return self._bin("sub", o, True)

    def __mul__(self, o: Any) -> Expr:
        return self._bin("mul", o)

    def __rmul__(self, o: Any) -> Expr:
        return self._bin("mul", o, True)

    def __truediv__(self, o: Any) -> Expr:
        return self._bin("div", o)

    def __rtruediv__(self, o: Any) -> Expr:
        return self._bin("div", o, True)

    def __floordiv__(self, o: Any) -> Expr:  # for non-negative integers, where truncation is floor
        return self._bin("div", o)

    def __mod__(self, o: Any) -> Expr:
        return self._bin("rem", o)

    def __and__(self, o: Any) -> Expr:
        return self._bin("and", o)

    def __or__(self, o: Any) -> Expr:
        return self._bin("or", o)

    def __xor__(self, o: Any) -> Expr:
        return self._bin("xor", o)

    def __lshift__(self, o: Any) -> Expr:
        return self._bin("shl", o)

    def __rshift__(self, o: Any) -> Expr:
        return self._bin("shr", o)

    def __neg__(self) -> Expr:
        return op_("neg", as_expr(self))

    def __invert__(self) -> Expr:
        return op_("not", as_expr(self))

    def __lt__(self, o: Any) -> Expr:
        return self._bin("lt", o)

    def __le__(self, o: Any) -> Expr:
        return self._bin("le", o)

    def __gt__(self, o: Any) -> Expr:
        return self._bin("gt", o)

    def __ge__(self, o: Any) -> Expr:
        return self._bin("ge", o)

    def eq(self, o: Any) -> Expr:
        return self._bin("eq", o)

    def ne(self, o: Any) -> Expr:
        return self._bin("ne", o)

    def cast(self, ty: Ty) -> Expr:
        this = as_expr(self)
        return this if this.ty == ty else Op("cast", (this,), ty)

    def bitcast(self, ty: Ty) -> Expr:
        this = as_expr(self)
        return this if this.ty == ty else Op("bitcast", (this,), ty)

    def splat(self, lanes: int) -> Expr:
        this = as_expr(self)
        return Op("splat", (this,), this.ty.vector(lanes)) if lanes > 1 else this


@dataclass(frozen=True, slots=True, eq=False)
class Const(Arith):
    """A number; in every lane where ``ty`` is a vector."""

    value: Any
    ty: Ty


@dataclass(frozen=True, slots=True, eq=False)
class Ref(Arith):
    """Reads a local variable, a loop index or an integer parameter."""

    name: str
    ty: Ty


@dataclass(frozen=True, slots=True, eq=False)
class Op(Arith):
    name: str
    args: tuple[Expr, ...]
    ty: Ty


@dataclass(frozen=True, slots=True, eq=False)
class Load(Arith):
    """``buf[index]``; with ``ty.lanes > 1`` that many consecutive elements (no alignment needed).

    mask: a vector of booleans; lanes where it is false are not read, and are zero.
    """

    buf: str
    index: Expr
    ty: Ty
    mask: Expr | None = None


Expr = Union[Const, Ref, Op, Load]

# -------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True, eq=False)
class Let:
    """Declares ``name`` with a first value; ``mutable`` ones may be assigned again (they become registers)."""

    name: str
    value: Expr
    mutable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Assign:
    name: str
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """``buf[index] = value``; a vector value goes to consecutive elements.

    mask: a vector of booleans; lanes where it is false are not written.
    past: a vector goes past the caches, to memory.  It begins at a multiple of its bytes there, or of ``LINE_BYTES`` if it is longer.
    """

    buf: str
    index: Expr
    value: Expr
    mask: Expr | None = None
    past: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class For:
    """``for var in range(start, stop, step)``; step > 0.

    vectorize: the emitter may ask LLVM to vectorise: iterations are independent but for reductions into
        mutable locals, whose float additions may then be reassociated (in a fixed way for a given host).
    """

    var: str
    start: Expr
    stop: Expr
    body: tuple[Stmt, ...]
    step: int = 1
    vectorize: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class While:
    cond: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class If:
    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Alloc:
    """A scratch array on the stack, ``size`` a small constant; for more, the kernel takes a scratch pointer."""

    name: str
    ty: Ty
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The address of ``buf[index]``, as an argument of a ``Call``."""

    buf: str
    index: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Calls the C function whose address is ``function``; it returns nothing.

    The address is an integer parameter, so that object code which is kept holds none.  The function may read and write
    what the places point to, and nothing else that the kernel sees.

    args: 64-bit integers, and places.
    """

    function: Expr
    args: tuple[Expr | Place, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prefetch:
    """Asks for the cache line of ``buf[index]``, which may lie outside of the buffer; no value changes.

    level: of the cache that is to have it.
    """

    buf: str
    index: Expr
    level: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Comment:
    """A remark for the reader of the printed loops."""

    text: str


Stmt = Union[Let, Assign, Store, For, While, If, Alloc, Call, Prefetch, Comment]


@dataclass(frozen=True, slots=True)
class Param:
    """A kernel parameter.  ``pointer``: address of elements of type ``ty`` (distinct pointers never overlap
    unless they are the same parameter); otherwise a 64-bit integer, and ``ty`` is i64."""

    name: str
    ty: Ty
    pointer: bool


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """``name(params..., lo, hi, worker)``: the last three i64 are implicit and always there.

    The native function is ``void name(i64 *frame, i64 lo, i64 hi, i64 worker)``; ``frame[k]`` holds the k-th
    parameter (an address or an integer).  ``worker`` numbers the calling thread, for scratch memory.
    """

    name: str
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]


IMPLICIT = ("lo", "hi", "worker")

# ------------------------------------------------------------------------------------ constructors


def as_expr(x: Arith) -> Expr:
    """``x``, known to be one of the four kinds of expression."""
    if isinstance(x, (Const, Ref, Op, Load)):
        return x
    raise GraphError(f"{type(x).__name__} is not an expression of the loop language")


def lift(x: Any, like: Ty) -> Expr:
    """``x`` itself if it is an expression, else a constant of type ``like``."""
    return x if isinstance(x, (Const, Ref, Op, Load)) else Const(x, like)


def op_(name: str, *args: Expr) -> Expr:
    """An operation; the result type follows from the operands (``cast``, ``bitcast``, ``splat`` are methods)."""
    if name not in OPS:
        raise GraphError(f"the loop language has no operation {name!r}")
    if len(args) != OPS[name]:
        raise GraphError(f"{name} takes {OPS[name]} operands, {len(args)} given")
    ty = args[0].ty
    if name in ("eq", "ne", "lt", "le", "gt", "ge"):
        ty = Ty("b", 1, ty.lanes)
    elif name in ("select", "lookup"):
        ty = args[1].ty
    elif name == "interleave":
        ty = ty.vector(2 * ty.lanes)
    elif name == "half":
        ty = ty.vector(ty.lanes // 2)
    elif name in ("hadd", "hmax", "hmin", "extract", "any"):
        ty = ty.scalar
    elif name == "count":
        ty = i64
    return Op(name, tuple(args), ty)


def select(cond: Expr, a: Any, b: Any) -> Expr:
    ty = as_expr(a if isinstance(a, Arith) else b).ty
    return op_("select", cond, lift(a, ty), lift(b, ty))


def minimum(a: Expr, b: Any) -> Expr:
    return op_("min", a, lift(b, a.ty))


def maximum(a: Expr, b: Any) -> Expr:
    return op_("max", a, lift(b, a.ty))


def fma(a: Expr, b: Any, c: Any) -> Expr:
    return op_("fma", a, lift(b, a.ty), lift(c, a.ty))
