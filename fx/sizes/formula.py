"""Polynomials in the sizes of one trace, and Python functions that evaluate them.

An *atom* is what polynomials are made of: a variable, or a number that is no polynomial (a rest, a quotient, an extreme) and
has a formula of its own over earlier atoms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["MOST_TERMS", "ONE", "SMALLEST", "UNKNOWN", "Formulas", "Polynomials", "Terms", "evaluated"]

Terms = tuple[tuple[tuple[int, ...], int], ...]  # (numbers of atoms, coefficient), sorted
ONE: tuple[int, ...] = ()  # the atoms of a constant term
SMALLEST = 2  # sizes 0 and 1 mean something else (nothing, or a dimension that broadcasts)
UNKNOWN = -(2**62)  # the least value of what may be anything
MOST_TERMS = 64
_EXACT = 2.0**53
_ATOM = re.compile(r"\ba(\d+)\b")


class Formulas:
    """The atoms of a trace: the value of each in this trace, the least that it can have, its formula ("" for a variable)."""

    def __init__(self) -> None:
        self._values: list[int] = []
        self._bounds: list[int] = []
        self._formulas: list[str] = []
        self._atom_of: dict[Any, int] = {}
        self._variables: dict[int, int] = {}  # the atoms that are variables, each with its number among them
        self._functions: dict[str, Any] = {
            "floor": _floor, "ceil": math.ceil, "lower": math.floor, "inf": math.inf, "nan": math.nan,
        }  # fmt: skip

    def atom(self, key: Any, value: Any, at_least: int, formula: str) -> int:
        """The number of an atom, which is the same for the same key."""
        if key not in self._atom_of:
            self._atom_of[key] = k = len(self._values)
            if not formula:
                self._variables[k] = len(self._variables)
            self._values.append(value)
            self._bounds.append(at_least)
            self._formulas.append(formula)
        return self._atom_of[key]

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
            if atoms == ONE:
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
        varying = [atoms for atoms, _ in terms if atoms != ONE]
        return len(varying) == 1 and not any(self._formulas[a] for a in varying[0])

    def text_of(self, terms: Terms) -> str:
        return "+".join("*".join(_factors(atoms, c)) for atoms, c in terms) or "0"

    # ------------------------------------------------------------------ as functions of the variables' values

    def definitions(self, text: str) -> list[str]:
        """Lines that compute, from ``values``, the atoms that a text names."""
        wanted: set[int] = set()
        left = [int(k) for k in _ATOM.findall(text)]
        while left:
            k = left.pop()
            if k not in wanted:
                wanted.add(k)
                left += [int(j) for j in _ATOM.findall(self._formulas[k])]
        return [f"a{k} = {self._formulas[k] or f'values[{self._variables[k]}]'}" for k in sorted(wanted)]

    def all_atoms(self) -> str:
        """The values of all atoms, as a list."""
        return f"[{', '.join(f'a{k}' for k in range(len(self._values)))}]"

    def compiled(self, name: str, lines: Iterable[str], **names: Any) -> Any:
        """The function ``name`` that these lines define; they may use ``names``, and the functions that formulas do."""
        space: dict[str, Any] = {**self._functions, **names}
        exec("\n".join(lines), space)
        return space[name]


def evaluated(terms: Terms, values: Sequence[int]) -> int:
    """A polynomial for these values of the atoms."""
    total = 0
    for atoms, c in terms:
        for a in atoms:
            c *= values[a]
        total += c
    return total


class Polynomials:
    """Polynomials in the atoms, all evaluated at once."""

    def __init__(self, polynomials: Sequence[Terms]) -> None:
        self._terms = polynomials
        monomials: dict[tuple[int, ...], int] = {}
        which = [monomials.setdefault(atoms, len(monomials)) for terms in polynomials for atoms, _ in terms]
        self._needed = sorted({a for atoms in monomials for a in atoms})
        place = {a: k for k, a in enumerate(self._needed, 1)}  # 0 is that of the number 1
        degree = max(map(len, monomials), default=0)
        factors = [[*(place[a] for a in atoms), *[0] * (degree - len(atoms))] for atoms in monomials]
        self._factors = np.array(factors, np.int64).reshape(len(factors), degree)
        self._which = np.array(which, np.int64)
        self._coefficients = np.array([c for terms in polynomials for _, c in terms], np.float64)
        self._first = np.cumsum([0, *map(len, polynomials)])[:-1]

    def __call__(self, atoms: Sequence[Any]) -> np.ndarray:
        """Their values, for these values of all atoms: int64, or Python's integers where that does not hold them."""
        if not self._first.size:
            return np.zeros(0, np.int64)
        values = np.array([1, *[atoms[a] for a in self._needed]], np.float64)
        terms = self._coefficients * values[self._factors].prod(axis=1)[self._which]
        if np.abs(terms).sum() < _EXACT:  # all that was computed is a whole number that a double holds
            return np.add.reduceat(terms, self._first).astype(np.int64)
        exact = [evaluated(terms, atoms) for terms in self._terms]
        return np.array(exact, np.int64 if max(map(abs, exact)) < 2**63 else object)


def _factors(atoms: tuple[int, ...], c: int) -> list[str]:
    """A term's, in a formula."""
    names = [f"a{a}" for a in atoms]
    return names if c == 1 and names else [str(c), *names]


def _floor(a: int, b: int) -> int:
    return a // b if b else 0  # only asked where a guard has made sure of b, or to find that out
