"""What a lowering is: the interface between the planner and the families in this folder.

Two kinds of lowering exist, and every primitive that reaches ``jit`` has exactly one:

* ``@pointwise("sin", ...)``: a function from operand values to the result value at *one* index.  The fuser
  inlines it into whatever loop nest it builds.
* ``@lowers("sort", ...)``: a function that appends native steps to the program (``ctx.step``), for operations with a
  loop structure of their own.  ``@lowers_product("dot_general")`` is one that can take an epilogue into its kernel.

(Shaping operations such as transpose or broadcast are neither: ``lower/shaping.py`` rewrites indices.)

Kernels take every size and stride at run time through their frame, so a new batch size compiles nothing; a
lowering may specialise the *kernel key* on dtype, rank, layout class and small structural facts (window 3x3).

A size may be a ``fx.sizes.Size``, so that a program is filled in for others.  What is decided by it (``if n > 32``) bounds the
sizes that the program holds for; what only goes into a frame, a range or a chunk should be a formula: ``largest``,
``smallest`` and ``late`` in place of ``max``, ``min`` and a function of numbers, and no ``int()``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Union

import numpy as np

from fx.errors import RegistryError
from fx.ir import Eqn

from ..arithmetic import Arithmetic
from ..loop_builder import KernelBuilder
from ..loop_ir import Expr, Kernel, Ty


@dataclass(frozen=True, slots=True)
class Operand:
    """An array in a logical buffer: element (i, j, ...) is at ``offset + i*strides[0] + j*strides[1] ...``.

    Offset and strides count elements of ``dtype`` (a complex element is two reals).  Strides may be zero
    (broadcast) or negative (reversed).  Results are always dense in C order at offset 0.
    """

    buffer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: np.dtype

    @property
    def size(self) -> int:
        n = 1
        for s in self.shape:
            n *= s
        return n

    @property
    def dense(self) -> bool:
        """Contiguous in C order (dimensions of size 1 may have any stride)."""
        expect = 1
        for s, st in zip(reversed(self.shape), reversed(self.strides)):
            if s != 1 and st != expect:
                return self.size == 0
            expect *= s
        return True


@dataclass(frozen=True, slots=True)
class Address:
    """A frame argument: the address of byte ``nbytes_offset`` of a logical buffer."""

    buffer: int
    byte_offset: int = 0


class Foreign(int):
    """A frame argument: an address outside our kernels and buffers.  It holds in this process alone, so programs that have one
    are planned in every process."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class KernelHandle:
    """A kernel by key; the same key means the same native code, in this process and in the cache."""

    key: tuple[Hashable, ...]
    kernel: Kernel


@dataclass(frozen=True, slots=True)
class Called:
    """A frame argument: the address of words that hold the address of a kernel and, behind it, that kernel's frame.  The
    kernel that has the argument calls this one over ranges of its own."""

    kernel: KernelHandle
    args: tuple[Arg, ...]


Arg = Union[int, Address, Operand, Called]  # an Operand as argument stands for the address of its element 0


@dataclass(frozen=True, slots=True)
class Items:
    """What a step does for each item of a batch, such as a head of attention: its range is ``count`` times ``each`` indices, and those
    of item i touch of a buffer in ``nbytes``, (buffer, n), no other bytes than ``range(i * n, (i + 1) * n)``.  Of the buffers
    that are not named, they may touch any."""

    count: int
    each: int
    nbytes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Runs ``kernel`` over ``range(total)``, cut into pieces of ``chunk`` (a function of shapes only), or into shares of the threads (see ``SHARES``)."""

    may_vary: ClassVar[tuple[str, ...]] = ("args", "total", "chunk", "flops", "nbytes")
    kernel: KernelHandle
    args: tuple[Arg, ...]
    total: int
    chunk: int
    name: str
    flops: int = 0
    nbytes: int = 0
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    items: Items | None = None

    @property
    def calls(self) -> tuple[Called, ...]:
        """What its kernel calls."""
        return tuple([a for a in self.args if isinstance(a, Called)])


class Host(Protocol):
    """What a lowering may know of the machine (``jit/target.py`` reads it from the host or from a test)."""

    @property
    def vector_bits(self) -> int:
        """128, 256, 512 (or 64: no SIMD)."""
        ...

    @property
    def vector_registers(self) -> int:
        """16 or 32."""
        ...

    @property
    def fma(self) -> bool: ...
    @property
    def arithmetic(self) -> Arithmetic: ...
    @property
    def l1_bytes(self) -> int: ...
    @property
    def l2_bytes(self) -> int: ...
    @property
    def l3_bytes(self) -> int: ...
    @property
    def l1_ways(self) -> int: ...

    @property
    def unit_bits(self) -> int:
        """Width of the units that multiply and add: ``vector_bits``, or less."""
        ...

    @property
    def masked_accesses(self) -> bool:
        """Instructions read and write some lanes of a vector of 32 or 64 bits an element."""
        ...

    def lanes(self, ty: Ty) -> int:
        """Elements of ``ty`` in a vector register."""
        ...


class LowerContext(Protocol):
    """Given to every ``@lowers`` function."""

    host: Host
    depth: int  # how many operations (loops, branches) hold the graph that is lowered
    serial: bool  # one thread runs the steps: they stand in blocks of rows, which threads share

    def kernel(self, key: tuple[Hashable, ...], make: Callable[[], Kernel]) -> KernelHandle:
        """The kernel of that key, built with ``make`` if this process has not built it yet."""
        ...

    def scratch(self, nbytes: int, per_worker: bool = False) -> Address:
        """Uninitialised memory, 64-byte aligned, alive for this operation.  ``per_worker``: one such block for
        each worker, block w at byte ``w * nbytes`` (``nbytes`` is rounded up to 64 by the caller)."""
        ...

    def step(
        self, kernel: KernelHandle, args: tuple[Arg, ...], total: int, chunk: int, name: str, flops: int = 0,
        nbytes: int = 0, reads: tuple[Operand | Address, ...] = (), writes: tuple[Operand | Address, ...] = (),
        items: Items | None = None,
    ) -> None:  # fmt: skip
        """Appends a step.  Steps run one after another; the pieces of one step run in any order, on any worker."""
        ...

    def call_reference(self, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...], reason: str) -> None:
        """Appends a call of the primitive's NumPy reference, where there is no native way; ``explain`` shows the reason."""
        ...

    def contiguous(self, operand: Operand) -> Operand:
        """The operand itself if dense, else a dense copy (appends a copying step)."""
        ...


Value = Any  # Expr, or a (re, im) pair of Expr for complex dtypes
PointwiseRule = Callable[
    ..., Value
]  # rule(b: KernelBuilder, eqn: Eqn, *values) -> Value (a tuple of Values if multiple results)
Lowering = Callable[[LowerContext, Eqn, tuple[Operand, ...], tuple[Operand, ...]], None]

POINTWISE: dict[str, PointwiseRule] = {}
LOWERINGS: dict[str, Lowering] = {}


def _register(table: dict[str, Any], names: tuple[str, ...]) -> Callable[[Any], Any]:
    def give(rule: Any) -> Any:
        for name in names:
            if name in POINTWISE or name in LOWERINGS:
                raise RegistryError(f"primitive {name!r} already has a lowering; a lowering is given once")
            table[name] = rule
        return rule

    return give


def pointwise(*names: str) -> Callable[[PointwiseRule], PointwiseRule]:
    """Decorator: ``rule(b, eqn, *values) -> value`` computes the result at one index."""
    return _register(POINTWISE, names)


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Decorator: ``rule(ctx, eqn, ins, outs)`` appends the steps that compute ``outs``."""
    return _register(LOWERINGS, names)


ProductLowering = Callable[[LowerContext, Eqn, tuple[Operand, ...], tuple[Operand, ...], Any], bool]
PRODUCTS: dict[str, ProductLowering] = {}


def lowers_product(name: str) -> Callable[[ProductLowering], ProductLowering]:
    """Decorator: ``rule(ctx, eqn, ins, outs, epilogue)``, which may be None, says whether it took the epilogue.

    Without one it is an ordinary lowering.
    """

    def give(rule: ProductLowering) -> ProductLowering:
        def whole(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
            rule(ctx, eqn, ins, outs, None)

        lowers(name)(whole)
        PRODUCTS[name] = rule
        return rule

    return give


__all__ = [
    "Address", "Arg", "Called", "Expr", "Foreign", "Host", "KernelBuilder", "KernelHandle", "LowerContext", "Lowering", "Operand",
    "LOWERINGS", "POINTWISE", "PRODUCTS", "ProductLowering", "Step", "Value", "lowers", "lowers_product", "pointwise",
]  # fmt: skip
