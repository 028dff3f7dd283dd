"""Index maps: where an element lies, as an affine function of loop counters.

A fused loop nest runs over *atoms*: loop counters ``i_0 .. i_{k-1}`` with sizes ``n_0 .. n_{k-1}``.  Every index
that a value is read at is an ``Affine`` of the atoms, so slicing, reversing, broadcasting, transposing and (where
sizes factor) reshaping cost nothing at run time: they only change coefficients.  The numbers here are the sizes of
one shape signature; kernels receive them as integers through their frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Affine", "Cond", "Opaque", "SplitAtom", "ZERO", "delinearize", "dense_strides", "linearize"]


class Opaque(Exception):
    """An index map that is not affine, or another reason why values cannot share a kernel; the message says which.

    culprit: the variable which, once it lies in memory, can be read after all.
    """

    culprit: Any = None


class SplitAtom(Exception):
    """The map would be affine if ``atom`` were two loops, the inner one of size ``inner``."""

    def __init__(self, atom: int, inner: int) -> None:
        super().__init__(f"atom {atom} must be split at {inner}")
        self.atom = atom
        self.inner = inner


@dataclass(frozen=True, slots=True)
class Affine:
    """``(const + sum(coef * i_atom)) / den``; the division is exact wherever the value is used.

    ``terms`` holds ``(atom, coef)`` sorted by atom, no coefficient zero.
    """

    const: int = 0
    terms: tuple[tuple[int, int], ...] = ()
    den: int = 1

    def __add__(self, other: Affine) -> Affine:
        if self.den != other.den:
            d = self.den * other.den
            return self._over(d) + other._over(d)
        coefs = dict(self.terms)
        for atom, c in other.terms:
            coefs[atom] = coefs.get(atom, 0) + c
        terms = tuple(sorted((a, c) for a, c in coefs.items() if c))
        return Affine(self.const + other.const, terms, self.den)

    def _over(self, den: int) -> Affine:
        k = den // self.den
        return Affine(self.const * k, tuple((a, c * k) for a, c in self.terms), den)

    def scale(self, k: int) -> Affine:
        if k == 0:
            return ZERO
        if k == 1:
            return self
        if k % self.den == 0:
            k //= self.den
            return Affine(self.const * k, tuple((a, c * k) for a, c in self.terms))
        return Affine(self.const * k, tuple((a, c * k) for a, c in self.terms), self.den)

    def shift(self, c: int) -> Affine:
        return Affine(self.const + c * self.den, self.terms, self.den) if c else self

    def divide(self, m: int) -> Affine:
        return Affine(self.const, self.terms, self.den * m) if m != 1 else self

    def coef(self, atom: int) -> int:
        for a, c in self.terms:
            if a == atom:
                return c
        return 0

    def bounds(self, sizes: Sequence[int]) -> tuple[int, int]:
        """Smallest and largest value over all iterations (of the numerator if ``den`` is not 1)."""
        lo = hi = self.const
        for atom, c in self.terms:
            span = c * (sizes[atom] - 1)
            lo, hi = (lo, hi + span) if span > 0 else (lo + span, hi)
        return lo, hi

    def renumber(self, atoms: dict[int, int]) -> Affine:
        """The same map over other atoms; terms of atoms that are not in ``atoms`` go (they were merged away)."""
        terms = tuple(sorted((atoms[a], c) for a, c in self.terms if a in atoms))
        return Affine(self.const, terms, self.den)

    def __str__(self) -> str:
        parts = [f"i{a}" if c == 1 else f"{c}*i{a}" for a, c in self.terms]
        if self.const or not parts:
            parts.append(str(self.const))
        text = " + ".join(parts)
        return text if self.den == 1 else f"({text})/{self.den}"


ZERO = Affine()


@dataclass(frozen=True, slots=True)
class Cond:
    """``0 <= at < limit`` and, where ``modulus`` is not 1, ``at % modulus == 0`` (``at`` has no denominator)."""

    at: Affine
    limit: int
    modulus: int = 1

    @staticmethod
    def of(at: Affine, limit: int, modulus: int = 1) -> Cond:
        """The condition on ``at``, which may have a denominator: where the division is not exact, the condition
        under which it is known to be exact fails anyway."""
        d = at.den
        return Cond(Affine(at.const, at.terms), limit * d, 1 if modulus == 1 else modulus * d)

    def __str__(self) -> str:
        mod = f" and ({self.at}) % {self.modulus} == 0" if self.modulus != 1 else ""
        return f"0 <= {self.at} < {self.limit}{mod}"


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a C-ordered array."""
    strides: list[int] = []
    n = 1
    for s in reversed(shape):
        strides.append(n)
        n *= s
    return tuple(reversed(strides))


def linearize(index: Sequence[Affine], strides: Sequence[int], offset: int = 0) -> Affine:
    """``offset + sum(index[d] * strides[d])``."""
    if any(i.den != 1 for i in index):
        total = Affine(offset)
        for i, s in zip(index, strides):
            total = total + i.scale(s)
        return total
    coefs: dict[int, int] = {}
    for i, s in zip(index, strides):
        offset += i.const * s
        for atom, c in i.terms:
            coefs[atom] = coefs.get(atom, 0) + c * s
    return Affine(offset, tuple(sorted((a, c) for a, c in coefs.items() if c)))


def delinearize(at: Affine, shape: Sequence[int], sizes: Sequence[int]) -> tuple[Affine, ...]:
    """The index into ``shape`` of the element number ``at`` of a dense array.

    Raises:
        SplitAtom: a loop must be cut in two for the answer to be affine.
        Opaque: no affine answer exists.
    """
    if at.den != 1:
        raise Opaque("a reshape below interior padding")
    digits = [(s, t) for s, t in zip(shape, dense_strides(shape)) if s != 1]
    coefs: list[dict[int, int]] = [{} for _ in digits]
    consts = [0] * len(digits)
    rest = at.const
    if rest < 0 or any(c < 0 for _, c in at.terms):
        raise Opaque("a reshape of a reversed or shifted array")
    for d, (_, t) in enumerate(digits):
        consts[d], rest = divmod(rest, t)
    for atom, c in at.terms:
        d = next((k for k, (_, t) in enumerate(digits) if t <= c), -1)
        if d < 0 or c % digits[d][1]:
            raise Opaque("a reshape whose sizes do not factor")
        place = digits[d][0] * digits[d][1]  # the stride of the next digit to the left
        if c * sizes[atom] > place:
            if place % c == 0 and sizes[atom] % (place // c) == 0 and place > c:
                raise SplitAtom(atom, place // c)
            if c * (sizes[atom] - 1) >= place:
                raise Opaque("a reshape whose sizes do not factor")
        coefs[d][atom] = c // digits[d][1]
    found = [Affine(k, tuple(sorted(c.items()))) for k, c in zip(consts, coefs)]
    for a, (s, _) in zip(found, digits):
        if a.bounds(sizes)[1] >= s:
            raise Opaque("a reshape whose sizes do not factor")
    it = iter(found)
    return tuple(ZERO if s == 1 else next(it) for s in shape)
