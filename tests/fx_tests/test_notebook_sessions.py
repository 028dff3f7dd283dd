"""What notebooks do: send what a cell defines to worker processes, look at objects, read tracebacks."""

from __future__ import annotations

import pickle
import subprocess
import sys
import traceback
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import nn, optim, train
from fx.errors import ShapeError

# --------------------------------------------------------------------------------------- to worker processes

NOTEBOOK = """
import sys
import fx, fx.numpy as fnp
from fx import nn, optim, train
import cloudpickle

@fx.jit
def jitted(x):
    return helper(x) * scale

@fx.jit
def helper(x):
    return fnp.sin(x)

scale = 3.0

@fx.jit
@fx.value_and_grad
def with_gradient(x):
    return fnp.sum(x * x)

@fx.checkpoint
def kept(x):
    return fnp.sin(x)

@fx.numpy_program
def program(x):
    return x * 2

class Net(nn.Module):
    w: fx.Array

    def __call__(self, x):
        return self.method(x)

    @fx.jit
    def method(self, x):
        return self.w * x

sent = dict(jitted=jitted, with_gradient=with_gradient, kept=kept, program=program, net=Net(fnp.full(3, 5.0)))
sys.stdout.buffer.write(cloudpickle.dumps(sent))
"""

WORKER = """
import sys, pickle
import fx, fx.numpy as fnp
got, x = pickle.loads(sys.stdin.buffer.read()), fnp.ones(3)
print(float(got["jitted"](x)[0]))
print(float(got["with_gradient"](x)[1][0]))
print(float(fx.jit(fx.grad(lambda x: got["kept"](x).sum()))(x)[0]))
print(float(fx.jit(got["program"])(x)[0]))
print(float(fx.jit(lambda net, x: net(x))(got["net"], x)[0]))
print(float(fx.grad(lambda net: net(x).sum())(got["net"]).w[0]))
"""


def test_what_a_notebook_defines_goes_to_workers() -> None:
    """joblib, Dask and Ray pickle what ``__main__`` defines by value: the workers have another main program."""
    sent = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, check=True).stdout
    got = subprocess.run([sys.executable, "-c", WORKER], input=sent, capture_output=True)
    assert got.returncode == 0, got.stderr.decode()
    want = [3 * np.sin(1.0), 2.0, np.cos(1.0), 2.0, 5.0, 1.0]
    np.testing.assert_allclose([float(line) for line in got.stdout.split()], want, rtol=1e-6)


def test_graphs_and_what_a_process_has_once_are_pickled() -> None:
    graph = fx.make_graph(lambda x: fnp.dot(fnp.sin(x), x) * 2)(fnp.ones(3))
    again = pickle.loads(pickle.dumps(graph))
    assert str(again) == str(graph) and all(a.prim is b.prim for a, b in zip(again.eqns, graph.eqns))
    assert pickle.loads(pickle.dumps(fx.config)) is fx.config


# ---------------------------------------------------------------------------------- what a cell shows


def test_stages_are_shown_in_a_line() -> None:
    lowered = fx.jit(lambda x, y: (x + y, x)).lower(fnp.ones(3), fnp.ones(3))
    assert repr(lowered) == "<jit of <lambda>: 2 inputs, 1 equations, 2 outputs, lowered>"
    assert repr(lowered.compile()).endswith("2 outputs, compiled>")


class Net(nn.Module):
    layer: nn.Linear

    def __call__(self, x: Any) -> Any:
        return nn.relu(self.layer(x))


def test_an_error_in_a_module_shows_the_user_s_frames() -> None:
    net = Net(nn.Linear(3, 4, key=fx.random.key(0)))
    with pytest.raises(ShapeError) as caught:
        net(fnp.ones((2, 5)))
    assert {f.filename for f in traceback.extract_tb(caught.tb)} == {__file__}


def _lines_of(call: Any) -> set[str]:
    """The files that the traceback of what ``call`` raises goes through."""
    try:
        call()
    except BaseException as error:
        return {f.filename for f in traceback.extract_tb(error.__traceback__)}
    raise AssertionError("it raised nothing")


def test_errors_of_names_layers_and_training_show_the_user_s_frames() -> None:
    step = fx.jit(lambda x: x)
    trainer = train.Trainer(lambda model, batch, key: model.sum(), optim.sgd(0.1))
    for call in (
        lambda: nn.Linear(3, 4),
        lambda: nn.Liner,
        lambda: fnp.snh,
        lambda: optim.admm,
        lambda: step.no_such_name,
        lambda: fx.tree_util.register_pytree_node(Net, None, None),
        lambda: trainer.fit(fnp.ones(2), [], epochs=1),
        lambda: trainer.evaluate(fnp.ones(2), []),
    ):
        assert _lines_of(call) == {__file__}


def test_a_fit_is_shown_in_a_line() -> None:
    trainer = train.Trainer(lambda model, batch, key: (model * batch).sum(), optim.sgd(0.1))
    fit = trainer.fit(fnp.ones(2), [np.ones(2, np.float32)], epochs=2)
    assert repr(fit).startswith("Fit(2 steps, 2 epochs; the last: loss=1.8, ") and "\n" not in repr(fit)
