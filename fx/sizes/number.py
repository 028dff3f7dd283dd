"""What sizes and reals share: whoever needs the plain number ends the trace."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from .scope import Sizes

__all__ = ["COMPARE", "Number", "is_number", "is_sized", "operands", "plain", "shown", "text", "within"]

OURS = ("fx.", "jit.")  # the packages whose tables tell sizes apart as symbols
_our_scopes: set[int] = set()  # of modules of ours, which stay

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

_OPERATORS: dict[np.ufunc, Callable[[Any, Any], Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.floor_divide: operator.floordiv,
    np.remainder: operator.mod,
    np.true_divide: operator.truediv,
    np.power: operator.pow,
    np.equal: operator.eq,
    np.not_equal: operator.ne,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
    np.less: operator.lt,
    np.less_equal: operator.le,
}


def _is_ours(scope: dict[str, Any]) -> bool:
    name = scope.get("__name__", "")
    ours: bool = name.startswith(OURS)
    if ours and name in sys.modules and vars(sys.modules[name]) is scope:
        _our_scopes.add(id(scope))
    return ours


class Number:
    """A number of a trace: ``value`` is what it is there, and ``text`` the formula by which it follows from sizes."""

    __slots__ = ("sizes", "value")
    sizes: Sizes
    value: Any

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def symbol(self) -> int:
        """The hash of the formula."""
        raise NotImplementedError

    def number(self, what: str) -> Any:
        """The plain number: outside of its trace."""
        return self.value if self.sizes.closed else self.sizes.fix(what)

    def __int__(self) -> int:
        return int(self.number("an int"))

    def __float__(self) -> float:
        return float(self.number("a float"))

    def __complex__(self) -> complex:
        return complex(self.number("a complex number"))

    def __str__(self) -> str:
        return str(self.number("its text"))

    def __repr__(self) -> str:
        return repr(self.number("its text"))

    def __format__(self, spec: str) -> str:
        return format(self.number("its text"), spec)

    def __reduce__(self) -> Any:
        return type(self.value), (self.number("a copy"),)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.number("a NumPy array"), dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Arithmetic with NumPy's integers is that of Python; traced arrays do by themselves what is asked of them."""
        if any(
            hasattr(type(x), "__array_ufunc__") and not isinstance(x, (Number, np.ndarray, np.generic)) for x in inputs
        ):
            return NotImplemented
        if ufunc in _OPERATORS and method == "__call__" and not kwargs and all(map(is_number, inputs)):
            return _OPERATORS[ufunc](*[x.item() if isinstance(x, np.generic) else x for x in inputs])
        what = f"an argument of NumPy's {ufunc.__name__}"
        return getattr(ufunc, method)(*[x.number(what) if isinstance(x, Number) else x for x in inputs], **kwargs)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(int, name) and not hasattr(float, name):
            raise AttributeError(name)
        return getattr(self.number(name), name)

    def __hash__(self) -> int:
        """Tables of ours tell programs apart by it; a table of the user's asks for the number."""
        scope = sys._getframe(1).f_globals
        if id(scope) in _our_scopes or _is_ours(scope):
            return self.symbol
        return hash(self.number("its hash"))

    def __bool__(self) -> bool:
        return bool(self != cast(Any, 0))

    def compared(self, other: Any, op: str) -> Any:
        """``self op other``, as a guard."""
        if not is_number(other):
            return self._compared_with_a_stranger(other, op)
        if self.sizes.closed:
            return COMPARE[op](self.value, other)
        other = within(self.sizes, other)
        return self.sizes.decide(f"({self.text} {op} {text(other)})", COMPARE[op](self.value, plain(other)))

    def _compared_with_a_stranger(self, other: Any, op: str) -> Any:
        """Arrays and numbers of other kinds ask a plain number; what is no number says by itself what it is equal to."""
        if isinstance(other, (complex, np.generic, np.ndarray)):
            return COMPARE[op](self.number("compared with a number of another kind"), other)
        return NotImplemented

    def __pos__(self) -> Any:
        return self


def is_sized(x: Any) -> bool:
    """True for a number that follows from sizes."""
    return isinstance(x, Number) and not x.sizes.closed


def plain(x: Any) -> Any:
    """The value that a number has in its trace, which nothing may depend on."""
    return x.value if isinstance(x, Number) else x


def shown(x: Any) -> str:
    """A number for people: its digits, or the formula by which it follows from sizes."""
    return x.text if isinstance(x, Number) else str(x)


def within(sizes: Sizes, x: Any) -> Any:
    """A number as it is in this trace: one of another trace, which is over, is a plain one."""
    return x if not isinstance(x, Number) or x.sizes is sizes else x.number("a number of another trace")


def is_number(x: Any) -> bool:
    """Whether arithmetic with it has a formula."""
    return isinstance(x, (int, float, np.integer, Number))


def text(x: Any) -> str:
    """A number in a formula."""
    if isinstance(x, Number):
        return x.text
    return repr(float(x)) if isinstance(x, float) else repr(int(x))


def operands(table: Mapping[str, Callable[[Any, Any], Any]], op: str, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """The sizes of two numbers, one of which has some, and the numbers as those have them; or None and the result, where a
    trace is over."""
    if any(isinstance(x, Number) and x.sizes.closed for x in (a, b)):
        return None, table[op](*[x.value if isinstance(x, Number) and x.sizes.closed else x for x in (a, b)]), None
    sizes = a.sizes if isinstance(a, Number) else b.sizes
    return sizes, within(sizes, a), within(sizes, b)
