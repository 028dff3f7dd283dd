"""Golden texts of small programs: the graph, the plan with its reasons, the loops.

``pytest --update-golden`` rewrites ``tests/golden``; what changed is then to be read in the diff.  The plan and the loops
are those for one fixed machine (256-bit vectors, two threads), whatever machine runs the test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax
from fx.ir import Graph
from fx.passes import optimize
from jit.build import kernel_text
from jit.canonical import transposed_products
from jit.explain import explain
from jit.fuse import fuse
from jit.program import LoopProgram, lower_plan
from jit.target import Target

GOLDEN = Path(__file__).with_name("golden")
MACHINE = Target(
    triple="x86_64-unknown-linux-gnu", cpu="x86-64-v3", features="", vector_bits=256, vector_registers=16, fma=True,
    f16c=True, rounding=True, l1_bytes=32 << 10, l2_bytes=1 << 20, l3_bytes=32 << 20, l1_ways=8,
)  # fmt: skip


def softmax(x: Any) -> Any:
    e = fnp.exp(x - fnp.max(x, axis=1, keepdims=True))
    return e / fnp.sum(e, axis=1, keepdims=True)


def sum_of_tanh(x: Any) -> Any:
    return fnp.sum(fnp.tanh(x))


def mlp_step(params: Any, x: Any, y: Any) -> Any:
    """One step of gradient descent on the mean squared error of a network with one hidden layer."""

    def loss(p: Any) -> Any:
        hidden = fnp.tanh(x @ p["w1"] + p["b1"])
        return fnp.mean((hidden @ p["w2"] - y) ** 2)

    gradient = fx.grad(loss)(params)
    return fx.tree.map(lambda p, g: p - 0.1 * g, params, gradient)


def conv_and_pool(x: Any, w: Any) -> Any:
    y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return lax.reduce_window_max(fnp.maximum(y, 0.0), (1, 2, 2, 1), (1, 2, 2, 1))


def batched_distances(x: Any) -> Any:
    return fx.vmap(lambda a: fx.vmap(lambda b: fnp.sqrt(fnp.sum((a - b) ** 2)))(x))(x)


def of(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "softmax": (softmax, (of(64, 100),)),
    "gradient of sum of tanh": (fx.grad(sum_of_tanh), (of(1000),)),
    "mlp step": (mlp_step, ({"w1": of(20, 30), "b1": of(30), "w2": of(30, 4)}, of(16, 20), of(16, 4))),
    "conv and pool": (conv_and_pool, (of(2, 12, 12, 3), of(3, 3, 3, 8))),
    "batched distances": (batched_distances, (of(50, 3),)),
}


def planned(graph: Graph) -> LoopProgram:
    return lower_plan(fuse(transposed_products(graph)), MACHINE, workers=2)


def reasons(program: LoopProgram) -> str:
    """``explain`` without source lines and without times."""
    text = re.sub(r"   \S+:\d+ in \S+$", "", explain(program), flags=re.MULTILINE)
    return re.sub(r", about [\d.]+ us", "", text)


def loops(program: LoopProgram) -> str:
    """The fused kernels in full; of a library kernel its first line: its blocking changes more often than it should here."""
    texts = {h: kernel_text(h) for h in program.kernels}
    return "\n".join(t if h.key[0] == "fused" else f"{t.splitlines()[0]}\n    ...\n" for h, t in texts.items())


def golden_text(f: Callable[..., Any], args: tuple[Any, ...]) -> str:
    graph = optimize(fx.make_graph(f)(*args).graph)
    program = planned(graph).verify()
    return f"{graph}\n\n{'=' * 30} plan\n{reasons(program)}\n\n{'=' * 30} loops\n{loops(program)}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_golden(name: str, update_golden: bool) -> None:
    f, args = PROGRAMS[name]
    text = "\n".join(line.rstrip() for line in golden_text(f, args).splitlines()) + "\n"
    path = GOLDEN / f"{name.replace(' ', '_')}.txt"
    if update_golden:
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs; if it should, run pytest --update-golden and read the diff"


def test_the_text_is_the_same_every_time() -> None:
    f, args = PROGRAMS["softmax"]
    assert golden_text(f, args) == golden_text(f, args)


def test_no_golden_text_is_left_over() -> None:
    assert {p.stem for p in GOLDEN.glob("*.txt")} == {name.replace(" ", "_") for name in PROGRAMS}
