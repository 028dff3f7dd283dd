"""What a lowering writes into: the ``LowerContext`` of a program under construction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, Union

import numpy as np

from fx.errors import LoweringError
from fx.ir import Aval, Eqn, Graph, Literal, Var
from fx.sizes import is_sized, largest

from ..loop_ir import (
    Alloc,
    Assign,
    Call,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Op,
    Place,
    Prefetch,
    Ref,
    Stmt,
    Store,
    While,
)
from ..loop_walk import operands
from ..memory import POOLED_FROM
from ..nest.arrange import arrange
from ..nest.index_map import Affine, dense_strides
from ..nest.nodes import Leaf, Nest, NestStore
from ..plan import FusionPlan, Group, View
from ..runtime_ir import SHARES
from .registry import Address, Arg, Called, Host, Items, KernelHandle, Operand, Step
from .steering import LoopBegin, LoopExit, Steering, Switch

__all__ = ["AnyStep", "Builder", "CallbackStep", "Listed", "LogicalBuffer", "Region", "touched"]

CONST_SLOT = 16  # bytes between literals in the constant buffer
_handles: dict[tuple[Hashable, ...], KernelHandle] = {}  # kernels this process has built, by key


@dataclass(frozen=True, slots=True)
class LogicalBuffer:
    """kind: 'input' or 'output' (``index`` says which), 'const', 'arena', or 'view' (``view`` says of what);
    per_worker: ``nbytes`` for each worker; apart: bytes from one worker's to the next one's, where steps in blocks of rows find their
    own by its address and not by the number of the worker."""

    kind: str
    nbytes: int
    index: int = 0
    per_worker: bool = False
    aval: Aval | None = None
    view: View | None = None
    apart: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """A group of the plan, or of the plan of a graph inside it, as ``explain`` lists it."""

    plan: FusionPlan
    group: Group
    depth: int


@dataclass(frozen=True, slots=True)
class CallbackStep:
    """A Python function called between native steps."""

    eqn: Eqn
    ins: tuple[Operand, ...]
    outs: tuple[Operand, ...]
    reason: str = "a callback is a Python function"

    @property
    def name(self) -> str:
        return self.eqn.prim.name


AnyStep = Union[Step, CallbackStep, Steering]


class Builder:
    """Collects the steps and logical buffers of one program."""

    def __init__(
        self,
        host: Host,
        emit_copy: Callable[[Builder, Nest], None],
        plan_region: Callable[[Builder, Graph, Mapping[int, int]], Region],
    ) -> None:
        self.host = host
        self.steps: list[AnyStep] = []
        self.groups: list[int] = []  # for each step, the number in ``listing`` of the group it belongs to
        self.listing: list[Listed] = []
        self.depth = 0
        self.serial = False  # what is lowered runs on one thread: it stands in blocks of rows
        self._group: list[int] = []
        self._numbers = itertools.count()
        self.buffers: list[LogicalBuffer] = []
        self.consts = bytearray()
        self._const_buffer: int | None = None
        self._const_slots: dict[Any, int] = {}
        self.sized_consts: list[tuple[int, np.dtype, Any]] = []  # (byte, dtype, value) of those that follow from sizes
        self._buffer_of: dict[Var, int] = {}
        self._emit_copy = emit_copy
        self._plan_region = plan_region

    @contextmanager
    def listed(self, plan: FusionPlan, group: Group) -> Iterator[None]:
        """The steps appended inside belong to this group."""
        self._group.append(len(self.listing))
        self.listing.append(Listed(plan, group, self.depth))
        yield
        self._group.pop()

    # ------------------------------------------------------------------ buffers

    def add_buffer(self, buffer: LogicalBuffer, *owners: Var) -> int:
        self.buffers.append(buffer)
        for v in owners:
            self._buffer_of[v] = len(self.buffers) - 1
        return len(self.buffers) - 1

    def share_buffer(self, var: Var, buffer: int) -> None:
        """``var`` uses a buffer that exists already."""
        self._buffer_of[var] = buffer

    def buffer_of(self, var: Var) -> int:
        return self._buffer_of[var]

    def is_fresh(self, buffer: int) -> bool:
        """Whether a buffer is a large result of the program: memory of its own, which begins with a cache line."""
        found = self.buffers[buffer]
        return not self.serial and self.depth == 0 and found.kind == "output" and bool(found.nbytes >= POOLED_FROM)

    @property
    def buffers_by_owner(self) -> dict[Var, int]:
        return self._buffer_of

    def add_scratch(self, var: Var, nbytes: int) -> None:
        """Memory for a value that lives inside one group."""
        self.add_buffer(LogicalBuffer("arena", nbytes, aval=var.aval), var)

    def scratch(self, nbytes: int, per_worker: bool = False) -> Address:
        return Address(self.add_buffer(LogicalBuffer("arena", nbytes, per_worker=per_worker)))

    def literal(self, lit: Literal) -> Operand:
        """A scalar in the constant buffer."""
        if self._const_buffer is None:
            self._const_buffer = self.add_buffer(LogicalBuffer("const", 0))
        dtype = lit.aval.dtype
        sized = is_sized(lit.value)
        data: Any = (lit.value, dtype) if sized else np.asarray(lit.value, dtype).tobytes()
        slot = self._const_slots.setdefault(data, len(self.consts))
        if slot == len(self.consts):
            self.consts += (b"" if sized else data).ljust(CONST_SLOT, b"\0")
            if sized:
                self.sized_consts.append((slot, dtype, lit.value))
        return Operand(self._const_buffer, (), (), slot // dtype.itemsize, dtype)

    def view(self, base: Operand | int, aval: Aval, **how: int | None) -> int:
        """A buffer for a dense ``aval`` that lies in another buffer; see ``View`` for ``how``."""
        buffer, offset = (base, 0) if isinstance(base, int) else (base.buffer, base.offset * base.dtype.itemsize)
        if not how and offset == 0:
            return buffer
        offset += how.pop("byte_offset", 0) or 0
        return self.add_buffer(LogicalBuffer("view", aval.nbytes, aval=aval, view=View(buffer, offset, **how)))  # type: ignore[arg-type]

    def relocate(self, buffer: int, base: int, byte_offset: int) -> None:
        """From now on, and in what stands there already, a buffer of the arena lies in another one."""
        old = self.buffers[buffer]
        self.buffers[buffer] = replace(old, kind="view", view=View(base, byte_offset))

    # ------------------------------------------------------------------ graphs inside the graph

    def number(self) -> int:
        """A number for a loop or a switch."""
        return next(self._numbers)

    def plan_region(self, graph: Graph, carried: Mapping[int, int]) -> Region:
        """Plans a graph that an operation holds.  ``carried``: output -> the input whose memory it may overwrite."""
        return self._plan_region(self, graph, carried)

    @contextmanager
    def own_variables(self) -> Iterator[None]:
        """Inside, variables are those of another graph (the same graph may stand in a program twice)."""
        old, self._buffer_of = self._buffer_of, {}
        self.depth += 1
        yield
        self.depth -= 1
        self._buffer_of = old

    def steer(self, marker: Steering) -> None:
        self._append(marker)

    # ------------------------------------------------------------------ kernels and steps

    def kernel(self, key: tuple[Hashable, ...], make: Callable[[], Kernel]) -> KernelHandle:
        if key not in _handles:
            _handles[key] = KernelHandle(key, make())
        return _handles[key]

    def fused_kernel(self, kernel: Kernel) -> KernelHandle:
        """The handle of a kernel whose key is its structure."""
        return self.kernel(("fused", structure(kernel)), lambda: kernel)

    def step(
        self, kernel: KernelHandle, args: tuple[Arg, ...], total: int, chunk: int, name: str, flops: int = 0,
        nbytes: int = 0, reads: tuple[Operand | Address, ...] = (), writes: tuple[Operand | Address, ...] = (),
        items: Items | None = None,
    ) -> None:  # fmt: skip
        if total <= 0:
            return
        if len(args) != len(kernel.kernel.params):
            raise LoweringError(f"kernel {name} takes {len(kernel.kernel.params)} arguments, {len(args)} given")
        read, written = (tuple(x.buffer for x in group) for group in (reads, writes))
        length = chunk if not is_sized(chunk) and chunk == SHARES else largest(1, chunk)
        self._append(Step(kernel, tuple(args), total, length, name, flops, nbytes, read, written, items))

    def _append(self, step: AnyStep) -> None:
        self.steps.append(step)
        self.groups.append(self._group[-1])

    def callback(self, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
        self._append(CallbackStep(eqn, tuple(self.contiguous(x) for x in ins), outs))

    def call_reference(self, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...], reason: str) -> None:
        """Calls the primitive's NumPy reference, for a reason that ``explain`` shows."""
        prim: Any = eqn.prim
        reference, several = prim.rule("impl"), prim.multiple_results

        def callback(*arrays: np.ndarray) -> Sequence[np.ndarray]:
            found = reference(*arrays, **eqn.params)
            return found if several else [found]

        called = eqn.replace(params={"callback": callback})
        self._append(CallbackStep(called, tuple(self.contiguous(x) for x in ins), outs, reason))

    def contiguous(self, operand: Operand) -> Operand:
        if operand.dense:
            return operand
        target = self.add_buffer(LogicalBuffer("arena", operand.size * operand.dtype.itemsize))
        self.copy(operand, target)
        return Operand(target, operand.shape, dense_strides(operand.shape), 0, operand.dtype)

    def copy(self, operand: Operand, target: int) -> None:
        """Copies an operand, in C order, into a buffer."""
        if operand.size == 0:
            return
        source, copied = (Var(Aval(operand.shape, operand.dtype)) for _ in range(2))
        self.share_buffer(source, operand.buffer)
        self.share_buffer(copied, target)
        dims = [(n, st, d) for n, st, d in zip(operand.shape, operand.strides, dense_strides(operand.shape)) if n != 1]
        atoms = [(k, n) for k, (n, _, _) in enumerate(dims)]
        at = Affine(operand.offset, tuple((k, st) for k, (_, st, _) in enumerate(dims) if st))
        leaf = Leaf(source, at, (), operand.dtype, frozenset(a for a, _ in at.terms))
        out = Affine(0, tuple((k, d) for k, (_, _, d) in enumerate(dims)))
        self._emit_copy(self, arrange(atoms, frozenset(), (NestStore(copied, out, leaf, True),), ()))


class Region(Protocol):
    """A planned graph that an operation holds."""

    def in_place(self, output: int) -> bool:
        """Whether the output overwrites the input that it is carried to."""
        ...

    def emit(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Appends its steps; ``inputs`` and ``outputs`` are the buffers that hold them, dense from byte 0."""
        ...


def touched(step: AnyStep) -> set[int]:
    """The buffers that a step reads or writes."""
    if isinstance(step, CallbackStep):
        return {x.buffer for x in (*step.ins, *step.outs)}
    if isinstance(step, LoopExit):
        return {step.flag.buffer}
    if isinstance(step, Switch):
        return {step.index.buffer}
    if isinstance(step, LoopBegin):
        return set(step.keeps)
    if not isinstance(step, Step):
        return set()
    return _places(step.args) | set(step.reads) | set(step.writes)


def _places(args: Sequence[Arg]) -> set[int]:
    """The buffers that frame arguments lie in."""
    found = {a.buffer for a in args if isinstance(a, (Address, Operand))}
    return found.union(*(_places(a.args) for a in args if isinstance(a, Called)))


# -------------------------------------------------------------------------------- kernel identity


def structure(kernel: Kernel) -> str:
    """A text that is the same for equal kernels only; much cheaper than printing the kernel."""
    out: list[str] = [kernel.name, *(f"{p.name}:{p.ty}{p.pointer}" for p in kernel.params)]
    _statements(kernel.body, out, {})
    return " ".join(out)


def _statements(body: tuple[Stmt, ...], out: list[str], seen: dict[int, int]) -> None:
    for s in body:
        if isinstance(s, (Let, Assign)):
            out.append(
                f"{'var' if isinstance(s, Let) and s.mutable else 'let' if isinstance(s, Let) else 'set'} {s.name}"
            )
            _expression(s.value, out, seen)
        elif isinstance(s, Store):
            out.append(f"store {s.buf}{' masked' * (s.mask is not None)}{' past' * s.past}")
            for part in operands(s):
                _expression(part, out, seen)
        elif isinstance(s, For):
            out.append(f"for {s.var} {s.step} {s.vectorize}")
            _expression(s.start, out, seen)
            _expression(s.stop, out, seen)
            _block(s.body, out, seen)
        elif isinstance(s, If):
            out.append("if")
            _expression(s.cond, out, seen)
            _block(s.then, out, seen)
            _block(s.orelse, out, seen)
        elif isinstance(s, While):
            out.append("while")
            _expression(s.cond, out, seen)
            _block(s.body, out, seen)
        elif isinstance(s, Alloc):
            out.append(f"alloc {s.name} {s.ty} {s.size}")
        elif isinstance(s, Call):
            out.append("call")
            _expression(s.function, out, seen)
            for a in s.args:
                if isinstance(a, Place):
                    out.append(f"place {a.buf}")
                _expression(a.index if isinstance(a, Place) else a, out, seen)
        elif isinstance(s, Prefetch):
            out.append(f"prefetch {s.buf} {s.level}")
            _expression(s.index, out, seen)
        elif not isinstance(s, Comment):
            raise LoweringError(f"{type(s).__name__} is not a statement of the loop language")


def _block(body: tuple[Stmt, ...], out: list[str], seen: dict[int, int]) -> None:
    out.append("{")
    _statements(body, out, seen)
    out.append("}")


def _expression(e: Expr, out: list[str], seen: dict[int, int]) -> None:
    """Prefix notation; an expression object that was written before is named by its number."""
    if isinstance(e, Ref):
        out.append(e.name)
    elif isinstance(e, Const):
        out.append(f"#{e.value!r}:{e.ty}")
    elif id(e) in seen:
        out.append(f"@{seen[id(e)]}")
    elif isinstance(e, Load):
        seen[id(e)] = len(seen)
        out.append(f"load {e.buf} {e.ty}{' masked' * (e.mask is not None)}")
        for part in operands(e):
            _expression(part, out, seen)
    elif isinstance(e, Op):
        seen[id(e)] = len(seen)
        out.append(f"({e.name}:{e.ty}")
        for a in e.args:
            _expression(a, out, seen)
        out.append(")")
    else:
        raise LoweringError(f"{type(e).__name__} is not an expression of the loop language")
