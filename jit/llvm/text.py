"""LLVM's spelling of the loop language's types and constants, and the writer that all emission builds on."""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np

from ..loop_ir import Ty
from ..target import Target


@functools.cache
def register_type(ty: Ty) -> str:
    """``float``, ``<8 x i32>`` ...: what holds a value of ``ty`` between instructions."""
    scalar = {64: "double", 32: "float", 16: "i16"}[ty.bits] if ty.is_float else f"i{ty.bits}"
    return vector_type(scalar, ty.lanes)


@functools.cache
def memory_type(ty: Ty) -> str:
    return vector_type("i8", ty.lanes) if ty.kind == "b" else register_type(ty)


def vector_type(scalar: str, lanes: int) -> str:
    return f"<{lanes} x {scalar}>" if lanes > 1 else scalar


@functools.cache
def mangled(ty: Ty) -> str:
    """The type's name inside an intrinsic's: ``f32``, ``v8i32``."""
    scalar = ("f" if ty.is_float else "i") + str(ty.bits)
    return f"v{ty.lanes}{scalar}" if ty.lanes > 1 else scalar


def memory_mangled(ty: Ty) -> str:
    """The same of the type in memory, where a boolean takes a byte."""
    return mangled(Ty("i", 8, ty.lanes) if ty.kind == "b" else ty)


def constant(value: Any, ty: Ty) -> str:
    """The LLVM spelling of ``value`` in every lane."""
    return _nonzero_constant(value, ty) if value else _constant(value, ty)  # 0.0 and -0.0 would be one cache entry


def _constant(value: Any, ty: Ty) -> str:
    scalar = _scalar_constant(value, ty)
    return f"splat ({register_type(ty.scalar)} {scalar})" if ty.lanes > 1 else scalar


_nonzero_constant = functools.lru_cache(4096)(_constant)


def _scalar_constant(value: Any, ty: Ty) -> str:
    if ty.kind == "b":
        return "true" if value else "false"
    if ty.kind in "iu":
        bits = int(value) & ((1 << ty.bits) - 1)
        return str(bits - (1 << ty.bits) if bits >> (ty.bits - 1) else bits)
    if ty.kind == "bf":
        return str(bfloat16_bits(float(value)))
    if ty.bits == 16:
        with np.errstate(over="ignore"):
            return str(np.float16(value).view(np.int16))
    if ty.bits == 32:
        with np.errstate(over="ignore"):
            value = np.float32(value)
    return "0x" + struct.pack(">d", float(value)).hex().upper()  # LLVM writes a float as the double it equals


def bfloat16_bits(value: float) -> int:
    """``value`` rounded to float32, then to the nearest even bfloat16, as a signed 16-bit pattern."""
    with np.errstate(over="ignore"):
        u = int(np.float32(value).view(np.uint32))
    bits = (u >> 16) | 64 if value != value else (u + 0x7FFF + ((u >> 16) & 1)) >> 16
    return bits - (1 << 16) if bits >> 15 else bits


class Writer:
    """Appends instructions to ``lines``; every method returns the name of the value it computed.

    ``level`` is the number of loops around the instruction, and ``levels`` remembers it for every value.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.lines: list[str] = []
        self.count = 0
        self.level = 0
        self.levels: dict[str, int] = {}

    def ins(self, text: str) -> str:
        """Appends ``%vN = text``."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        self.levels[name] = self.level
        return name

    def intrinsic(self, name: str, ty: Ty, *args: str, flags: str = "", extra: str = "") -> str:
        t = register_type(ty)
        operands = ", ".join(f"{t} {a}" for a in args)
        return self.ins(f"call {flags}{t} @llvm.{name}.{mangled(ty)}({operands}{extra})")


class Metadata:
    """The module's numbered metadata nodes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.weights = ""
        self.nontemporal = ""

    def node(self, content: str, distinct: bool = False) -> str:
        """Appends a node; in ``content``, ``!self`` is the node itself."""
        name = f"!{len(self.lines)}"
        self.lines.append(f"{name} = {'distinct ' if distinct else ''}!{{{content.replace('!self', name)}}}")
        return name

    def past(self) -> str:
        """What marks a store that goes past the caches."""
        if not self.nontemporal:
            self.nontemporal = self.node("i32 1")
        return self.nontemporal

    def rarely(self) -> str:
        """The weights of a branch that is hardly ever taken: the loop around it keeps the registers."""
        if not self.weights:
            self.weights = self.node('!"branch_weights", i32 1, i32 4000')
        return self.weights
