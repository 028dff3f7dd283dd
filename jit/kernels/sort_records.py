"""Keys and records: what every sorting kernel reads, moves and writes.

An element's bits become an unsigned *key* in the order wanted (``order_key``): NaN is the largest key, -0.0 and 0.0
have the same.  A *record* is a key with what travels along: nothing, the bits of one payload of at most 32 bits, or
the element's position.  Keys of at most 32 bits share a 64-bit word with their passenger; 64-bit keys have their
passengers in an array of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Op, Ty, i64, select, u32, u64

__all__ = [
    "ONE", "ZERO", "Operands", "Records", "SortSpec", "Source", "build_record", "count_special", "element_bits", "flipped",
    "is_special", "is_unordered", "order_key", "several", "with_position", "write_results",
]  # fmt: skip

ZERO, ONE = Const(0, i64), Const(1, i64)
_AT_ONCE = 4  # records in an iteration of ``several``

# ------------------------------------------------------------------------------------ keys


@dataclass(frozen=True)
class Source:
    """One component of the sort key.

    Attributes:
        operand: which operand it comes from.
        part: "all" of a real number; "re", "im" of a complex one; or "nan": 2 if re is NaN, plus 1 if im is.
        kind: "u", "i" or "f": how the bits are to be read.
        bits: of the key.
        infinity: the bits of floating-point infinity.
        descending: the largest element has the smallest key, and 0.0 one that is smaller than that of -0.0.
    """

    operand: int
    part: str
    kind: str
    bits: int
    infinity: int = 0
    descending: bool = False


def order_key(s: Source, v: Expr) -> Expr:
    """Bits of an element -> its key, an unsigned integer of the same size."""
    top = 1 << s.bits - 1
    if s.kind == "u":
        key = v
    elif s.kind == "i":
        key = v ^ top
    else:
        magnitude = v & (top - 1)
        key = select(v >= top, ~v, v | top)
        if not s.descending:
            key = select(magnitude.eq(0), Const(top, v.ty), key)
        key = select(magnitude > s.infinity, Const(2 * top - 1, v.ty), key)
    return ~key if s.descending else key


def element_bits(s: Source, key: Expr) -> Expr:
    """The bits that have this key; of -0.0 and 0.0 the latter, of all NaNs one."""
    top = 1 << s.bits - 1
    if s.kind == "u":
        return key
    return key ^ top if s.kind == "i" else select(key >= top, key ^ top, ~key)


def flipped(key: Expr) -> Expr:
    """Unsigned bits to signed ones in the same order, and back."""
    ty = key.ty
    top = -1 << ty.bits - 1 if ty.kind == "i" else 1 << ty.bits - 1
    return (key ^ top).bitcast(Ty("u" if ty.kind == "i" else "i", ty.bits, ty.lanes))


def with_position(key: Expr, i: Expr) -> Expr:
    """The record that carries the element's position: that of the first of several keys is ``i``."""
    lanes = key.ty.lanes
    position = i.cast(u64).splat(lanes)
    if lanes > 1:
        position = position + Op("iota", (), position.ty)
    return (key.cast(u64.vector(lanes)) << 32) | position


def is_unordered(s: Source, v: Expr) -> tuple[Expr, Expr]:
    """Whether floating-point bits are a zero, and whether they are NaN: equal keys for different bits."""
    magnitude = v & ((1 << s.bits - 1) - 1)
    return magnitude.eq(0), magnitude > s.infinity


@dataclass(frozen=True)
class SortSpec:
    """What a sorting kernel is specialised on.

    Attributes:
        words: for each operand, the bits of a word of memory and the words of an element.
        sources: components of the key, the most significant first.
        carry: "none" (one operand, its key says all), "payload" (a second operand of at most 32 bits travels with
            the key), "index" (positions travel; results are gathered at the end).
        digit: bits that one pass sorts by.
        top: results are elements of operand 0 and int32 positions (top_k), not all operands.
    """

    words: tuple[tuple[int, int], ...]
    sources: tuple[Source, ...]
    carry: str
    digit: int
    top: bool = False

    @property
    def split(self) -> bool:
        """Passengers have an array of their own."""
        return self.carry != "none" and max(s.bits for s in self.sources) == 64

    @property
    def record(self) -> Ty:
        return u64 if self.carry != "none" else Ty("u", self.sources[0].bits)

    @property
    def field(self) -> int:
        """Where the key begins in a record."""
        return 32 if self.carry != "none" and not self.split else 0

    @property
    def restore(self) -> bool:
        """Zeros and NaNs have to be copied from the input, because their keys do not tell them apart."""
        return self.carry != "index" and self.sources[0].kind == "f"

    def passes(self, source: Source) -> int:
        return -(-source.bits // self.digit)


# ------------------------------------------------------------------------------------ memory


class Operands:
    """The operands and results of a sort, as words: unsigned ones, but for results that begin as signed keys."""

    def __init__(self, b: KernelBuilder, spec: SortSpec, outs: bool = True, signed: bool = False) -> None:
        self.b, self.spec = b, spec
        self.x = [b.pointer(f"x{j}", Ty("u", bits)) for j, (bits, _) in enumerate(spec.words)]
        words = ((spec.words[0]), (32, 1)) if spec.top else spec.words
        self.out = (
            [b.pointer(f"out{j}", Ty("i" if signed else "u", bits)) for j, (bits, _) in enumerate(words)]
            if outs
            else []
        )

    def bits(self, s: Source, i: Expr) -> Expr:
        """The bits of component ``s`` of element ``i``."""
        load, buf = self.b.load, self.x[s.operand]
        if s.part == "all":
            return load(buf, i)
        if self.spec.words[s.operand][1] == 2:
            re, im = load(buf, i * 2), load(buf, i * 2 + 1)
        else:
            word = self.b.let("word", load(buf, i))
            re, im = word.cast(u32), (word >> 32).cast(u32)
        return re if s.part == "re" else im

    def key(self, s: Source, i: Expr) -> Expr:
        if s.part != "nan":
            return order_key(s, self.b.let("bits", self.bits(s, i)))
        flags: list[Expr] = []
        bits = self.spec.words[s.operand][0] * self.spec.words[s.operand][1] // 2
        for part, weight in (("re", 2), ("im", 1)):
            component = Source(s.operand, part, "f", bits, s.infinity)
            _, nan = is_unordered(component, self.bits(component, i))
            flags.append(select(nan, Const(weight, Ty("u", s.bits)), Const(0, Ty("u", s.bits))))
        return flags[0] | flags[1]

    def gather(self, to: Expr, at: Expr) -> None:
        """Results ``to`` become the elements ``at`` of all operands."""
        for (_, words), x, out in zip(self.spec.words, self.x, self.out):
            for w in range(words):
                self.b.store(out, to * words + w, self.b.load(x, at * words + w))


class Records:
    """The records in scratch memory."""

    def __init__(self, b: KernelBuilder, spec: SortSpec) -> None:
        self.b, self.spec = b, spec
        self.main = b.pointer("records", spec.record)
        self.side = b.pointer("passengers", u32) if spec.split else None

    def make(self, key: Expr, passenger: Expr | None) -> tuple[Expr, ...]:
        if passenger is None:
            return (key,)
        if self.spec.split:
            return key.cast(u64), passenger.cast(u32)
        return ((key.cast(u64) << 32) | passenger.cast(u32).cast(u64),)

    def load(self, i: Expr) -> tuple[Expr, ...]:
        main = self.b.let("record", self.b.load(self.main, i))
        return (main, self.b.let("passenger", self.b.load(self.side, i))) if self.side else (main,)

    def store(self, i: Expr, record: Sequence[Expr]) -> None:
        for buf, v in zip((self.main, self.side), record):
            if buf is not None:
                self.b.store(buf, i, v)

    def key(self, record: Sequence[Expr]) -> Expr:
        return record[0] >> 32 if self.spec.field else record[0]

    def passenger(self, record: Sequence[Expr]) -> Expr:
        return record[1] if self.spec.split else record[0].cast(u32)

    def digit(self, record: Sequence[Expr], shift: Expr | int) -> Expr:
        """The digit that begins at bit ``shift`` of the record's first word."""
        v = record[0]
        shift = Const(shift, v.ty) if isinstance(shift, int) else shift.cast(v.ty)
        mask = min((1 << self.spec.digit) - 1, (1 << v.ty.bits) - 1)
        return ((v >> shift) & mask).cast(i64)


def several(b: KernelBuilder, begin: Expr, end: Expr, body: Callable[[Expr], None]) -> None:
    """``body(i)`` for i from ``begin`` to ``end``, in order.

    Some to an iteration: each then is an instruction of its own to the processor, which learns for instructions, and not
    for addresses, whether a load has to wait for an earlier store.
    """
    whole = b.let("whole", begin + ((end - begin) & -_AT_ONCE))
    with b.for_("i", begin, whole, _AT_ONCE) as i:
        for u in range(_AT_ONCE):
            body(i + u)
    with b.for_("i", whole, end) as i:
        body(i)


def build_record(operands: Operands, records: Records, s: Source, row: Expr, i: Expr) -> tuple[Expr, ...]:
    """The record of element ``i`` of the row."""
    b, spec = operands.b, operands.spec
    if spec.carry == "none":
        passenger = None
    elif spec.carry == "payload":
        passenger = b.load(operands.x[1], row + i)
    else:
        passenger = i
    return tuple(b.let("record", v) for v in records.make(operands.key(s, row + i), passenger))


def write_results(
    operands: Operands, records: Records, src: Expr, row: Expr, out_row: Expr, begin: Expr, end: Expr
) -> None:
    """Writes results [begin, end) of a row from its sorted records, which begin at ``src``."""
    b, spec = operands.b, operands.spec
    s = spec.sources[0]
    with b.for_("i", begin, end, vectorize=True) as i:
        record = records.load(src + i)
        if spec.carry != "index":
            bits = element_bits(s, records.key(record).cast(Ty("u", s.bits)))
            b.store(operands.out[0], out_row + i, bits)
            if spec.carry == "payload":
                b.store(operands.out[1], out_row + i, records.passenger(record).cast(Ty("u", spec.words[1][0])))
        else:
            position = b.let("position", records.passenger(record))
            operands.gather(out_row + i, row + position.cast(i64))
            if spec.top:
                b.store(operands.out[1], out_row + i, position)


def is_special(s: Source, v: Expr) -> Expr:
    """Whether these are bits that the key does not give back: -0.0 and NaN."""
    _, nan = is_unordered(s, v)
    return nan | v.eq(1 << s.bits - 1)


def count_special(s: Source, v: Expr) -> Expr:
    """1 where ``is_special``."""
    return select(is_special(s, v), ONE, ZERO)
