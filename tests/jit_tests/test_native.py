"""Object code: sealed, self-contained, the same from every thread; and the second engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from loop_harness import (
    Generator,
    all_operations,
    axpy,
    level,
    reduction,
    strided_sum,
)
from pointwise_native import pointwise_kernel

from fx.errors import BackendError, LoweringError
from jit import loop_runtime
from jit.emit_numba import NAMES as NUMBA_NAMES
from jit.emit_numba import compile_numba
from jit.kernels import vector_math
from jit.llvm import emission, native, objects
from jit.loop_ir import (
    f16,
    f32,
    f64,
)  # fmt: skip
from jit.target import host


def test_object_code_is_checked_before_it_is_linked() -> None:
    code = native.compile_object([axpy()], host())
    for damaged in (
        b"",
        code[:50],
        code[:-1],
        bytes([code[0] ^ 1]) + code[1:],
        code[:200] + b"\0" + code[201:],
        b"x" * 999,
    ):
        if damaged != code:
            with pytest.raises(BackendError, match="damaged"):
                objects.load_object(damaged, ["axpy"])
    with pytest.raises(BackendError, match="does not link"):
        objects.load_object(code, ["nothing"])


def test_object_code_has_no_external_symbols() -> None:
    """Linking would fail: the linker is given no library.  Remainders and roundings are the usual suspects."""
    kernels = [all_operations(t, 4, True)[0] for t in (f16, f64)]
    for name in ("host", "sse2"):
        objects.load_object(native.compile_object(kernels, level(name)), [k.name for k in kernels])


def test_many_threads_compile_at_once() -> None:
    def one_of(seed: int) -> bytes:
        return native.compile_object([Generator(seed).kernel()], host())

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one_of, range(8)))
    assert together == [one_of(seed) for seed in range(8)]


def test_threads_that_want_code_in_another_order_wait() -> None:
    target = host().restricted("avx2") if host().vector_bits >= 256 else host()
    double = (np.dtype("f8"),)
    chain, _ = pointwise_kernel(
        "chain", lambda b, x: vector_math.tanh(b, x) + vector_math.exp(b, x), double, target.arithmetic
    )
    kernels = [axpy(), chain] * 4
    alone = [native.compile_object([k], target) for k in kernels]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda k: native.compile_object([k], target), kernels)) == alone
    with emission.scheduled(True), emission.scheduled(False):  # a signal handler's, inside
        pass
    assert not emission._scheduling.downwards


def test_llvm_accepts_the_ir() -> None:
    kernels = [axpy(), strided_sum(), reduction("add", f32, True), *(Generator(seed).kernel() for seed in range(10))]
    assert "define void @axpy" in native.optimized_ir(kernels, host())


def test_numba_refuses_vectors() -> None:
    with pytest.raises(LoweringError, match="target level 'scalar'"):
        compile_numba(all_operations(f32, 4, False)[0])


def test_both_runtimes_define_the_same_names() -> None:
    assert set(NUMBA_NAMES) - {"pointer"} == set(loop_runtime.NAMES) - set(loop_runtime.VECTOR_NAMES)
