"""Runs one lowering on its own: a stand-in for the planner's LowerContext, serial, on NumPy memory.

``lower(name, inputs, params, outs)`` builds the equation, lowers it, compiles the kernels and runs the steps.  Each
program runs several times with the ranges of its steps cut in different places, which must not change a bit.
Results and scratch stand between canaries that no kernel may touch.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from fx.ir import Aval, Eqn, Var
from jit.llvm.native import compile_object
from jit.llvm.objects import load_object
from jit.loop_ir import Kernel
from jit.loop_verify import verify_kernel
from jit.lower.copies import copy_strided
from jit.lower.registry import LOWERINGS, Address, KernelHandle, Operand, Step
from jit.runtime_ir import SHARES
from jit.target import Target, host

WORKERS = 3
CANARY = 64  # bytes on either side
_kernels: dict[Hashable, KernelHandle] = {}
_addresses: dict[tuple[Hashable, Target], Callable[..., None]] = {}


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))


class Memory:
    """A block of bytes between canaries."""

    def __init__(self, nbytes: int, seed: int = 0x5A) -> None:
        self.nbytes = nbytes
        raw = np.empty(nbytes + 2 * CANARY + 64, np.uint8)
        skip = -(raw.ctypes.data + CANARY) % 64
        self.whole = raw[skip : skip + nbytes + 2 * CANARY]
        self.fill(seed)

    def fill(self, seed: int) -> None:
        self.whole[:] = 0xA5
        self.data[:] = seed

    @property
    def data(self) -> np.ndarray:
        return self.whole[CANARY : CANARY + self.nbytes]

    @property
    def address(self) -> int:
        return self.whole.ctypes.data + CANARY

    def intact(self) -> bool:
        return bool((self.whole[:CANARY] == 0xA5).all() and (self.whole[CANARY + self.nbytes :] == 0xA5).all())


@dataclass
class Harness:
    """A LowerContext whose buffers are NumPy memory."""

    host: Target = dataclasses.field(default_factory=host)
    depth: int = 0
    serial: bool = False

    def __post_init__(self) -> None:
        self.addresses: list[int] = []
        self.blocks: list[Memory] = []
        self.steps: list[Step] = []
        self.keep: list[np.ndarray] = []

    # -------------------------------------------------------------------- LowerContext

    def kernel(self, key: tuple[Hashable, ...], make: Callable[[], Kernel]) -> KernelHandle:
        key = (key, self.host)
        if key not in _kernels:
            _kernels[key] = KernelHandle(key, make())
            verify_kernel(_kernels[key].kernel)
        return _kernels[key]

    def scratch(self, nbytes: int, per_worker: bool = False) -> Address:
        assert not per_worker or nbytes % 64 == 0, "per-worker scratch must be a multiple of 64 bytes"
        return Address(self.block(nbytes * (WORKERS if per_worker else 1)))

    def step(self, kernel: KernelHandle, args: tuple, total: int, chunk: int, name: str, flops: int = 0,
             nbytes: int = 0, reads: Sequence = (), writes: Sequence = (), items: Any = None) -> None:  # fmt: skip
        assert total > 0 and (chunk > 0 or chunk == SHARES), (total, chunk)
        assert len(args) == len(kernel.kernel.params), (name, len(args), [p.name for p in kernel.kernel.params])
        for arg, param in zip(args, kernel.kernel.params):
            assert param.pointer == isinstance(arg, (Address, Operand)), (name, param, arg)
        self.steps.append(Step(kernel, tuple(args), total, chunk, name))

    def contiguous(self, operand: Operand) -> Operand:
        if operand.dense:
            return operand
        shape = operand.shape
        out = Operand(self.block(operand.size * operand.dtype.itemsize), shape, dense_strides(shape), 0, operand.dtype)
        copy_strided(self, operand, out, "contiguous")
        return out

    # -------------------------------------------------------------------- memory

    def block(self, nbytes: int) -> int:
        self.blocks.append(Memory(nbytes))
        self.addresses.append(self.blocks[-1].address)
        return len(self.addresses) - 1

    def operand(self, x: np.ndarray, offset: int = 0) -> Operand:
        """The array as it lies in memory; ``offset`` moves the buffer's start that many elements back."""
        self.keep.append(x)
        self.addresses.append(x.__array_interface__["data"][0] - offset * x.itemsize)
        strides = tuple(s // x.itemsize for s in x.strides)
        return Operand(len(self.addresses) - 1, x.shape, strides, offset, x.dtype)

    def result(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Operand, Memory]:
        operand = Operand(self.block(int(np.prod(shape)) * dtype.itemsize), shape, dense_strides(shape), 0, dtype)
        return operand, self.blocks[-1]

    # -------------------------------------------------------------------- running

    def _argument(self, arg: Any) -> int:
        if isinstance(arg, Address):
            return self.addresses[arg.buffer] + arg.byte_offset
        if isinstance(arg, Operand):
            return self.addresses[arg.buffer] + arg.offset * arg.dtype.itemsize
        return int(arg)

    def calls(self) -> list[tuple[Callable[..., None], np.ndarray, Step]]:
        """Every step's native function, frame and description."""
        return [
            (native(s.kernel, self.host), np.array([self._argument(a) for a in s.args] or [0], np.int64), s)
            for s in self.steps
        ]

    def run(self, cut: str = "chunks") -> None:
        """Runs the steps; ``cut``: "whole", "chunks", or "odd" (many uneven pieces, last first)."""
        for function, frame, step in self.calls():
            for k, (lo, hi) in enumerate(pieces(step.total, step.chunk, cut)):
                function(frame.ctypes.data, lo, hi, k % WORKERS)


def pieces(total: int, chunk: int, cut: str) -> list[tuple[int, int]]:
    if cut == "whole":
        return [(0, total)]
    if cut == "chunks":
        length = -(-total // WORKERS) if chunk == SHARES else chunk
        return [(lo, min(lo + length, total)) for lo in range(0, total, length)]
    rng = np.random.default_rng(total)
    places = np.unique(np.concatenate([[0, total], rng.integers(0, total + 1, 5)])).tolist()
    return list(zip(places[:-1], places[1:]))[::-1]


def native(handle: KernelHandle, target: Target) -> Callable[..., None]:
    """The compiled kernel as a Python function of (frame address, lo, hi, worker)."""
    key = (handle.key, target)
    if key not in _addresses:
        name = f"harness_{len(_addresses)}"
        kernel = dataclasses.replace(handle.kernel, name=name)
        address = load_object(compile_object([kernel], target), [name])[name]
        _addresses[key] = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(address)
    return _addresses[key]


@functools.cache
def _primitive(name: str) -> SimpleNamespace:
    return SimpleNamespace(name=name)


def equation(name: str, inputs: Sequence[np.ndarray], params: dict[str, Any], outs: Sequence[Aval]) -> Eqn:
    avals = [Aval(x.shape, x.dtype) for x in inputs]
    return Eqn(_primitive(name), tuple(Var(a) for a in avals), params, tuple(Var(a) for a in outs))


def prepare(
    name: str, inputs: Sequence[np.ndarray], params: dict[str, Any], outs: Sequence[tuple[tuple[int, ...], Any]],
    target: Target | None = None,
) -> tuple[Harness, list[Memory]]:  # fmt: skip
    """The lowered program, not yet run, and the memory of its results."""
    avals = [Aval(tuple(shape), np.dtype(dtype)) for shape, dtype in outs]
    h = Harness(target or host())
    ins = tuple(h.operand(np.asarray(x), offset=k % 3) for k, x in enumerate(inputs))
    results = [h.result(a.shape, a.dtype) for a in avals]
    LOWERINGS[name](h, equation(name, inputs, params, avals), ins, tuple(o for o, _ in results))
    return h, [m for _, m in results]


def lower(
    name: str, inputs: Sequence[np.ndarray], params: dict[str, Any], outs: Sequence[tuple[tuple[int, ...], Any]],
    target: Target | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Lowers and runs the primitive; returns its results, which no cut of the ranges may change."""
    before = [np.array(x) for x in inputs]
    h, memories = prepare(name, inputs, params, outs, target)
    found: list[bytes] = []
    for round_, cut in enumerate(("chunks", "whole", "odd")):
        for block in h.blocks:
            block.fill(0x11 * (round_ + 1))
        h.run(cut)
        assert all(block.intact() for block in h.blocks), f"{name} wrote outside of a buffer ({cut})"
        found.append(b"".join(m.data.tobytes() for m in memories))
    assert found[0] == found[1] == found[2], f"the result of {name} depends on where its range is cut"
    for x, y in zip(inputs, before):
        assert np.asarray(x).tobytes() == y.tobytes(), f"{name} changed its operand"
    return [m.data.copy().view(np.dtype(d)).reshape(shape) for m, (shape, d) in zip(memories, outs)]
