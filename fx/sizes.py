"""Sizes that may vary: numbers that know how they follow from the sizes of the arguments.

A ``Size`` stands in a shape where an ``int`` would.  It has a value, so whatever asks it something gets an answer; what was
asked is written down as a *guard*, a condition under which the answer is the same.  What is computed from sizes
(``batch * 784``, ``n // 2``, ``1 / n``) is kept as a formula.  A program that was traced and planned with sizes therefore
holds for all arguments that pass its guards, and what it says of numbers is found for them by its formulas.

What needs the plain number (an index, a range, a NumPy array of that shape, its text) *fixes* the size: then the program
holds for this value alone, and ``Fixed`` ends the trace.  (Source: concolic execution, Godefroid, Klarlund and Sen,
"DART", PLDI 2005.)  To ``isinstance`` a size is an ``int``; ``type(n) is int`` alone can tell it from one.

When the trace is over, a size that somebody kept is the number that it was.

    Sizes          the variables of one trace, the guards, and formulas as Python functions
    Size           a polynomial with integer coefficients in variables and in rests, quotients and extremes of such
    Real           a quotient of sizes, or what floating-point arithmetic made of one
"""

from __future__ import annotations

import math
import operator
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

__all__ = [
    "Fixed",
    "Real",
    "Size",
    "Sizes",
    "as_float",
    "as_size",
    "broadcast_shapes",
    "decided",
    "fitting",
    "is_sized",
    "largest",
    "late",
    "plain",
    "shown",
    "slice_indices",
    "slice_length",
    "smallest",
]

Terms = tuple[tuple[tuple[int, ...], int], ...]  # (numbers of atoms, coefficient), sorted
_ONE: tuple[int, ...] = ()
SMALLEST = 2  # sizes 0 and 1 mean something else (nothing, or a dimension that broadcasts)
UNKNOWN = -(2**62)  # the least value of what may be anything
MOST_TERMS = 64
OURS = ("fx.", "jit.")  # the packages whose tables tell sizes apart as symbols


class Fixed(BaseException):
    """Something needed a size as a plain number: the end of a trace.  It is no error that a function may catch, nor one
    that ``logging`` would print."""


class Sizes:
    """The variables of one trace, and what was decided about them.

    fixed: what asked for the plain number, if something did: the program holds for it alone.
    closed: the trace is over; sizes that somebody kept are plain numbers from now on.
    """

    def __init__(self) -> None:
        self.values: list[int] = []  # of the variables, in this trace
        self.fixed = ""
        self.closed = False
        self._values: list[int] = []  # of atoms: the value in this trace, the least one that it can have, its formula
        self._bounds: list[int] = []
        self._formulas: list[str] = []
        self._atom_of: dict[Any, int] = {}
        self._guards: dict[str, bool] = {}
        self.compared: dict[Any, bool] = {}  # comparisons, which come again and again
        self._functions: dict[str, Any] = {
            "floor": _floor, "ceil": math.ceil, "lower": math.floor, "inf": math.inf, "nan": math.nan,
        }  # fmt: skip
        self._checks: list[tuple[Callable[[], bool], bool]] = []
        self._current: list[int] | None = None  # values of the atoms, while ``check`` works with plain numbers
        self._lock = threading.Lock()

    def variable(self, value: int) -> Size:
        """A new size, which has this value in this trace."""
        if value < SMALLEST:
            raise ValueError(f"a size that varies is at least {SMALLEST}; this is {value}")
        self.values.append(value)
        return Size(self, ((self._atom(("variable", len(self.values)), value, SMALLEST, ""), 1),), value)

    # ------------------------------------------------------------------ formulas

    def _atom(self, key: Any, value: int, at_least: int, formula: str) -> tuple[int, ...]:
        if key not in self._atom_of:
            self._atom_of[key] = len(self._values)
            self._values.append(value)
            self._bounds.append(at_least)
            self._formulas.append(formula)
        return (self._atom_of[key],)

    def opaque(self, formula: str, value: int, at_least: int) -> Size:
        """A size that is no polynomial, by its formula."""
        return Size(self, ((self._atom(formula, value, at_least, formula), 1),), value)

    def real(self, formula: str, value: Any) -> Real:
        """What floating-point arithmetic makes: a line of its own, so that formulas stay short."""
        (atom,) = self._atom(formula, value, UNKNOWN, formula)
        return Real(self, f"a{atom}", value)

    def name_of(self, f: Callable[..., int]) -> str:
        """What a function is called in formulas."""
        name = f"f{id(f)}"
        self._functions[name] = f
        return name

    def range_of(self, terms: Terms) -> tuple[int | None, int | None]:
        """What is known of the least and the largest value, whatever the sizes are."""
        least = most = 0
        below = above = True
        bounds = self._bounds
        for atoms, c in terms:
            if atoms == _ONE:
                least, most = least + c, most + c
                continue
            smallest = 1
            for a in atoms:
                if bounds[a] < 0:
                    return None, None
                smallest *= bounds[a]
            if c > 0:
                least, above = least + c * smallest, False
            else:
                most, below = most + c * smallest, False
        return (least if below else None), (most if above else None)

    def names_a_value(self, terms: Terms) -> bool:
        """Whether a polynomial's being zero leaves one value for a variable."""
        varying = [atoms for atoms, _ in terms if atoms != _ONE]
        return len(varying) == 1 and not any(self._formulas[a] for a in varying[0])

    def text_of(self, terms: Terms) -> str:
        return "+".join("*".join([str(c), *(f"a{a}" for a in atoms)]) for atoms, c in terms) or "0"

    # ------------------------------------------------------------------ guards

    def decide(self, condition: str, outcome: bool) -> bool:
        """Writes down that a condition on the sizes came out this way."""
        if not self.closed:
            self._guards[condition] = outcome
        return outcome

    def fix(self, what: str) -> NoReturn:
        """Ends a trace: the program would hold for one value alone."""
        self.fixed = self.fixed or what
        raise Fixed(f"a size that varies was needed as a plain number: {what}")

    def check(self, f: Callable[[], bool]) -> bool:
        """What ``f`` says where sizes are plain numbers; it is asked again for other sizes."""
        outcome = self._say(f, self._values)
        self._checks.append((f, outcome))
        return outcome

    def _say(self, f: Callable[[], bool], atoms: list[int]) -> bool:
        with self._lock:
            self._current = atoms
            try:
                return f()
            finally:
                self._current = None

    @property
    def asking(self) -> bool:
        """Whether ``check`` asks its function."""
        return self._current is not None

    def now(self, terms: Terms) -> int | None:
        """The number that a size is for ``f`` of ``check``; None outside of it."""
        return None if self._current is None else _evaluated(terms, self._current)

    @property
    def guards(self) -> list[str]:
        """The conditions under which the program holds."""
        return [c if outcome else f"not {c}" for c, outcome in self._guards.items()]

    def _prologue(self) -> list[str]:
        lines, variable = [], 0
        for k, formula in enumerate(self._formulas):
            if not formula:
                lines.append(f"    a{k} = values[{variable}]")
                variable += 1
            else:
                lines.append(f"    a{k} = {formula}")
        return lines

    def test(self) -> Callable[[Sequence[int]], bool]:
        """A function of the variables' values: whether the program holds for them.  It does not where a formula has no
        value, as it stands behind a guard then."""
        lines = ["def test(values):", f"    if min(values) < {SMALLEST}: return False", "    try:"]
        lines += [f"    {line}" for line in self._prologue()]
        lines.append(f"        if not ({' and '.join(self.guards) or 'True'}): return False")
        lines.append("    except (ArithmeticError, ValueError): return False")
        lines.append(f"    return agree([{', '.join(f'a{k}' for k in range(len(self._values)))}])")
        return self._compiled("test", lines, lambda atoms: all(self._say(f, atoms) == out for f, out in self._checks))

    def formulas(self, of: Sequence[Any]) -> Callable[[Sequence[int]], list[Any]]:
        """A function of the variables' values: the numbers that ``of`` (sizes and plain numbers) are for them."""
        lines = ["def evaluate(values):", *self._prologue()]
        lines.append(f"    return [{', '.join([x.text if is_sized(x) else repr(x) for x in of])}]")
        return self._compiled("evaluate", lines)

    def _compiled(self, name: str, lines: list[str], agree: Any = None) -> Any:
        space: dict[str, Any] = {**self._functions, "agree": agree}
        exec("\n".join(lines), space)
        return space[name]


def _evaluated(terms: Terms, values: Sequence[int]) -> int:
    total = 0
    for atoms, c in terms:
        for a in atoms:
            c *= values[a]
        total += c
    return total


def _floor(a: int, b: int) -> int:
    return a // b if b else 0  # only asked where a guard has made sure of b, or to find that out


_our_scopes: set[int] = set()  # of modules of ours, which stay


def _is_ours(scope: dict[str, Any]) -> bool:
    name = scope.get("__name__", "")
    ours: bool = name.startswith(OURS)
    if ours and name in sys.modules and vars(sys.modules[name]) is scope:
        _our_scopes.add(id(scope))
    return ours


class _Number:
    """What sizes and reals share: whoever needs the plain number ends the trace."""

    __slots__ = ("sizes", "value")
    __array_ufunc__ = None  # NumPy's scalars leave arithmetic with sizes to them
    sizes: Sizes
    value: Any

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def symbol(self) -> int:
        """The hash of the formula."""
        raise NotImplementedError

    def _number(self, what: str) -> Any:
        """The plain number: outside of its trace."""
        return self.value if self.sizes.closed else self.sizes.fix(what)

    def __int__(self) -> int:
        return int(self._number("an int"))

    def __float__(self) -> float:
        return float(self._number("a float"))

    def __complex__(self) -> complex:
        return complex(self._number("a complex number"))

    def __str__(self) -> str:
        return str(self._number("its text"))

    def __repr__(self) -> str:
        return repr(self._number("its text"))

    def __format__(self, spec: str) -> str:
        return format(self._number("its text"), spec)

    def __reduce__(self) -> Any:
        return type(self.value), (self._number("a copy"),)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self._number("a NumPy array"), dtype)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(int, name) and not hasattr(float, name):
            raise AttributeError(name)
        return getattr(self._number(name), name)

    def __hash__(self) -> int:
        """Tables of ours tell programs apart by it; a table of the user's asks for the number."""
        scope = sys._getframe(1).f_globals
        if id(scope) in _our_scopes or _is_ours(scope):
            return self.symbol
        return hash(self._number("its hash"))

    def __bool__(self) -> bool:
        return bool(self != 0)

    def _compared(self, other: Any, op: str) -> Any:
        if not _is_number(other):
            return NotImplemented
        if self.sizes.closed:
            return _COMPARE[op](self.value, other)
        other = _within(self.sizes, other)
        return self.sizes.decide(f"({self.text} {op} {_text(other)})", _COMPARE[op](self.value, plain(other)))

    def __pos__(self) -> Any:
        return self

    def __rtruediv__(self, other: Any) -> Any:
        return _real("/", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _real("/", self, other)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is not None:
            self._number("a power modulo something")
        return _power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return _power(other, self)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


class Size(_Number):
    """An integer that follows from the sizes of a trace; see the module."""

    __slots__ = ("_hash", "terms")
    __class__ = int  # type: ignore[assignment]  # to isinstance()
    __hash__ = _Number.__hash__  # a class that defines equality has none of its own

    def __init__(self, sizes: Sizes, terms: Terms, value: int) -> None:
        self.sizes = sizes
        self.terms = terms
        self.value = value
        self._hash = 0

    @property
    def text(self) -> str:
        return f"({self.sizes.text_of(self.terms)})"

    def __index__(self) -> int:
        now = self.sizes.now(self.terms)
        return int(self._number("an index")) if now is None else now

    __int__ = __index__

    @property
    def symbol(self) -> int:
        if not self._hash:
            self._hash = hash((id(self.sizes), self.terms))
        return self._hash

    def _of(self, terms: Mapping[tuple[int, ...], int], value: int) -> Any:
        """The polynomial: a plain int if it is constant."""
        kept = [item for item in terms.items() if item[1]]
        if len(kept) > MOST_TERMS:
            self.sizes.fix("a polynomial of many terms")
        if not kept:
            return 0
        if len(kept) == 1:
            return kept[0][1] if kept[0][0] == _ONE else Size(self.sizes, (kept[0],), value)
        kept.sort()
        return Size(self.sizes, tuple(kept), value)

    # ------------------------------------------------------------------ arithmetic

    def __add__(self, other: Any) -> Any:
        whole = other if type(other) is int else _whole(self.sizes, other)
        if whole is None:
            return _real("+", self, other)
        if type(whole) is int:
            if not whole:
                return self
            value, extra = whole, ((_ONE, whole),)
        else:
            value, extra = whole.value, whole.terms
        total = dict(self.terms)
        for atoms, c in extra:
            total[atoms] = total.get(atoms, 0) + c
        return self._of(total, self.value + value)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return Size(self.sizes, tuple([(atoms, -c) for atoms, c in self.terms]), -self.value)

    def __sub__(self, other: Any) -> Any:
        whole = other if type(other) is int else _whole(self.sizes, other)
        return _real("-", self, other) if whole is None else self + (-whole)

    def __rsub__(self, other: Any) -> Any:
        whole = _whole(self.sizes, other)
        return _real("-", other, self) if whole is None else -self + whole

    def __mul__(self, other: Any) -> Any:
        k = other if type(other) is int else _whole(self.sizes, other)
        if k is None:
            return _real("*", self, other)
        if type(k) is int:
            if k == 1 or not k:
                return self if k else 0
            return Size(self.sizes, tuple([(a, c * k) for a, c in self.terms]), self.value * k)
        total: dict[tuple[int, ...], int] = {}
        for a, c in self.terms:
            for b, d in k.terms:
                atoms = tuple(sorted(a + b))
                total[atoms] = total.get(atoms, 0) + c * d
        return self._of(total, self.value * k.value)

    def __rmul__(self, other: Any) -> Any:
        return _real("*", other, self) if _whole(self.sizes, other) is None else self * other

    def __invert__(self) -> Any:
        return -self - 1

    def __lshift__(self, other: Any) -> Any:
        return self * (1 << other) if type(other) is int and 0 <= other < 64 else _bits(self, other, "<<")

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << other) if type(other) is int and 0 <= other < 64 else _bits(self, other, ">>")

    def __rlshift__(self, other: Any) -> Any:
        return _bits(other, self, "<<")

    def __rrshift__(self, other: Any) -> Any:
        return _bits(other, self, ">>")

    def __and__(self, other: Any) -> Any:
        return _bits(self, other, "&")

    def __or__(self, other: Any) -> Any:
        return _bits(self, other, "|")

    def __xor__(self, other: Any) -> Any:
        return _bits(self, other, "^")

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __ceil__(self) -> Any:
        return self

    __floor__ = __trunc__ = __ceil__

    def __round__(self, digits: Any = None) -> Any:
        return self if digits is None else self._number("a rounded number").__round__(digits)

    def _divided(self, by: Any) -> tuple[Any, Any] | None:
        """Quotient and rest, where both are polynomials whatever the sizes are."""
        if type(by) is Size:
            if len(by.terms) != 1:
                return (1, 0) if by.terms == self.terms else None
            (atoms, k), parts = by.terms[0], {}
            for a, c in self.terms:
                left = list(a)
                for x in atoms:
                    if x not in left:
                        return None
                    left.remove(x)
                if c % k:
                    return None
                parts[tuple(left)] = c // k
            return self._of(parts, self.value // by.value), 0
        parts, rest = {}, 0
        for a, c in self.terms:
            if c % by == 0:
                parts[a] = c // by
            elif a == _ONE:
                parts[a], rest = divmod(c, by)
            else:
                return None
        return self._of(parts, self.value // by), rest

    def _quotient(self, other: Any, op: str) -> Any:
        by = _whole(self.sizes, other)
        if by is None:
            return _real(op, self, other)
        if not by:
            raise ZeroDivisionError("integer division or modulo by zero")
        exact = self._divided(by)
        if exact is not None:
            return exact[op == "%"]
        return _opaque_whole(self, by, op)

    def __floordiv__(self, other: Any) -> Any:
        return self._quotient(other, "//")

    def __mod__(self, other: Any) -> Any:
        return self._quotient(other, "%")

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rfloordiv__(self, other: Any) -> Any:
        whole = _whole(self.sizes, other)
        return _real("//", other, self) if whole is None else _opaque_whole(whole, self, "//")

    def __rmod__(self, other: Any) -> Any:
        whole = _whole(self.sizes, other)
        return _real("%", other, self) if whole is None else _opaque_whole(whole, self, "%")

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    # ------------------------------------------------------------------ comparisons

    def _sign(self, other: Any, op: str) -> Any:
        """``self op other``: without a guard where it is so whatever the sizes are."""
        sizes = self.sizes
        if sizes.closed or sizes.asking:
            now = sizes.now(self.terms)
            return _COMPARE[op](self.value if now is None else now, other)
        whole = other if type(other) is int else _whole(sizes, other)
        if whole is None:
            return self._compared(other, op)
        key = self.terms, whole if type(whole) is int else whole.terms, op
        found = sizes.compared.get(key)
        if found is None:
            found = sizes.compared[key] = self._decided(whole, op)
        return found

    def _decided(self, other: Any, op: str) -> bool:
        difference = self - other
        if type(difference) is not Size:
            return _COMPARE[op](difference, 0)
        least, most = self.sizes.range_of(difference.terms)
        if (least is not None and least > 0) or (most is not None and most < 0):
            return _COMPARE[op](1 if least is not None else -1, 0)
        if (op == ">=" and least == 0) or (op == "<=" and most == 0):
            return True
        if (op == "<" and least == 0) or (op == ">" and most == 0):
            return False
        outcome = _COMPARE[op](difference.value, 0)
        if op == "==" and outcome and self.sizes.names_a_value(difference.terms):
            self.sizes.fix(f"equal to {plain(other)}")
        return self.sizes.decide(f"({difference.text} {op} 0)", outcome)

    def __eq__(self, other: Any) -> Any:
        return self._sign(other, "==")

    def __ne__(self, other: Any) -> Any:
        found = self._sign(other, "==")
        return found if found is NotImplemented else not found

    def __lt__(self, other: Any) -> Any:
        return self._sign(other, "<")

    def __le__(self, other: Any) -> Any:
        return self._sign(other, "<=")

    def __gt__(self, other: Any) -> Any:
        return self._sign(other, ">")

    def __ge__(self, other: Any) -> Any:
        return self._sign(other, ">=")


class Real(_Number):
    """A floating-point number that follows from sizes: the formula that Python's arithmetic followed."""

    __slots__ = ("formula",)
    __class__ = float  # type: ignore[assignment]  # to isinstance()
    __hash__ = _Number.__hash__

    def __init__(self, sizes: Sizes, formula: str, value: float) -> None:
        self.sizes, self.formula, self.value = sizes, formula, value

    @property
    def text(self) -> str:
        return self.formula

    @property
    def symbol(self) -> int:
        return hash((id(self.sizes), self.formula))

    def __add__(self, other: Any) -> Any:
        return _real("+", self, other)

    def __radd__(self, other: Any) -> Any:
        return _real("+", other, self)

    def __sub__(self, other: Any) -> Any:
        return _real("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _real("-", other, self)

    def __mul__(self, other: Any) -> Any:
        return _real("*", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _real("*", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _real("//", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _real("//", other, self)

    def __mod__(self, other: Any) -> Any:
        return _real("%", self, other)

    def __rmod__(self, other: Any) -> Any:
        return _real("%", other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __ceil__(self) -> Any:
        return self._rounded("ceil", math.ceil(self.value))

    def __floor__(self) -> Any:
        return self._rounded("lower", math.floor(self.value))

    def __trunc__(self) -> Any:
        return self.__floor__() if self >= 0 else self.__ceil__()

    def __round__(self, digits: Any = None) -> Any:
        if digits is not None:
            return self._number("a rounded number").__round__(digits)
        return self._rounded("round", round(self.value))

    def _rounded(self, rounding: str, value: int) -> Any:
        return self.sizes.opaque(f"{rounding}({self.formula})", value, 0 if self >= 0 else UNKNOWN)

    def __neg__(self) -> Real:
        return self.sizes.real(f"(-{self.formula})", -self.value)

    def __abs__(self) -> Real:
        return self.sizes.real(f"abs({self.formula})", abs(self.value))

    def __eq__(self, other: Any) -> Any:
        if type(other) is Real and other.formula == self.formula and other.sizes is self.sizes:
            return True
        return self._compared(other, "==")

    def __ne__(self, other: Any) -> Any:
        found = self == other
        return found if found is NotImplemented else not found

    def __lt__(self, other: Any) -> Any:
        return self._compared(other, "<")

    def __le__(self, other: Any) -> Any:
        return self._compared(other, "<=")

    def __gt__(self, other: Any) -> Any:
        return self._compared(other, ">")

    def __ge__(self, other: Any) -> Any:
        return self._compared(other, ">=")


def as_size(x: Any) -> Any:
    """``operator.index``, which leaves sizes as they are."""
    return x if type(x) is Size and not x.sizes.closed else operator.index(x)


def as_float(x: Any) -> Any:
    """``float``, which keeps what follows from sizes."""
    return x.sizes.real(f"float({x.text})", float(x.value)) if is_sized(x) else float(x)


def is_sized(x: Any) -> bool:
    """True for a number that follows from sizes."""
    return isinstance(x, _Number) and not x.sizes.closed


def fitting(x: Any, dtype: np.dtype) -> Any:
    """A size or a real that is to be a number of a dtype, which holds it.  (Plain numbers that do not fit are errors, or
    wrap, or have a wider dtype.)"""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if type(x) is not Size or not info.min <= x <= info.max:
            x.sizes.fix(f"a number that {dtype} may not hold")
    return x


def plain(x: Any) -> Any:
    """The value that a number has in its trace, which nothing may depend on."""
    return x.value if isinstance(x, _Number) else x


def shown(x: Any) -> str:
    """A number for people: its digits, or the formula by which it follows from sizes."""
    return x.text if isinstance(x, _Number) else str(x)


def broadcast_shapes(*shapes: Sequence[Any]) -> tuple[Any, ...]:
    """The shape that arrays of these shapes broadcast to.

    Raises:
        ValueError: there is none.
    """
    rank = max(map(len, shapes), default=0)
    found: list[Any] = [1] * rank
    for shape in shapes:
        for d, n in enumerate(shape, rank - len(shape)):
            if n == 1 or n is found[d]:
                continue
            if found[d] == 1:
                found[d] = n
            elif found[d] != n:
                raise ValueError("the shapes do not broadcast")
    return tuple(found)


def slice_indices(s: slice, n: Any) -> tuple[Any, Any, Any]:
    """``s.indices(n)``."""
    if type(n) is not Size and Size not in (type(s.start), type(s.stop)):
        return s.indices(n)
    step = 1 if s.step is None else operator.index(s.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    lowest, highest = (0, n) if step > 0 else (-1, n - 1)
    start, stop = (lowest, highest) if step > 0 else (highest, lowest)
    return _slice_end(s.start, n, lowest, highest, start), _slice_end(s.stop, n, lowest, highest, stop), step


def _slice_end(given: Any, n: Any, lowest: Any, highest: Any, default: Any) -> Any:
    if given is None:
        return default
    end = as_size(given)
    if end < 0:
        end = end + n
        return end if end > lowest else lowest
    return end if end < highest else highest


def slice_length(start: Any, stop: Any, step: int) -> Any:
    """``len(range(start, stop, step))``."""
    if Size not in (type(start), type(stop)):
        return len(range(start, stop, step))
    first, behind, stride = (start, stop, step) if step > 0 else (stop, start, -step)
    return (behind - first + (stride - 1)) // stride if behind > first else 0


def decided(f: Callable[[], bool], numbers: Iterable[Any]) -> bool:
    """What ``f`` says, which works with plain numbers (NumPy's say): where sizes are among ``numbers`` that is a guard."""
    sized = next((n for n in numbers if type(n) is Size), None)
    return f() if sized is None else sized.sizes.check(f)


def largest(*numbers: Any) -> Any:
    """``max``, which for sizes stays a formula."""
    return _extreme("max", numbers)


def smallest(*numbers: Any) -> Any:
    """``min``, which for sizes stays a formula."""
    return _extreme("min", numbers)


def _extreme(name: str, numbers: Iterable[Any]) -> Any:
    numbers = list(dict.fromkeys(numbers))
    sized = next(filter(is_sized, numbers), None)
    choose = max if name == "max" else min
    if sized is None or len(numbers) == 1:
        return choose(numbers)
    numbers = [_within(sized.sizes, x) for x in numbers]
    formula, value = f"{name}({', '.join(map(_text, numbers))})", choose(map(plain, numbers))
    if any(isinstance(x, (float, Real)) for x in numbers):
        return sized.sizes.real(formula, value)
    return sized.sizes.opaque(formula, value, choose([_least_of(x) for x in numbers]))


def late(f: Callable[..., int], *args: Any, at_least: int = 1) -> Any:
    """``f(*args)``, an int, which for sizes is left to be asked again."""
    sized = next(filter(is_sized, args), None)
    if sized is None:
        return f(*args)
    args = tuple([_within(sized.sizes, x) for x in args])
    formula = f"{sized.sizes.name_of(f)}({', '.join(map(_text, args))})"
    return sized.sizes.opaque(formula, f(*map(plain, args)), at_least)


def _least_of(x: Any) -> int:
    if type(x) is not Size:
        return int(x)
    found = x.sizes.range_of(x.terms)[0]
    return UNKNOWN if found is None else found


def _most_of(x: Any) -> int:
    """What is known of the largest value; 1 where that is nothing."""
    if type(x) is not Size:
        return int(x)
    found = x.sizes.range_of(x.terms)[1]
    return 1 if found is None else found


def _opaque_whole(a: Any, b: Any, op: str) -> Any:
    sizes = a.sizes if type(a) is Size else b.sizes
    if not b > 0:
        sizes.fix("a divisor that is not positive")
    if op == "//" and _most_of(a) <= 0:
        return -((-a + (b - 1)) // b)  # rounded up, of a number whose range is known
    value = plain(a) // plain(b) if op == "//" else plain(a) % plain(b)
    formula = f"({_text(a)} {op} {_text(b)})" if type(b) is not Size else (
        f"floor({_text(a)}, {_text(b)})" if op == "//" else f"({_text(a)} - {_text(b)} * floor({_text(a)}, {_text(b)}))"
    )  # fmt: skip
    least = 0 if op == "%" else _least_of(a) // b if type(b) is not Size else 0 if _least_of(a) >= 0 else UNKNOWN
    return sizes.opaque(formula, value, least)


def _operated(table: Mapping[str, Callable[[Any, Any], Any]], op: str, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """The sizes of two numbers and the numbers as those have them; or None and the result, where a trace is over."""
    if any(isinstance(x, _Number) and x.sizes.closed for x in (a, b)):
        return None, table[op](*[x.value if isinstance(x, _Number) and x.sizes.closed else x for x in (a, b)]), None
    sizes = a.sizes if isinstance(a, _Number) else b.sizes
    return sizes, _within(sizes, a), _within(sizes, b)


def _bits(a: Any, b: Any, op: str) -> Any:
    if not all(isinstance(x, (int, np.integer)) for x in (a, b)):
        return NotImplemented
    sizes, a, b = _operated(_BITS, op, a, b)
    if sizes is None:
        return a
    if op in ("<<", ">>") and not 0 <= b < 4096:
        sizes.fix("a shift by many places")
    least = 0 if a >= 0 and b >= 0 else UNKNOWN
    return sizes.opaque(f"({_text(a)} {op} {_text(b)})", _BITS[op](plain(a), plain(b)), least)


_BITS: dict[str, Callable[[Any, Any], Any]] = {
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}


def _real(op: str, a: Any, b: Any) -> Any:
    if not (_is_number(a) and _is_number(b)):
        return NotImplemented
    sizes, a, b = _operated(_ARITHMETIC, op, a, b)
    if sizes is None:
        return a
    if op in ("/", "//", "%") and not (b != 0):
        raise ZeroDivisionError("division by zero")
    return sizes.real(f"({_text(a)} {op} {_text(b)})", _ARITHMETIC[op](plain(a), plain(b)))


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def _power(a: Any, b: Any) -> Any:
    """``a ** b``, one of which is sized."""
    if not (_is_number(a) and _is_number(b)):
        return NotImplemented
    sizes, a, b = _operated(_ARITHMETIC, "**", a, b)
    if sizes is None:
        return a
    if type(a) is Size and type(b) is int and 0 <= b <= 4:
        return math.prod([a] * b)
    if not a > 0 or not -1024 <= b <= 1024:
        sizes.fix("a power")
    formula, value = f"({_text(a)} ** {_text(b)})", plain(a) ** plain(b)
    whole = not any(isinstance(x, float) for x in (a, b)) and b >= 0
    return sizes.opaque(formula, value, 0) if whole else sizes.real(formula, value)


def _whole(sizes: Sizes, x: Any) -> Any:
    """A whole number as an int or a size of a trace that is under way; None for others."""
    if sizes.closed:
        return None
    if type(x) is int:
        return x
    if type(x) is Size:
        return x if x.sizes is sizes else _within(sizes, x)
    return int(x) if isinstance(x, (int, np.integer)) else None


def _within(sizes: Sizes, x: Any) -> Any:
    """A number as it is in this trace: one of another trace, which is over, is a plain one."""
    return x if not isinstance(x, _Number) or x.sizes is sizes else x._number("a number of another trace")


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, _Number)) or isinstance(x, np.integer)


def _text(x: Any) -> str:
    if isinstance(x, _Number):
        return x.text
    return repr(float(x)) if isinstance(x, float) else repr(int(x))
