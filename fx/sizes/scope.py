"""The sizes of one trace, and what was decided about them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from .formula import ONE, SMALLEST, UNKNOWN, Formulas, Polynomials, Terms, evaluated
from .number import COMPARE, is_sized
from .real import Real
from .size import Size

__all__ = ["Fixed", "Sizes"]


class Fixed(BaseException):
    """Something needed a size as a plain number: the end of a trace.  It is no error that a function may catch, nor one
    that ``logging`` would print."""


class _Asking(threading.local):
    """What this thread asks: sizes whose numbers are known for a moment."""

    sizes: Sizes | None = None
    atoms: Sequence[int] = ()


_asking = _Asking()


class Sizes(Formulas):
    """The variables of one trace, the conditions under which what was traced holds, and formulas as Python functions.

    fixed: what asked for the plain number, if something did: the program holds for it alone.
    by_chance: that was because the size is equal to another number.
    closed: the trace is over; sizes that somebody kept are plain numbers from now on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: list[int] = []  # of the variables, in this trace
        self.fixed = ""
        self.by_chance = False
        self.closed = False
        self.compared: dict[Any, bool] = {}  # comparisons, which come again and again
        self._guards: dict[str, bool] = {}
        self._signs: dict[tuple[Terms, str], bool] = {}  # guards ``polynomial op 0``
        self._checks: list[tuple[Callable[[], bool], bool]] = []

    # ------------------------------------------------------------------ numbers

    def variable(self, value: int) -> Size:
        """A new size, which has this value in this trace."""
        if value < SMALLEST:
            raise ValueError(f"a size that varies is at least {SMALLEST}; this is {value}")
        self.values.append(value)
        return Size(self, (((self.atom(("variable", len(self.values)), value, SMALLEST, ""),), 1),), value)

    def opaque(self, formula: str, value: int, at_least: int) -> Size:
        """A size that is no polynomial, by its formula."""
        return Size(self, (((self.atom(formula, value, at_least, formula),), 1),), value)

    def real(self, formula: str, value: Any) -> Real:
        """What floating-point arithmetic makes: a line of its own, so that formulas stay short."""
        return Real(self, f"a{self.atom(formula, value, UNKNOWN, formula)}", value)

    # ------------------------------------------------------------------ decisions

    def decide(self, condition: str, outcome: bool) -> bool:
        """Writes down that a condition on the sizes came out this way."""
        if not self.closed:
            self._guards[condition] = outcome
        return outcome

    def decide_sign(self, terms: Terms, op: str, outcome: bool) -> bool:
        """``decide`` that a polynomial is positive, say (``op`` is ">"): those are told all at once."""
        if not self.closed:
            self._signs[terms, op] = outcome
        return outcome

    def fix(self, what: str, by_chance: bool = False) -> NoReturn:
        """Ends a trace: the program would hold for one value alone."""
        if not self.fixed:
            self.fixed, self.by_chance = what, by_chance
        raise Fixed(f"a size that varies was needed as a plain number: {what}")

    def check(self, f: Callable[[], bool]) -> bool:
        """What ``f`` says where sizes are plain numbers; it is asked again for other sizes."""
        outcome = self._say(f, self._values)
        self._checks.append((f, outcome))
        return outcome

    def _say(self, f: Callable[[], bool], atoms: Sequence[int]) -> bool:
        before = _asking.sizes, _asking.atoms
        _asking.sizes, _asking.atoms = self, atoms
        try:
            return f()
        finally:
            _asking.sizes, _asking.atoms = before

    def now(self, terms: Terms) -> int | None:
        """The number that a size is for ``f`` of ``check``; None outside of it."""
        return evaluated(terms, _asking.atoms) if _asking.sizes is self else None

    @property
    def guards(self) -> list[str]:
        """The conditions under which the program holds."""
        signs = {f"(({self.text_of(terms)}) {op} 0)": outcome for (terms, op), outcome in self._signs.items()}
        return [c if outcome else f"not {c}" for c, outcome in {**self._guards, **signs}.items()]

    # ------------------------------------------------------------------ functions of the variables' values

    def test(self) -> Callable[[Sequence[int]], list[Any] | None]:
        """A function of the variables' values: the values of all atoms where the program holds for them; else None.  It does
        not hold where a formula has no value, as that stands behind a guard then."""
        guards = [c if outcome else f"not {c}" for c, outcome in self._guards.items()]
        atoms = self.all_atoms()
        lines = ["def test(values):", f"    if min(values) < {SMALLEST}: return None", "    try:"]
        lines += [f"        {line}" for line in self.definitions(atoms)]
        lines.append(f"        if not ({' and '.join(guards) or 'True'}): return None")
        lines.append("    except (ArithmeticError, ValueError): return None")
        lines += [f"    atoms = {atoms}", "    return atoms if signs(atoms) and agree(atoms) else None"]
        checks = tuple(self._checks)
        agree = lambda atoms: all(self._say(f, atoms) == out for f, out in checks)
        test: Callable[[Sequence[int]], list[Any] | None]
        test = self.compiled("test", lines, agree=agree, signs=_signs_test(self._signs))
        return test

    def numbers(self, of: Sequence[Any]) -> Callable[[Sequence[Any]], list[Any]]:
        """A function of the values of all atoms: the numbers that ``of`` (sizes and reals) are for them."""
        whole = Polynomials([x.terms if type(x) is Size else ((ONE, 0),) for x in of])
        reals = [(k, int(x.text[1:])) for k, x in enumerate(of) if type(x) is Real]  # each is an atom

        def evaluate(atoms: Sequence[Any]) -> list[Any]:
            found: list[Any] = whole(atoms).tolist()
            for k, atom in reals:
                found[k] = atoms[atom]
            return found

        return evaluate

    def formulas(self, of: Sequence[Any]) -> Callable[[Sequence[int]], list[Any]]:
        """A function of the variables' values: the numbers that ``of`` (sizes and plain numbers) are for them."""
        results = f"[{', '.join([x.text if is_sized(x) else repr(x) for x in of])}]"
        lines = ["def evaluate(values):", *[f"    {line}" for line in self.definitions(results)]]
        evaluate: Callable[[Sequence[int]], list[Any]] = self.compiled("evaluate", [*lines, f"    return {results}"])
        return evaluate


def _signs_test(signs: Mapping[tuple[Terms, str], bool]) -> Callable[[Sequence[Any]], bool]:
    """Whether, for some values of all atoms, each polynomial compares with 0 as it did."""
    polynomials = Polynomials([terms for terms, _ in signs])
    allowed = np.array([[COMPARE[op](sign, 0) == out for sign in (-1, 0, 1)] for (_, op), out in signs.items()], bool)
    rows = np.arange(len(signs))

    def test(atoms: Sequence[Any]) -> bool:
        values = polynomials(atoms)
        return bool(allowed[rows, (values > 0).astype(np.int64) - (values < 0) + 1].all()) if len(rows) else True

    return test
