"""``fx.nn``: the values and derivatives of ``jax.nn``; convolution, pooling and dropout; what wrong arguments say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import structured_truths as truths
from recorded import answers

import fx
import fx.numpy as fnp
from fx import nn, random
from fx.errors import DTypeError, ShapeError
from fx.nn import initializers

POINTS = np.array([-1e3, -50, -7, -3, -2.5, -1, -0.3, -1e-8, 0, 1e-8, 0.3, 1, 2.5, 3, 6, 7, 50, 1e3])
ACTIVATIONS = (
    "relu relu6 sigmoid softplus silu gelu elu selu celu leaky_relu log_sigmoid hard_tanh mish hard_sigmoid hard_silu sparse_plus"
    " sparse_sigmoid squareplus tanh identity soft_sign"
).split()
SCORES = np.random.RandomState(0).normal(size=(4, 6)) * 5
MASK = SCORES > -2
WEIGHTS = np.random.RandomState(1).normal(size=SCORES.shape)
KEY = np.array([0, 3], np.uint32)
SCALED = (
    "glorot_uniform glorot_normal he_uniform he_normal lecun_uniform lecun_normal kaiming_normal kaiming_uniform xavier_uniform xavier_normal"
    " uniform normal truncated_normal"
).split()


@pytest.fixture(scope="module", autouse=True)
def numpy_runs_the_graphs():
    with fx.config.using(backend="reference"):
        yield


# --------------------------------------------------------------------------------- the values of jax.nn


def weighted(nn: Any, np_: Any, name: str, axis: Any, masked: bool) -> Any:
    """A softmax as a number, so that it has a gradient."""
    where = MASK if masked else None

    def f(x):
        y = getattr(nn, name)(x, axis, where)
        return np_.sum(np_.where(MASK, y, 0) * WEIGHTS) if masked else np_.sum(y * WEIGHTS)

    return f


SOFTMAXES = [(n, a, m) for n in ("softmax", "log_softmax") for a in (-1, 0, (0, 1)) for m in (False, True)]
OTHERS: dict[str, Any] = {
    "gelu exact": lambda nn: nn.gelu(POINTS, approximate=False),
    "glu": lambda nn: nn.glu(SCORES, 0),
    "standardize": lambda nn: nn.standardize(SCORES),
    "standardize masked": lambda nn: nn.standardize(SCORES, 0, where=MASK),
    "standardize stable": lambda nn: nn.standardize(SCORES, algorithm="stable"),
    "standardize given": lambda nn: nn.standardize(SCORES, mean=np.float64(0.5), variance=np.float64(2.0)),
    "logmeanexp": lambda nn: nn.logmeanexp(SCORES, 0),
    "logmeanexp masked": lambda nn: nn.logmeanexp(SCORES, 1, MASK, keepdims=True),
    "one_hot": lambda nn: nn.one_hot(np.array([[0, 2], [5, -1]]), 4, dtype="float32"),
    "one_hot axis": lambda nn: nn.one_hot(np.array([[0, 2], [5, -1]]), 4, dtype="int8", axis=0),
    "leaky_relu slope": lambda nn: nn.leaky_relu(POINTS, 0.25),
    "elu alpha": lambda nn: nn.elu(POINTS, 0.5),
    "celu alpha": lambda nn: nn.celu(POINTS, 0.5),
    "squareplus b": lambda nn: nn.squareplus(POINTS, 1.5),
}
for _dtype in ("float32", "float64"):
    for _name in SCALED:
        OTHERS[f"{_name} {_dtype}"] = lambda nn, n=_name, d=_dtype: getattr(nn.initializers, n)()(KEY, (3, 3, 4, 5), d)
for _mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
    OTHERS[f"variance_scaling {_mode}"] = lambda nn, m=_mode: nn.initializers.variance_scaling(
        2.0, m, "normal", 1, 0, (2,)
    )(KEY, (3, 4, 2), "float32")
OTHERS["orthogonal"] = lambda nn: nn.initializers.orthogonal(2.0)(KEY, (3, 2, 4), "float64")
OTHERS["orthogonal column"] = lambda nn: nn.initializers.orthogonal(column_axis=0)(KEY, (4, 3), "float64")
for _shape in ((3, 2, 4), (2, 3, 2, 2), (1, 2, 3, 3, 3)):
    OTHERS[f"delta_orthogonal {_shape}"] = lambda nn, s=_shape: nn.initializers.delta_orthogonal(dtype="float64")(
        KEY, s
    )
OTHERS["uniform scale"] = lambda nn: nn.initializers.uniform(0.5, "float32")(KEY, (3,))
OTHERS["constant"] = lambda nn: nn.initializers.constant(0.5)(KEY, (2, 2), "float32")
OTHERS["zeros"] = lambda nn: nn.initializers.zeros(KEY, (2, 2), "float32")
OTHERS["ones"] = lambda nn: nn.initializers.ones(KEY, (2,), "float64")


@pytest.fixture(scope="module")
def jax_nn(request):
    """What JAX 0.10.2 gives, with 64 bit types."""

    def compute():
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            found = {name: f(jax.nn) for name, f in OTHERS.items()}
            for name in ACTIVATIONS:
                f = getattr(jax.nn, name)
                found[name] = [f(POINTS), jax.vmap(jax.grad(f))(POINTS), jax.vmap(jax.grad(jax.grad(f)))(POINTS)]
            for case in SOFTMAXES:
                found[str(case)] = getattr(jax.nn, case[0])(SCORES, case[1], MASK if case[2] else None)
                found[f"gradient of {case}"] = jax.grad(weighted(jax.nn, jax.numpy, *case))(SCORES)
            return found

    return answers("jax_nn", request.config.getoption("--update-golden"), compute)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_two_derivatives(jax_nn, name):
    f, want = getattr(nn, name), jax_nn[name]
    for order, (g, w) in enumerate(zip((f, fx.vmap(fx.grad(f)), fx.vmap(fx.grad(fx.grad(f)))), want)):
        if name == "soft_sign" and order == 2:  # |x| has derivative 0 at 0 here, 1 in JAX
            w = np.where(np.abs(POINTS) == 0, 0, w)
        np.testing.assert_allclose(
            np.asarray(g(POINTS)), w, rtol=1e-12, atol=1e-13, err_msg=f"derivative {order} of {name}"
        )
    assert f(POINTS.astype(np.float32)).dtype == np.float32
    assert f(np.float16([0.5])).dtype == np.float16


def test_activations_keep_nan_and_take_integers():
    for name in ACTIVATIONS:
        assert np.isnan(np.asarray(getattr(nn, name)(np.float32([np.nan])))).all(), name
    np.testing.assert_array_equal(np.asarray(nn.relu(np.array([-1, 2]))), [0, 2])
    assert nn.sigmoid(np.array([1])).dtype == np.float64
    assert nn.silu(1).dtype == np.float32


@pytest.mark.parametrize("case", SOFTMAXES, ids=str)
def test_softmax_and_its_gradient(jax_nn, case):
    name, axis, masked = case
    got = getattr(nn, name)(SCORES, axis, MASK if masked else None)
    np.testing.assert_allclose(np.asarray(got), jax_nn[str(case)], rtol=1e-13, atol=1e-15)
    gradient = fx.grad(weighted(nn, fnp, *case))(SCORES)
    np.testing.assert_allclose(np.asarray(gradient), jax_nn[f"gradient of {case}"], rtol=1e-12, atol=1e-14)


def test_softmax_is_stable():
    x = np.float32([1e4, 1e4 - 1, -1e4])
    np.testing.assert_allclose(np.asarray(nn.softmax(x)), [0.7310586, 0.26894143, 0], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(nn.log_softmax(x)), [-0.31326166, -1.3132616, -20000.312], rtol=1e-6)
    np.testing.assert_allclose(
        np.asarray(fx.grad(lambda x: nn.log_softmax(x)[1])(x)), [-0.7310586, 0.7310586, 0], rtol=1e-6
    )
    assert np.asarray(nn.softmax(np.float32([-np.inf, 0.0]))).tolist() == [0, 1]


def test_softmax_composes():
    f = lambda x: nn.softmax(x)[0]  # noqa: E731
    x = SCORES[0]
    y = np.asarray(nn.softmax(x))
    e = np.eye(6)[0]
    jacobian = y[0] * (e - y)
    np.testing.assert_allclose(np.asarray(fx.grad(f)(x)), jacobian, rtol=1e-12, atol=1e-15)
    want = np.outer(jacobian, e - y) - y[0] * (np.diag(y) - np.outer(y, y))
    np.testing.assert_allclose(np.asarray(fx.hessian(f)(x)), want, rtol=1e-10, atol=1e-14)
    batched = fx.jit(fx.vmap(fx.grad(f)))(SCORES)
    np.testing.assert_allclose(np.asarray(batched), [np.asarray(fx.grad(f)(r)) for r in SCORES], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_values(jax_nn, name):
    got, want = np.asarray(OTHERS[name](nn)), jax_nn[name]
    assert got.dtype == want.dtype
    np.testing.assert_allclose(
        got, want, rtol=1e-12 if want.dtype == np.float64 else 3e-6, atol=1e-12 if want.dtype == np.float64 else 1e-6
    )


def test_initializers_without_dtype_take_the_default():
    assert initializers.he_normal()(KEY, (2, 3)).dtype == np.float32
    assert initializers.constant(1)(KEY, (2, 3)).dtype == np.float32
    assert initializers.he_normal()(KEY, (0, 3)).shape == (0, 3)


# ---------------------------------------------------------------------------------------------- layers

IMAGES = np.random.RandomState(2).normal(size=(2, 7, 6, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("kwargs", "strides", "pads", "base", "dilation", "groups"),
    [
        ({}, (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 1),
        ({"strides": 2, "padding": 1}, (2, 2), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
        ({"strides": (2, 1), "padding": (1, (0, 2))}, (2, 1), ((1, 1), (0, 2)), (1, 1), (1, 1), 1),
        ({"padding": "same"}, (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
        ({"kernel_dilation": 2}, (1, 1), ((0, 0), (0, 0)), (1, 1), (2, 2), 1),
        ({"input_dilation": 2, "padding": 1}, (1, 1), ((1, 1), (1, 1)), (2, 2), (1, 1), 1),
        ({"feature_group_count": 2}, (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 2),
    ],
)
def test_convolution_is_the_sum_it_should_be(kwargs, strides, pads, base, dilation, groups):
    kernel = np.random.RandomState(3).normal(size=(3, 3, 4 // groups, 6)).astype(np.float32)
    specs = (0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)
    want = truths.conv(IMAGES.astype(float), kernel.astype(float), strides, pads, base, dilation, *specs, groups, 1)
    np.testing.assert_allclose(np.asarray(nn.conv(IMAGES, kernel, **kwargs)), want, rtol=1e-5, atol=1e-5)


def test_convolution_in_one_and_three_dimensions():
    assert nn.conv(fnp.ones((2, 9, 3)), fnp.ones((4, 3, 5)), 2).shape == (2, 3, 5)
    assert nn.conv(fnp.ones((1, 4, 5, 6, 2)), fnp.ones((2, 2, 2, 2, 3)), padding="SAME").shape == (1, 4, 5, 6, 3)


def patches(x, window, strides, pads, fill):
    x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, window, (1, 2))
    return view[:, :: strides[0], :: strides[1]].reshape(*view[:, :: strides[0], :: strides[1]].shape[:4], -1)


@pytest.mark.parametrize(
    ("args", "window", "strides", "pads"),
    [
        ((2,), (2, 2), (2, 2), ((0, 0), (0, 0))),
        (((3, 2), (2, 1)), (3, 2), (2, 1), ((0, 0), (0, 0))),
        ((3, 1, 1), (3, 3), (1, 1), ((1, 1), (1, 1))),
        ((3, 2, "SAME"), (3, 3), (2, 2), ((1, 1), (0, 1))),
    ],
)
def test_pooling(args, window, strides, pads):
    got = np.asarray(nn.max_pool(IMAGES, *args))
    np.testing.assert_array_equal(got, patches(IMAGES, window, strides, pads, -np.inf).max(-1))
    got = np.asarray(nn.avg_pool(IMAGES, *args))
    np.testing.assert_allclose(got, patches(IMAGES, window, strides, pads, 0).mean(-1), rtol=1e-5, atol=1e-6)
    got = np.asarray(nn.avg_pool(IMAGES, *args, count_include_pad=False))
    np.testing.assert_allclose(
        got, np.nanmean(patches(IMAGES, window, strides, pads, np.nan), -1), rtol=1e-5, atol=1e-6
    )


def test_pooling_sends_the_gradient_where_the_maximum_was():
    x = np.float32([[1, 3, 3, 0], [2, 0, 1, 1]]).reshape(1, 2, 4, 1)
    gradient = fx.grad(lambda x: fnp.sum(nn.max_pool(x, 2) * np.float32([10, 20]).reshape(1, 1, 2, 1)))(x)
    np.testing.assert_array_equal(np.asarray(gradient)[0, :, :, 0], [[0, 10, 20, 0], [0, 0, 0, 0]])


def test_dropout_keeps_the_mean_and_drops_its_share():
    x = np.ones((100, 100), np.float32)
    y = np.asarray(nn.dropout(KEY, x, 0.25))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(np.asarray(fx.grad(lambda x: fnp.sum(nn.dropout(KEY, x, 0.25)))(x)), y)
    np.testing.assert_array_equal(np.asarray(nn.dropout(None, x, 0.25)), x)
    np.testing.assert_array_equal(np.asarray(nn.dropout(KEY, x, 0)), x)
    assert (np.asarray(nn.dropout(random.split(KEY)[0], x, 0.25)) != y).any()


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_network_compiles_to_what_it_computes(backend):
    kernel = np.random.RandomState(3).normal(size=(3, 3, 4, 6)).astype(np.float32)

    def f(kernel, key):
        x = nn.max_pool(nn.relu(nn.conv(IMAGES, kernel)), 2)
        x = nn.dropout(key, x.reshape(2, -1), 0.5)
        return -fnp.mean(fnp.sum(nn.one_hot(np.array([1, 5]), x.shape[1]) * nn.log_softmax(x), axis=1))

    got = fx.jit(fx.value_and_grad(f), backend=backend)(kernel, KEY)
    want = fx.value_and_grad(f)(kernel, KEY)
    for g, w in zip(got, want):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: nn.glu(np.ones((2, 3), np.float32)), ShapeError, "odd"),
        (lambda: nn.one_hot(np.ones(2, complex), 3), DTypeError, "integers"),
        (lambda: nn.standardize(SCORES, algorithm="slow"), ShapeError, "'stable'"),
        (lambda: nn.conv(IMAGES[0], np.ones((3, 3, 4, 6))), ShapeError, "(batch, *spatial, channels)"),
        (lambda: nn.conv(IMAGES, np.ones((3, 3, 4, 6)), strides=(1, 2, 3)), ShapeError, "strides=(1, 2, 3)"),
        (lambda: nn.conv(IMAGES, np.ones((3, 3, 4, 6)), padding=(1, 2, 3)), ShapeError, "padding=(1, 2, 3)"),
        (lambda: nn.conv(IMAGES, np.ones((3, 3, 5, 6))), ShapeError, "5"),
        (lambda: nn.max_pool(np.ones((2, 3)), 2), ShapeError, "spatial"),
        (lambda: nn.dropout(KEY, np.ones(3), 1.5), ShapeError, "1.5"),
        (lambda: nn.dropout(KEY, np.ones(3, int), 0.5), DTypeError, "floats"),
        (lambda: nn.dropout(0, np.ones(3), 0.5), DTypeError, "fx.random.key(seed)"),
        (lambda: initializers.he_normal()(KEY, (3,)), ShapeError, "(in, out)"),
        (lambda: initializers.variance_scaling(1.0, "fan", "normal"), ShapeError, "fan_avg"),
        (lambda: initializers.variance_scaling(1.0, "fan_in", "gauss"), ShapeError, "truncated_normal"),
    ],
)
def test_errors_say_what_to_do(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
