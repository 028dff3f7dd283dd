"""Many updates of few elements: pieces of the updates go into tables of their own, at the same time, which are then joined.

How many tables there are, and which updates go into which, is fixed by the shapes, and the tables are joined in order; so
threads change nothing.  Within a table, updates are applied in their order.
"""

from __future__ import annotations

from fx import dtypes

from ..cost import chunk_for
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Kernel, Ty
from .copies import NS_PER_BYTE
from .reductions import COMBINE, identity_of
from .registry import Address, LowerContext, Operand
from .types import compute_type

__all__ = ["PIECES", "join_tables", "new_tables", "worth_tables"]

PIECES = 8  # of the updates, and tables
_UPDATES_FROM = 1 << 16
_UPDATES_PER_PLACE = 4  # of all tables together


def worth_tables(updates: int, elements: int) -> bool:
    """Whether there are so many updates that starting and joining tables is little beside them."""
    return updates >= _UPDATES_FROM and updates >= _UPDATES_PER_PLACE * PIECES * elements


def _start_kernel(memory: Ty, neutral: float) -> Kernel:
    b = KernelBuilder("scatter_tables")
    tables = b.pointer("tables", memory)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(tables, i, Const(neutral, memory))
    return b.build()


def new_tables(ctx: LowerContext, name: str, op: str, like: Operand, memory: Ty) -> Address:
    """Dense arrays of the elements of ``like``, filled with what changes no element."""
    total = PIECES * like.size
    tables = ctx.scratch(-(-total * memory.itemsize // 64) * 64)
    neutral = -0.0 if op == "sum" and dtypes.is_float(like.dtype) else identity_of(op, like.dtype)  # 0.0 + -0.0 is 0.0
    kernel = ctx.kernel(("scatter_tables", op, str(memory), neutral), lambda: _start_kernel(memory, neutral))
    cost = NS_PER_BYTE * memory.itemsize
    ctx.step(kernel, (tables,), total, chunk_for(total, cost, 64), f"{name} (tables)", writes=(tables,))
    return tables


def _join_kernel(op: str, memory: Ty) -> Kernel:
    b = KernelBuilder(f"scatter_{op}_join")
    out, tables, size = b.pointer("out", memory), b.pointer("tables", memory), b.integer("size")
    wide = compute_type(memory)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        joined = b.load(out, i).cast(wide)
        for k in range(PIECES):
            joined = COMBINE[op](b, joined, b.load(tables, i + size * k).cast(wide))
        b.store(out, i, joined.cast(memory))
    return b.build()


def join_tables(
    ctx: LowerContext, name: str, op: str, into: Operand | Address, size: int, tables: Address, memory: Ty
) -> None:
    """Combines the ``size`` elements of ``into`` with those of all tables."""
    kernel = ctx.kernel(("scatter_join", op, str(memory)), lambda: _join_kernel(op, memory))
    cost = NS_PER_BYTE * memory.itemsize * (PIECES + 2)
    ctx.step(
        kernel, (into, tables, size), size, chunk_for(size, cost, 64), f"{name} (join)", reads=(tables,), writes=(into,)
    )
