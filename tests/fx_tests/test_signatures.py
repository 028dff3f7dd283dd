"""Functions whose annotations name what is not there: from Python 3.14 on they are evaluated when somebody asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import autograd, optim

SOURCE = """
import numpy as np
import fx

def f(x: np.Absent, y: Absent = 2.0, *rest: Absent.Part[int]) -> Absent:
    return x * x * y

def pair(x: Absent, y: Absent = 2.0) -> Absent:
    return f(x, y), lambda ct: (5 * ct, None)

def schedule(learning_rate: Absent) -> Absent:
    return fx.optim.sgd(learning_rate)

class Layer(fx.nn.Module):
    w: Absent
    def __call__(self, x: Absent, *, key: Absent = None) -> Absent:
        return self.w * x
"""
if sys.version_info < (3, 14):
    SOURCE = "from __future__ import annotations\n" + SOURCE


def ruled(f: Any) -> Any:
    f.defjvp(lambda y, primals, tangents: (f(*primals, y), 5 * tangents[0]))
    return f


USES: dict[str, tuple[Callable[[Any], Any], float]] = {
    "grad": (lambda m: fx.grad(m.f)(3.0), 12),
    "grad by name": (lambda m: autograd.grad_named(m.f, "y")(3.0, 1.0), 9),
    "jit": (lambda m: fx.jit(m.f)(3.0), 18),
    "jit, static by name": (lambda m: fx.jit(m.f, static_argnames="y")(3.0, y=1.0), 9),
    "jit of a gradient": (lambda m: fx.jit(fx.grad(m.f))(3.0), 12),
    "vmap": (lambda m: fx.vmap(m.f)(fnp.ones(1))[0], 2),
    "checkpoint": (lambda m: fx.grad(fx.checkpoint(m.f))(3.0), 12),
    "custom_jvp": (lambda m: fx.grad(ruled(fx.custom_jvp(m.f, nondiff_argnames=("y",))))(3.0, 1.0), 5),
    "custom_gradient": (lambda m: fx.grad(fx.custom_gradient(m.pair))(3.0, y=1.0), 5),
    "numpy_program": (lambda m: fx.grad(fx.numpy_program(m.f))(3.0), 12),
    "optimizer": (
        lambda m: optim.inject_hyperparams(m.schedule)(0.5).init(fnp.ones(1)).hyperparams["learning_rate"],
        0.5,
    ),
    "module": (lambda m: fx.grad(lambda layer: layer(2.0))(m.Layer(fnp.asarray(1.0))).w, 2),
    "takes a key": (lambda m: fx.nn.state.takes_key(m.Layer), True),
}


@pytest.mark.parametrize("name", USES)
def test_annotations_are_not_evaluated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("annotated")
    monkeypatch.setitem(sys.modules, "annotated", module)
    exec(compile(SOURCE, __file__, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    use, expected = USES[name]
    assert np.asarray(use(module)) == expected
