"""What is done with numbers that may be sizes: conversions, extremes, slices, decisions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .number import is_sized, plain, text, within
from .real import Real
from .size import Size, least_of

__all__ = [
    "about_at_most",
    "alike",
    "as_float",
    "as_int",
    "as_size",
    "broadcast_shapes",
    "decided",
    "fitting",
    "largest",
    "late",
    "late_float",
    "near",
    "slice_indices",
    "slice_length",
    "smallest",
]


_NEAR = 4  # a factor: from half of the usual size to twice it


def as_size(x: Any) -> Any:
    """``operator.index``, which leaves sizes as they are."""
    return x if type(x) is Size and not x.sizes.closed else operator.index(x)


def as_int(x: Any) -> Any:
    """``int``, which leaves sizes as they are."""
    return x if type(x) is Size and not x.sizes.closed else int(x)


def as_float(x: Any) -> Any:
    """``float``, which keeps what follows from sizes."""
    return x.sizes.real(f"float({x.text})", float(x.value)) if is_sized(x) else float(x)


def fitting(x: Any, dtype: np.dtype) -> Any:
    """A size or a real that is to be a number of a dtype, which holds it.  (Plain numbers that do not fit are errors, or
    wrap, or have a wider dtype.)"""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if type(x) is not Size or not info.min <= x <= info.max:
            x.sizes.fix(f"a number that {dtype} may not hold")
    return x


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


def alike(a: Any, b: Any) -> bool:
    """Whether two whole numbers are equal whatever the sizes are: nothing is asked, so equal by chance is not alike."""
    if type(a) is not Size and type(b) is not Size:
        return bool(a == b)
    return type(a) is type(b) and a.sizes is b.sizes and a.terms == b.terms


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
    numbers = [within(sized.sizes, x) for x in numbers]
    formula, value = f"{name}({', '.join(map(text, numbers))})", choose(map(plain, numbers))
    if any(isinstance(x, (float, Real)) for x in numbers):
        return sized.sizes.real(formula, value)
    return sized.sizes.opaque(formula, value, choose([least_of(x) for x in numbers]))


def late(f: Callable[..., int], *args: Any, at_least: int = 1) -> Any:
    """``f(*args)``, an int, which for sizes is left to be asked again."""
    sized = next(filter(is_sized, args), None)
    if sized is None:
        return f(*args)
    return sized.sizes.opaque(*_asked_again(sized.sizes, f, args), at_least)


def late_float(f: Callable[..., float], *args: Any) -> Any:
    """``f(*args)``, a float, which for sizes is left to be asked again."""
    sized = next(filter(is_sized, args), None)
    return f(*args) if sized is None else sized.sizes.real(*_asked_again(sized.sizes, f, args))


def _asked_again(sizes: Any, f: Callable[..., Any], args: Sequence[Any]) -> tuple[str, Any]:
    """The formula of a call, and what it gives in this trace."""
    args = [within(sizes, x) for x in args]
    return f"{sizes.name_of(f)}({', '.join(map(text, args))})", f(*map(plain, args))


def near(x: Any, limit: float) -> bool:
    """Whether ``x`` varies and a usual change of the sizes may bring it to the other side of a limit.  A plan that serves both
    sides is better then than one with a guard.  Nothing is written down: it is for what holds either way."""
    return is_sized(x) and limit <= _NEAR * plain(x) and plain(x) <= _NEAR * limit


def about_at_most(x: Any, limit: float) -> bool:
    """Whether ``x <= limit``, for a choice that matters little on either side: near the limit, a plan for sizes that vary keeps to what
    the first of them chose, for as long as they are near."""
    if near(x, limit):
        chosen = plain(x) <= limit
        if limit <= _NEAR * x and x <= _NEAR * limit:  # written down
            return chosen
    return bool(x <= limit)
