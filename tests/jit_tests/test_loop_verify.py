"""The verifier of the loop language finds planted faults and says where they are."""

from __future__ import annotations

from typing import Any

import pytest

from fx.errors import GraphError
from jit.llvm import emit as emit_llvm
from jit.loop_ir import (
    Alloc,
    Assign,
    Comment,
    Const,
    For,
    If,
    Kernel,
    Let,
    Load,
    Op,
    Param,
    Prefetch,
    Ref,
    Store,
    Ty,
    While,
    b1,
    bf16,
    f32,
    f64,
    i32,
    i64,
    u8,
)  # fmt: skip
from jit.loop_print import print_kernel
from jit.loop_verify import verify_kernel
from jit.target import host


def body(*stmts: Any) -> Kernel:
    params = (Param("x", f32, True), Param("y", i32, True), Param("n", i64, False))
    return Kernel("planted", params, stmts)


one, n, x0 = Const(1, i64), Ref("n", i64), Load("x", Const(0, i64), f32)
v4 = f32.vector(4)
FAULTS: list[tuple[Kernel, str]] = [
    (body(Store("x", one, Const(1, i32))), "planted.store x.value: 'x' holds f32, not i32"),
    (body(Store("z", one, x0)), "no buffer 'z'"),
    (body(Store("x", Const(1, i32), x0)), "store x.index: expected i64, found i32"),
    (body(Let("a", Op("add", (x0, Const(1.0, f64)), f32))), r"let a.add: operands \(f32, f64\) and result f32"),
    (body(Let("a", Op("add", (x0, x0), f64))), "result f64 have one type"),
    (body(Let("a", Op("add", (Const(True, b1), Const(True, b1)), b1))), "not an operation on b1"),
    (body(Let("a", Op("and", (x0, x0), f32))), "not an operation on f32"),
    (body(Let("a", Op("sqrt", (n,), i64))), "not an operation on i64"),
    (body(Let("a", Op("lt", (n, n), i64))), "the result is b1, not i64"),
    (body(Let("a", Op("select", (n, x0, x0), f32))), "the condition of f32 cannot be i64"),
    (body(Let("a", Op("select", (Const(True, b1), x0, n), f32))), r"cases \(f32, i64\)"),
    (body(Let("a", Op("add", (x0,), f32))), "add takes 2 operands, not 1"),
    (body(Let("a", Op("tanh", (x0,), f32))), "no operation 'tanh'"),
    (body(Let("a", Op("bitcast", (x0,), i64))), "f32 and i64 have different sizes"),
    (body(Let("a", Op("cast", (x0,), i32.vector(4)))), "different numbers of lanes"),
    (body(Let("a", Op("splat", (n,), v4))), "no splat from i64 to f32x4"),
    (body(Let("a", Op("hadd", (x0,), f32))), "no reduction of f32"),
    (body(Let("a", Op("extract", (Load("x", one, v4), Const(4, i64)), f32))), "constant integer below 4"),
    (body(Let("a", Op("extract", (Load("x", one, v4), n), f32))), "constant integer below 4"),
    (body(Let("a", Op("insert", (Load("x", one, v4), Const(0, i64), n), v4))), "no insert of i64"),
    (body(Let("a", Load("x", one, f32.vector(3)))), "3 lanes"),
    (body(Let("a", Op("add", (Const(1.0, bf16), Const(1.0, bf16)), bf16))), "not an operation on bf16"),
    (body(Let("a", Const(1.5, i32))), "1.5 is not an integer of 32 bits"),
    (body(Let("a", Const(256, u8))), "256 is not an integer of 8 bits"),
    (body(Let("a", Const(2, b1))), "2 is not a boolean"),
    (body(Let("a", Const("1", f32))), "not a real number"),
    (body(Let("a", Const(1, Ty("f", 8)))), "there is no type f8"),
    (body(Let("a", Ref("b", f32))), "no local 'b'"),
    (body(Let("a", Ref("n", f32))), "'n' is i64, read as f32"),
    (body(Let("a", one), Let("a", one)), "'a' is declared already"),
    (body(Let("n", one)), "'n' is declared already"),
    (body(Let("lo", one)), "'lo' is declared already"),
    (body(Let("a b", one)), "not an identifier"),
    (body(Let("a", one), Assign("a", one)), "'a' is immutable"),
    (body(Assign("a", one)), "no local 'a'"),
    (body(Let("a", one, True), Assign("a", x0)), "expected i64, found f32"),
    (body(For("i", one, n, (Let("a", one),)), Store("x", Ref("a", i64), x0)), "no local 'a'"),
    (body(For("i", one, n, ()), Store("x", Ref("i", i64), x0)), "no local 'i'"),
    (body(For("i", one, n, (Assign("i", one),))), "for i.assign i: 'i' is immutable"),
    (body(For("i", one, n, (), step=0)), "the step is a positive int"),
    (body(For("i", x0, n, ())), "start: expected i64, found f32"),
    (body(If(n, ())), "if.cond: expected b1, found i64"),
    (body(If(Const(True, b1), (Let("a", one),), (Let("a", x0),))), "'a' was a value of i64 in another block"),
    (body(While(x0, ())), "while.cond: expected b1"),
    (body(Alloc("t", f32, 1 << 20)), "take a scratch pointer instead"),
    (body(Alloc("t", f32, 0)), "positive int"),
    (body(Alloc("t", v4, 4)), "elements are scalars"),
    (body(If(Const(True, b1), (), (Store("x", n, n),))), "if.else.store x.value"),
    (body("x = 1"), "str is not a statement"),
    (body(Let("a", 3)), "int is not an expression"),
    (body(Prefetch("z", one)), "no buffer 'z'"),
    (body(Prefetch("x", x0)), "prefetch x.index: expected i64"),
    (body(Prefetch("x", one, 4)), "no cache has level 4"),
    (body(Comment(3)), "a comment is a string"),  # type: ignore[arg-type]
    (Kernel("a b", (), ()), "a kernel's name"),
    (Kernel("k", (Param("x", f32, False),), ()), "a parameter that is no pointer is an i64"),
    (Kernel("k", (Param("x", f32, True), Param("x", f32, True)), ()), "'x' is declared already"),
]  # fmt: skip


@pytest.mark.parametrize("kernel,message", FAULTS, ids=[m for _, m in FAULTS])
def test_the_verifier_finds(kernel: Kernel, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        verify_kernel(kernel)


def test_unknown_nodes_raise_everywhere() -> None:
    for kernel in (body("x = 1"), body(Let("a", 3))):
        for walk in (print_kernel, lambda k: emit_llvm.emit_module([k], host())):
            with pytest.raises((GraphError, AttributeError)):
                walk(kernel)
