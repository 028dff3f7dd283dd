"""Where instructions go: out of the loops that they do not depend on.

Values are known by their level, the number of loops around them.  What is computed from values of a lower level than the
code that needs it goes ahead of the loop in between; so do the parts of an address.  LLVM's own pass for that, loop strength
reduction, takes up to nine tenths of the time that it takes to generate a kernel's code: loops are counted in a way in which
it does not know them (``counted``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from ..target import Target
from .ops import OpEmitter

_AHEAD = 2  # terms of an address that are added ahead of a loop
Terms = tuple[str, str]
HERE: AbstractContextManager[None] = nullcontext()


class Places(OpEmitter):
    """Operations on values of any level."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.reduced = False  # the code here is that of an innermost loop that LLVM does not know
        self.before: list[list[str]] = []  # for every open loop, the lines that run before it
        self.pointers_before: list[dict[tuple[str, str, str], str]] = []  # ... and the addresses that these compute
        self.certain = False  # the code here runs in every iteration of the innermost loop
        self.sums: dict[str, Terms] = {}  # of 64-bit integers: what they are the sums of

    def open_place(self) -> None:
        """Begins a loop: what is appended next may be moved to this place."""
        ahead: list[str] = []
        self.lines.append(ahead)  # type: ignore[arg-type]  # flattened when the function is complete
        self.before.append(ahead)
        self.pointers_before.append({})
        self.level += 1

    def close_place(self) -> None:
        self.level -= 1
        self.before.pop()
        self.pointers_before.pop()

    def hoisted(self, level: int, may_trap: bool = False) -> AbstractContextManager[None]:
        """Instructions on values of ``level`` go to the outermost place that knows them all."""
        if may_trap and level < self.level:
            level = self.level - 1 if self.certain else self.level
        return HERE if level == self.level else self._ahead_of_loop(level)

    @contextmanager
    def _ahead_of_loop(self, level: int) -> Iterator[None]:
        lines, here = self.lines, self.level
        self.lines, self.level = self.before[level], level
        yield
        self.lines, self.level = lines, here

    def counted(self, index: str, step: int) -> str:
        """The index of a loop in its next iteration; frozen, it is no induction variable to LLVM."""
        following = self.ins(f"add nsw i64 {index}, {step}")
        return self.ins(f"freeze i64 {following}") if self.reduced else following

    def pointer(self, base: str, offset: str | Terms, ty: str) -> str:
        """The address of ``base[offset]``, where elements are of LLVM's type ``ty``.

        The terms of a sum are added one by one: those known outside of the loop, two at most as each result takes a register, are
        added there, once for all addresses that start from the same place, and a constant comes last, as instructions take it.

        Args:
            offset: a value, or the terms of a sum that ``splits``.
        """
        last, ahead = "", 0
        terms = offset if isinstance(offset, tuple) else self.sums.get(offset)
        while terms is not None and self.splits(terms):
            outer, inner = self._by_level(terms)
            if outer.startswith("%") and ahead < _AHEAD:
                base, ahead = self._pointer_before(base, outer, ty), ahead + 1
            elif outer.startswith("%"):
                break
            elif not last:
                last = outer
            else:
                break
            offset, terms = inner, self.sums.get(inner)
        assert isinstance(offset, str)
        at = self.element(base, offset, ty)
        return self.element(at, last, ty) if last else at

    def splits(self, terms: Terms) -> bool:
        """Whether one of two terms is a constant, or known outside of the loop while the other is not."""
        outer, inner = self._by_level(terms)
        return not outer.startswith("%") or self.level_of(outer) < self.level == self.level_of(inner)

    def _by_level(self, terms: Terms) -> Terms:
        first, second = terms
        return (second, first) if self.level_of(second) < self.level_of(first) else terms

    def level_of(self, value: str) -> int:
        """-1 for a constant, 0 for what does not change."""
        if not value.startswith("%"):
            return -1
        return self.levels.get(value, 0)

    def _pointer_before(self, base: str, offset: str, ty: str) -> str:
        level = max(0, self.level_of(base), self.level_of(offset))
        known = self.pointers_before[level]
        key = base, offset, ty
        if key not in known:
            known[key] = self.element(base, offset, ty)
        return known[key]

    def element(self, base: str, offset: str, ty: str, inbounds: bool = False) -> str:
        """The address of ``base[offset]``; ``inbounds`` if all of it lies in one array."""
        with self.hoisted(max(0, self.level_of(base), self.level_of(offset))):
            return self.ins(f"getelementptr {'inbounds ' if inbounds else ''}{ty}, ptr {base}, i64 {offset}")
