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

HERE: AbstractContextManager[None] = nullcontext()


class Places(OpEmitter):
    """Operations on values of any level.

    Args:
        reduced: no pass over loops is to look at what is written.
    """

    def __init__(self, target: Target, reduced: bool) -> None:
        super().__init__(target)
        self.reduced = reduced
        self.before: list[list[str]] = []  # for every open loop, the lines that run before it
        self.pointers_before: list[dict[tuple[str, str, str], str]] = []  # ... and the addresses that these compute
        self.certain = False  # the code here runs in every iteration of the innermost loop
        self.sums: dict[str, tuple[str, str]] = {}  # of 64-bit integers: what they are the sums of

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
        """The index of a loop in its next iteration."""
        following = self.ins(f"add nsw i64 {index}, {step}")
        return self.ins(f"freeze i64 {following}") if self.reduced else following

    def pointer(self, base: str, offset: str, ty: str) -> str:
        """The address of ``base[offset]``, where elements are of LLVM's type ``ty``.

        The terms of a sum are added one by one: those known outside of the loop are added there, once for all that start
        from the same place, and a constant comes last, as instructions take it.
        """
        constant, whole = "", offset
        while self.reduced and offset in self.sums:
            outer, inner = sorted(self.sums[offset], key=self.level_of)
            if self.level_of(inner) < self.level:  # the whole of it is known outside
                break
            if not outer.startswith("%") and not constant:
                constant, offset = outer, inner
            elif outer.startswith("%") and self.level_of(outer) < self.level:
                base, offset = self._pointer_before(base, outer, ty), inner
            else:
                break
        at = self._element(base, offset, ty, inbounds=offset is whole)
        return self._element(at, constant, ty) if constant else at

    def level_of(self, value: str) -> int:
        return self.levels.get(value, 0)

    def _pointer_before(self, base: str, offset: str, ty: str) -> str:
        level = max(self.level_of(base), self.level_of(offset))
        known = self.pointers_before[level]
        key = base, offset, ty
        if key not in known:
            known[key] = self._element(base, offset, ty)
        return known[key]

    def _element(self, base: str, offset: str, ty: str, inbounds: bool = False) -> str:
        with self.hoisted(max(self.level_of(base), self.level_of(offset))):
            return self.ins(f"getelementptr {'inbounds ' if inbounds else ''}{ty}, ptr {base}, i64 {offset}")
