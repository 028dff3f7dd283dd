"""fx.Array: to and from Python and NumPy."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.errors import DTypeError, ItemAssignmentError

DATA = np.arange(6, dtype=np.float32).reshape(2, 3)
X = fnp.asarray(DATA)


def test_conversions() -> None:
    assert np.asarray(X).dtype == np.float32 and not np.asarray(X).flags.writeable
    assert np.asarray(X, np.float64).dtype == np.float64
    owned = np.array(X, copy=True)
    owned[0, 0] = 7
    assert X[0, 0] == 0
    with pytest.raises(ValueError, match="without a copy"):
        X.__array__(np.float64, copy=False)
    assert X.__array__(np.float64).tolist() == X.__array__(copy=True).tolist() == DATA.tolist()
    assert X.tolist() == DATA.tolist() and X.tobytes() == DATA.tobytes()
    assert X.itemsize == 4 and X.nbytes == 24 and X.size == 6 and len(X) == 2
    assert X.block_until_ready() is X
    assert [r.tolist() for r in X] == DATA.tolist()
    half = fnp.asarray(2.5)
    assert (float(half), int(half), complex(half), bool(half), half.item()) == (2.5, 2, 2.5 + 0j, True, 2.5)
    assert list(range(5))[fnp.asarray(3)] == 3
    assert f"{half:.2f}" == "2.50" and f"{fnp.ones(2)}" == "[1. 1.]"
    assert str(X) == str(DATA)


def test_copies() -> None:
    assert copy.copy(X) is not X and np.shares_memory(np.asarray(copy.copy(X)), np.asarray(X))
    deep = copy.deepcopy(X)
    assert deep is not X and not np.shares_memory(np.asarray(deep), np.asarray(X))
    again = pickle.loads(pickle.dumps(fnp.asarray(2.0)))
    assert again == 2 and again.weak_type
    assert isinstance(pickle.loads(pickle.dumps(X)), fx.Array)


def test_the_array_interface_and_dlpack() -> None:
    class Foreign:
        __array_interface__ = X.__array_interface__
        keep = X

    assert np.asarray(Foreign()).tolist() == DATA.tolist()
    assert X.__dlpack_device__() == np.asarray(X).__dlpack_device__()
    assert np.from_dlpack(X).tolist() == DATA.tolist()
    readonly = fnp.broadcast_to(X[0], (2, 3))
    assert np.from_dlpack(readonly).tolist() == [DATA[0].tolist()] * 2
    ml_dtypes = pytest.importorskip("ml_dtypes")
    b = fnp.asarray(DATA.astype(ml_dtypes.bfloat16))
    assert not hasattr(b, "__array_interface__") and np.asarray(b).dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize(
    "action, error",
    [
        (lambda: len(fnp.asarray(1.0)), TypeError),
        (lambda: list(fnp.asarray(1.0)), TypeError),
        (lambda: list(range(3))[fnp.asarray(1.0)], DTypeError),
        (lambda: list(range(3))[fnp.ones(1, int)], DTypeError),
        (lambda: X.__setitem__(0, 1), ItemAssignmentError),
        (lambda: X.__delitem__(0), ItemAssignmentError),
        (lambda: hash(X), TypeError),
        (lambda: bool(X), ValueError),
    ],
)
def test_what_an_array_cannot_do(action: Any, error: type) -> None:
    with pytest.raises(error):
        action()


def test_a_tracer_shows_what_is_known_of_it() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(
            (
                x.nbytes,
                x.itemsize,
                x.ndim,
                x.size,
                len(x),
                repr(x),
                f"{x[0]:.1f}",
                x.tolist(),
                x[1].item(),
                x.block_until_ready() is x,
            )
        )
        return fnp.sum(x)

    fx.grad(f)(np.array([1.0, 2.0]))
    assert seen[0] == (16, 8, 1, 2, 2, "Tracer<f64[2] of grad f, value=[1. 2.]>", "1.0", [1.0, 2.0], 2.0, True)
    seen.clear()
    traced = fx.make_graph(lambda x: seen.append((repr(x), f"{x}")) or x)(np.float32(1))
    assert seen == [("Tracer<f32[] of make_graph <lambda>>",) * 2] and str(traced) == repr(traced)
    for bad, error in (
        (lambda x: len(x), TypeError),
        (lambda x: [1, 2][x], DTypeError),
        (lambda x: x.item(), TypeError),
    ):
        with pytest.raises(error):
            fx.jit(bad)(1.5)


@pytest.mark.parametrize("kind", [fx.Array, fnp.ndarray], ids=["Array", "ndarray"])
def test_a_traced_value_is_an_array_to_isinstance(kind: Any) -> None:
    """As in JAX, whose programs ask so what they were given: under every transform, and in the bodies of loops."""
    seen = []

    def f(x: Any) -> Any:
        seen.append(isinstance(x, kind))
        return fx.lax.scan(lambda c, _: (seen.append(isinstance(c, kind)) or c * 2.0, None), x * 1.0, None, length=2)[0]

    x = fnp.ones(3)
    fx.jit(f)(x), fx.vmap(f)(x), fx.jvp(f, (x,), (x,)), fx.vjp(f, x), fx.make_graph(f)(x)
    fx.jit(fx.vmap(fx.grad(lambda x: fnp.sum(f(x)))))(fnp.ones((2, 3)))
    assert len(seen) >= 12 and all(seen)
    assert isinstance(x, kind) and isinstance(fx.jit(f)(x), kind)
    for other in (np.ones(3), np.float32(1), 1.0, [x], None, fx.ShapeDtypeStruct((3,), "float32")):
        assert not isinstance(other, kind)


def test_numpy_reads_an_array_in_place_and_keeps_it() -> None:
    """Through ``__array_struct__``, which NumPy asks for first: no copy, no way to write, and the array's own memory to its end."""
    for data in (
        np.arange(6.0).reshape(2, 3)[:, ::-2],
        np.float32(2.5).reshape(()),
        np.zeros((0, 2), np.int8),
        DATA > 0,
    ):
        x = fnp.asarray(data)
        seen = np.asarray(x)
        assert seen.dtype == data.dtype and seen.shape == data.shape and seen.strides == data.strides
        assert seen.tolist() == data.tolist() and not seen.flags.writeable
        assert not data.size or np.may_share_memory(seen, x._data)
    made = fx.jit(lambda v: v + 1)(fnp.zeros(3))
    seen = np.asarray(made)
    fx.jit(lambda v: v * 5, donate_argnums=0)(made)  # what somebody looks at is copied, not overwritten
    del made
    assert seen.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unsqueeze", "it is fx.numpy.expand_dims(x, axis)"), ("numpy", "it is numpy.asarray(x)"), ("backward", "fx.grad(loss)(x)"),
        ("add_", "arrays do not change"), ("exp", "it is fx.numpy.exp(x)"), ("nothing", "has no attribute 'nothing'"),
    ],
)  # fmt: skip
def test_methods_of_tensors_are_told(name: str, says: str) -> None:
    x = fnp.ones(3)
    assert not hasattr(x, name)
    for run in (lambda x: getattr(x, name), fx.jit(lambda x: getattr(x, name))):
        with pytest.raises(AttributeError) as caught:
            run(x)
        assert says in str(caught.value) and caught.value.name == name


@pytest.mark.parametrize("shape", [-1, (3, 1)])
def test_a_view_of_another_shape_is_told(shape: Any) -> None:
    for run in (lambda x: x.view(shape), fx.jit(lambda x: x.view(shape))):
        with pytest.raises(DTypeError, match=r"Another shape is x.reshape\("):
            run(fnp.ones(3))


@pytest.mark.parametrize(
    ("space", "name", "says"),
    [(fx, "no_grad", "unless fx.grad asks"), (fx, "tensor", "fx.numpy.array"), (fx, "where", "It is fx.numpy.where."), (fx, "clamp", "It is x.clip(low, high)."),
     (fnp, "masked_select", "It is x[mask]."), (fnp, "cat", "It is numpy.concatenate."), (fnp, "rsqrt", "It is fx.lax.rsqrt."), (fnp, "softmax", "It is fx.nn.softmax."), (fx, "Tensor", "It is fx.Array."), (fx.random, "randn", "It is random.normal."), (fnp, "randn", "fx.random.normal(key")],
)  # fmt: skip
def test_names_of_pytorch_are_told(space: Any, name: str, says: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(space, name)
    assert says in str(caught.value)
