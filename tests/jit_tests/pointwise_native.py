"""Compiles pointwise functions to native loops over arrays: the counterpart of ``loop_eval.run_pointwise``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jit.arithmetic import Arithmetic
from jit.llvm.native import compile_object
from jit.llvm.objects import load_object
from jit.loop_builder import KernelBuilder
from jit.loop_ir import Kernel, Ref, Ty
from jit.loop_verify import verify_kernel
from jit.lower.types import np_dtype, ty_of
from jit.target import Target, host

Array = np.ndarray
_FUNCTION = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)


def _parts(dtype: np.dtype) -> list[Ty]:
    """The loop types of the real numbers that make up an element."""
    return [ty_of(dtype)] * (2 if dtype.kind == "c" else 1)


def _flat(value: Any) -> list[Any]:
    return [p for v in value for p in _flat(v)] if isinstance(value, tuple) else [value]


def _enter(parts: list[Any], dtypes_in: Sequence[np.dtype]) -> list[Any]:
    it = iter(parts)
    return [(next(it), next(it)) if d.kind == "c" else next(it) for d in dtypes_in]


def pointwise_kernel(
    name: str, rule: Callable[..., Any], dtypes_in: Sequence[np.dtype], arithmetic: Arithmetic
) -> tuple[Kernel, Any]:
    """A kernel that applies ``rule`` to every element; parts of complex numbers come as separate arrays.

    Returns the kernel and the loop types of its results, nested as the rule nests them.
    """
    types = [t for d in dtypes_in for t in _parts(d)]
    trial = KernelBuilder("trial", arithmetic)
    shape = rule(trial, *_enter([Ref(trial.fresh(f"x{i}"), t) for i, t in enumerate(types)], dtypes_in))
    results = [v.ty for v in _flat(shape)]
    b = KernelBuilder(name, arithmetic)
    sources = [b.pointer("x", t) for t in types]
    targets = [b.pointer("out", t) for t in results]
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        values = _enter([b.let("v", b.load(p, i)) for p in sources], dtypes_in)
        for p, v in zip(targets, _flat(rule(b, *values))):
            b.store(p, i, v)
    kernel = b.build()
    verify_kernel(kernel)
    return kernel, shape


class NativeRules:
    """Compiles many rules as one module.

    Args:
        rules: by name, a rule and the dtypes of its operands.
    """

    def __init__(
        self, rules: dict[str, tuple[Callable[..., Any], tuple[np.dtype, ...]]], target: Target | None = None
    ) -> None:
        arithmetic = (target or host()).arithmetic
        built = {name: pointwise_kernel(f"k{n}", *rule, arithmetic) for n, (name, rule) in enumerate(rules.items())}
        kernels = [kernel for kernel, _ in built.values()]
        self.shapes = {name: shape for name, (_, shape) in built.items()}
        addresses = load_object(compile_object(kernels, target or host()), [k.name for k in kernels])
        self.functions = {name: _FUNCTION(addresses[kernel.name]) for name, (kernel, _) in built.items()}

    def run(self, name: str, *operands: Array) -> Any:
        """The rule's result; complex results come as (re, im) pairs."""
        operands = tuple(np.ascontiguousarray(x) for x in np.broadcast_arrays(*operands))
        parts = [p for x in operands for p in ([x.real.copy(), x.imag.copy()] if x.dtype.kind == "c" else [x])]
        outs = [np.empty(operands[0].shape, np_dtype(v.ty)) for v in _flat(self.shapes[name])]
        frame = np.array([a.ctypes.data for a in (*parts, *outs)], np.int64)
        self.functions[name](frame.ctypes.data, 0, operands[0].size, 0)
        it = iter(outs)

        def nest(shape: Any) -> Any:
            return tuple(nest(s) for s in shape) if isinstance(shape, tuple) else next(it)

        return nest(self.shapes[name])
