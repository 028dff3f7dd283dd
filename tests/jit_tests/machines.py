"""Machines to plan for and to emit code for, whatever machine the tests run on; what they get can be read, not run."""

from __future__ import annotations

import dataclasses

import llvmlite.binding as llvm

from jit.target import Target, host

ARM_TRIPLE = "aarch64-unknown-linux-gnu"
_X86 = "+sse4.1,+sse4.2,+popcnt,+avx2,+fma,+f16c,+bmi2,+avx512f,+avx512vl,+avx512bw,+avx512dq"


def x86(level: str) -> Target:
    """A level of x86-64, with the caches of this machine."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    everything = dataclasses.replace(host.__wrapped__(), triple="x86_64-unknown-linux-gnu", features=_X86)
    return everything.restricted(level)


def arm() -> Target:
    """A plain ARMv8 machine with the caches of this one."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return dataclasses.replace(
        host.__wrapped__(), triple=ARM_TRIPLE, cpu="generic", features="+neon", vector_bits=128, vector_registers=32, fma=True, f16c=True, rounding=True,
    )  # fmt: skip
