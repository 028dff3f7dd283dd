"""Every layer: PyTorch's outputs and gradients with the same weights, and the laws (jit, vmap, derivative, dtypes, empty batch)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layer_cases import (
    CASES,
    IMAGE,
    KEY,
    LAWS,
    SERIES,
    VOLUME,
    T,
    channels_first_call,
    draw,
    first,
    last,
    parameters,
    paths,
    torch,
    weights,
    with_parameters,
)
from narrowing import narrow_steps

import fx
import fx.numpy as fnp
from fx import nn, random


def _objective(outputs: Any) -> Any:
    total: Any = 0.0
    for y in outputs if isinstance(outputs, tuple) else (outputs,):
        w = weights(y)
        total = total + (y * (torch.tensor(w) if isinstance(y, torch.Tensor) else w)).sum()
    return total


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_pytorch_s(name: str) -> None:
    case = CASES[name]
    module = case.theirs.double()
    module.zero_grad()
    tensors = [torch.tensor(x, requires_grad=True) for x in case.inputs]
    theirs = case.their_call(module, *tensors)
    _objective(theirs).backward()
    layer = with_parameters(case.ours(), module)

    def ours(layer: Any, inputs: Any) -> Any:
        y = case.call(layer, *inputs)
        return _objective(y), y

    f = fx.jit(fx.value_and_grad(ours, (0, 1), has_aux=True), backend="native" if case.native else "reference")
    (_, got), (slopes, input_slopes) = f(layer, case.inputs)
    for g, w in zip(fx.tree.leaves(got), theirs if isinstance(theirs, tuple) else (theirs,), strict=True):
        assert g.dtype == np.float64
        np.testing.assert_allclose(g, w.detach(), rtol=1e-6, atol=1e-9)
    for path, w in parameters(module, layer, grads=True).items():
        np.testing.assert_allclose(paths(slopes)[path], w, rtol=1e-6, atol=1e-8, err_msg=path)
    for g, t in zip(input_slopes, tensors):
        np.testing.assert_allclose(g, t.grad, rtol=1e-6, atol=1e-8)


def test_batch_norm_is_pytorch_s() -> None:
    theirs, ours = T.BatchNorm2d(4).double(), nn.BatchNorm(4)
    theirs.weight.data = torch.tensor([1.0, 2.0, 0.5, -1.0]).double()
    layer = with_parameters(ours, theirs)
    state = nn.init_state(layer)
    f = fx.jit(fx.value_and_grad(lambda m, x, s: (_objective(m(x, s)[0]), m(x, s)), (0, 1), has_aux=True))
    for x in (IMAGE, IMAGE[:1] + 3):
        theirs.zero_grad()
        t = torch.tensor(x, requires_grad=True)
        want = channels_first_call(theirs, t)
        _objective(want).backward()
        (_, (y, state)), (slopes, slope) = f(layer, x, state)
        np.testing.assert_allclose(y, want.detach(), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(slope, t.grad, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(slopes.weight, theirs.weight.grad, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(state["mean"], theirs.running_mean, rtol=1e-10)
        np.testing.assert_allclose(state["variance"], theirs.running_var, rtol=1e-10)
    y, same = nn.inference(layer)(IMAGE, state)
    np.testing.assert_allclose(y, channels_first_call(theirs.eval(), torch.tensor(IMAGE)).detach(), rtol=1e-8)
    assert same is state
    kinds = [
        nn.init_state(nn.BatchNorm(4, affine=a, dtype=d))["mean"].dtype
        for a in (True, False)
        for d in ("bfloat16", "float64")
    ]
    assert kinds == ["float32", "float64"] * 2


def test_batch_norm_s_variance_has_all_derivatives_without_a_pass_for_its_mean() -> None:
    layer, x, v = nn.BatchNorm(4), fx.numpy.asarray(IMAGE), np.cos(IMAGE)

    def plain(x: Any) -> Any:
        mean = x.mean((0, 1, 2))
        return (x - mean) / fx.numpy.sqrt(fx.numpy.square(x - mean).mean((0, 1, 2)) + layer.epsilon)

    ours = lambda x: layer(x, nn.init_state(layer))[0]
    halves = lambda x: fx.vmap(lambda x: nn.BatchNorm(4, axis_name="i")(x, nn.init_state(layer))[0], axis_name="i")(x)
    slope = lambda f: lambda x: fx.grad(lambda x: (f(x) ** 3).sum())(x)
    for f in (ours, halves):
        np.testing.assert_allclose(slope(f)(x), slope(plain)(x), rtol=1e-9, atol=1e-10)
        second = lambda f: fx.jvp(lambda x: slope(f)(x), (x,), (v,))[1]
        np.testing.assert_allclose(second(f), second(plain), rtol=1e-8, atol=1e-9)
    backward = lambda f: str(fx.make_jaxpr(lambda x, ct: fx.vjp(f, x)[1](ct))(x, x)).count("reduce_sum")
    assert backward(ours) == backward(plain) - 1


def test_lengths_are_pytorch_s_packed_sequences() -> None:
    lengths = [3, 9]
    module = T.LSTM(4, 3, 2, batch_first=True, bidirectional=True).double()
    packed = T.utils.rnn.pack_padded_sequence(
        torch.tensor(SERIES), torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    out, (h, c) = module(packed)
    want = T.utils.rnn.pad_packed_sequence(out, batch_first=True)[0].detach()
    layer = with_parameters(nn.LSTM(4, 3, num_layers=2, bidirectional=True, key=KEY), module)
    y, carry = layer.run(SERIES, lengths=np.array(lengths))
    np.testing.assert_allclose(y, want, rtol=1e-8, atol=1e-12)
    cells = [cell for pair in carry for cell in pair]
    for i, w in enumerate((h, c)):
        np.testing.assert_allclose(np.stack([np.asarray(cell[i]) for cell in cells]), w.detach(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_is_pytorch_s(dim: int | None) -> None:
    theirs = T.Conv2d(4, 6, 3).double()
    ours = with_parameters(nn.Conv2d(4, 6, 3, key=KEY), theirs)
    layer = nn.WeightNorm(ours, axis={0: -1, 1: -2, None: None}[dim])
    theirs = T.utils.parametrizations.weight_norm(theirs, dim=dim)
    want = channels_first_call(theirs, torch.tensor(IMAGE))
    np.testing.assert_allclose(layer(IMAGE), want.detach(), rtol=1e-9, atol=1e-12)
    (_objective(want) ** 2).backward()
    slopes = fx.jit(fx.grad(lambda m: _objective(m(IMAGE)) ** 2))(layer)
    parts = theirs.parametrizations.weight
    np.testing.assert_allclose(slopes.scale.ravel(), parts.original0.grad.ravel(), rtol=1e-6)
    direction = np.moveaxis(parts.original1.grad.numpy(), (0, 1), (-1, -2))
    np.testing.assert_allclose(slopes.layer.weight, direction, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(layer.normalized().weight, ours.weight, rtol=1e-12)


def test_spectral_norm_is_pytorch_s() -> None:
    theirs = T.Conv1d(4, 6, 3).double()
    layer = nn.SpectralNorm(with_parameters(nn.Conv1d(4, 6, 3, key=KEY), theirs), iterations=2)
    theirs = T.utils.parametrizations.spectral_norm(theirs, n_power_iterations=2)
    v = theirs.parametrizations.weight[0]._v.numpy().reshape(4, 3).T.ravel().copy()  # of (channels, taps)
    state = {"u": fnp.zeros(6), "v": fnp.asarray(v)}
    for _ in range(2):
        theirs.zero_grad()
        want = channels_first_call(theirs, torch.tensor(SERIES))
        _objective(want).backward()
        f = lambda m, state: (_objective((out := m(SERIES, state))[0]), out)
        (_, (y, state)), slopes = fx.jit(fx.value_and_grad(f, has_aux=True))(layer, state)
        np.testing.assert_allclose(y, want.detach(), rtol=1e-8)
        weight = theirs.parametrizations.weight.original.grad.numpy()
        np.testing.assert_allclose(slopes.layer.weight, np.moveaxis(weight, (0, 1), (-1, -2)), rtol=1e-6, atol=1e-8)
    still = nn.inference(layer)
    y, same = still(SERIES, state)
    np.testing.assert_allclose(y, channels_first_call(theirs.eval(), torch.tensor(SERIES)).detach(), rtol=1e-8)
    assert same is state
    first = nn.init_state(layer)
    matrix = np.moveaxis(np.asarray(layer.normalized(first).weight), -1, 0).reshape(6, -1)
    np.testing.assert_allclose(np.linalg.norm(matrix, 2), 1, rtol=1e-2)
    with pytest.raises(fx.errors.ModuleFieldError, match="takes a layer with an array named 'weight'; found 'GELU'"):
        nn.SpectralNorm("GELU")
    with pytest.raises(fx.errors.ModuleFieldError, match="without state"):
        nn.WeightNorm(nn.BatchNorm(3))


# -------------------------------------------------------------------------------------------- laws


@pytest.fixture(autouse=True)
def _keys_are_used_again(recwarn: Any) -> Any:
    """The table makes every layer from one key."""
    import warnings

    from fx.errors import KeyReuseWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeyReuseWarning)
        yield


@pytest.mark.parametrize("name", LAWS)
def test_laws(name: str) -> None:
    law = LAWS[name]
    x = np.random.default_rng(2).normal(size=law.shape)
    for d in law.dtypes:
        layer, xs = law.make(d), fnp.asarray(x, d)
        assert law.call(layer, xs).dtype == xs.dtype, d
    layer, xs = law.make("float64"), fnp.asarray(x)
    want = law.call(layer, xs)
    with fx.config.using(backend="reference"):
        np.testing.assert_allclose(fx.jit(law.call)(layer, xs), want, rtol=1e-12, atol=1e-12)
    twice = fnp.stack([xs, 2 * xs])
    batched = fx.vmap(law.call, in_axes=(None, 0))(layer, twice)
    for i in range(2):
        np.testing.assert_allclose(batched[i], law.call(layer, twice[i]), rtol=1e-9, atol=1e-10)
    if law.empty:
        nothing = law.call(layer, xs[:0])
        assert nothing.shape == (0, *want.shape[1:])
    params, rest = nn.partition(layer, nn.is_inexact_array)
    f = lambda p, x: fnp.sum(law.call(nn.combine(p, rest), x) * weights(want))
    slopes = fx.grad(f, (0, 1))(params, xs)
    along = fx.tree.map(lambda v: fnp.asarray(weights(v) + 0.3), (params, xs))
    move = lambda step: f(*fx.tree.map(lambda v, a: v + step * a, (params, xs), along))
    expected = sum(float(fnp.sum(g * a)) for g, a in zip(fx.tree.leaves(slopes), fx.tree.leaves(along)))
    np.testing.assert_allclose((move(1e-6) - move(-1e-6)) / 2e-6, expected, rtol=1e-5, atol=1e-7)


MASKS = {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "DropPath", "AlphaDropout", "FeatureAlphaDropout"}
"""Layers that draw what to leave out, with uniform numbers of the default dtype whatever they are given."""


@pytest.mark.parametrize("name", sorted({*CASES, *LAWS} - MASKS))
def test_layers_of_64_bits_compute_in_no_fewer(name: str) -> None:
    if name in CASES:
        case = CASES[name]
        layer, xs = fx.tree.map(lambda p: fnp.asarray(p, "float64"), case.ours()), case.inputs
        call = lambda layer, xs: _objective(case.call(layer, *xs))
    else:
        layer, xs = LAWS[name].make("float64"), np.random.default_rng(2).normal(size=LAWS[name].shape)
        call = lambda layer, xs: _objective(LAWS[name].call(layer, xs))
    params, rest = nn.partition(layer, nn.is_inexact_array)
    f = lambda params, xs: fx.grad(lambda p, xs: call(nn.combine(p, rest), xs), (0, 1))(params, xs)
    assert narrow_steps(f, params, xs) == []


def test_what_is_rounded_to_32_bits_is_noticed() -> None:
    rounding = lambda x: fx.lax.scan(lambda c, _: (c * fnp.float32(0.1).astype("float64"), None), x, None, length=2)
    assert len(narrow_steps(lambda x: x + fnp.sin(fnp.asarray(2.0)), np.ones(2))) == 1
    assert len(narrow_steps(lambda x: fx.jit(lambda x: (x * x.astype("float32")).sum())(x), np.ones(2))) == 1
    assert narrow_steps(rounding, np.ones(2)) == [] == narrow_steps(lambda x: 0.1 * x, np.ones(2))


def test_leading_axes_are_free() -> None:
    layer = nn.Conv2d(4, 3, 3, key=KEY)
    whole = layer(draw(2, 3, 5, 5, 4).astype(np.float32))
    assert whole.shape == (2, 3, 3, 3, 3) and layer(np.ones((5, 5, 4), np.float32)).shape == (3, 3, 3)
    assert nn.MaxPool1d(2)(np.ones((4, 3))).shape == (2, 3)


def test_noise_keeps_moments_and_inference_passes() -> None:
    x = fnp.asarray(np.random.default_rng(0).normal(size=(200, 50)))
    a, b, c, d = random.split(random.key(1), 4)
    kept = nn.AlphaDropout(0.3)(x, key=a)
    assert abs(float(kept.mean())) < 0.05 and abs(float(kept.std()) - 1) < 0.05
    assert abs(float((nn.Dropout(0.3)(x, key=b) == 0).mean()) - 0.3) < 0.02
    rows = nn.DropPath(0.5)(x, key=c) == 0
    assert np.all(rows == rows[:, :1]) and 0.3 < float(rows[:, 0].mean()) < 0.7
    channels = nn.Dropout1d(0.5)(fnp.ones((3, 7, 100)), key=d)
    assert np.all(channels == channels[:, :1]) and len(np.unique(np.asarray(channels[0, 0]))) == 2
    for layer in (
        nn.Dropout(0.3),
        nn.AlphaDropout(0.3),
        nn.DropPath(0.3),
        nn.GaussianNoise(1.0),
        nn.GaussianDropout(0.3),
    ):
        assert nn.inference(layer)(x) is x


def test_a_cache_gives_what_the_whole_sequence_gives() -> None:
    model = nn.TransformerEncoder(2, 4, 4, key_heads=2, head_features=2, causal=True, rotary_base=50.0, key=KEY)
    x = SERIES.astype(np.float32)
    want = model(x)
    step = fx.jit(lambda model, x, cache: model(x, cache=cache))
    cache, outs = model.init_cache(2, 12), []
    for part in (x[:, :4], x[:, 4:5], x[:, 5:6], x[:, 6:]):
        y, cache = step(model, part, cache)
        outs.append(y)
    np.testing.assert_allclose(np.concatenate(outs, 1), want, rtol=1e-4, atol=1e-5)


def test_attention_of_one_head_is_its_formula() -> None:
    query, keys, values = draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 6)
    of_keys = np.arange(5) < np.array([3, 5])[:, None]
    each = np.random.default_rng(0).random((2, 3, 5)) < 0.6
    each[..., 0] = True
    dot, additive = nn.DotProductAttention(), nn.AdditiveAttention(4, 4, 3, dtype="float64", key=KEY)
    w, u, v = (np.asarray(a) for a in (additive.query.weight, additive.keys.weight, additive.vector))
    mixed = np.tanh((query @ w + np.asarray(additive.query.bias))[:, :, None] + (keys @ u)[:, None]) @ v
    q, k, x = (torch.tensor(a) for a in (query, keys, values))
    for mask, wide in ((None, np.ones((2, 1, 5), bool)), (of_keys, of_keys[:, None]), (each, each)):
        want = F.scaled_dot_product_attention(q, k, x, attn_mask=torch.tensor(wide))
        np.testing.assert_allclose(dot(query, keys, values, mask=mask), want, rtol=1e-10)
        weights = np.exp(mixed) * wide
        want = weights / weights.sum(-1, keepdims=True) @ values
        np.testing.assert_allclose(fx.jit(additive)(query, keys, values, mask=mask), want, rtol=1e-10)
    np.testing.assert_allclose(dot(query[:, 0], keys, values), np.asarray(dot(query, keys, values))[:, 0], rtol=1e-12)
    for layer in (dot, additive):
        with pytest.raises(
            fx.errors.DTypeError, match="a mask is boolean.*float64"
        ):  # 0 is no "look" of PyTorch's here
            layer(query, keys, mask=np.zeros((2, 5)))
        with pytest.raises(fx.errors.ShapeError, match=r"is mask\[None\]"):
            layer(query, keys, mask=each[0])


def test_rotary_products_depend_on_the_distance_alone() -> None:
    q, k = draw(1, 1, 1, 6), draw(1, 1, 1, 6)
    product = lambda i, j: np.sum(nn.rotary(q, np.array([i])) * nn.rotary(k, np.array([j])))
    np.testing.assert_allclose(product(3, 1), product(12, 10), rtol=1e-5)
    table = np.asarray(nn.sinusoidal_positions(6, 4))
    np.testing.assert_allclose(table[5], [np.sin(5), np.cos(5), np.sin(0.05), np.cos(0.05)], rtol=1e-5)


# ------------------------------------------------------------------------- functions, initializers

F = torch.nn.functional
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "threshold": (lambda x: nn.threshold(x, 0.1, -2.0), lambda x: F.threshold(x, 0.1, -2.0)),
    "hardtanh": (lambda x: nn.hardtanh(x, -0.5, 0.7), lambda x: F.hardtanh(x, -0.5, 0.7)),
    "hardshrink": (nn.hardshrink, F.hardshrink),
    "softshrink": (nn.softshrink, F.softshrink),
    "tanhshrink": (nn.tanhshrink, F.tanhshrink),
    "softmin": (nn.softmin, lambda x: F.softmin(x, -1)),
    "rrelu": (nn.rrelu, F.rrelu),
    "prelu": (lambda x: nn.prelu(x, 0.3), lambda x: F.prelu(x, torch.tensor([0.3]).double())),
    **{
        n: (getattr(nn, n), getattr(F, n))
        for n in "relu relu6 hardsigmoid hardswish elu selu celu leaky_relu logsigmoid softsign softplus silu mish glu tanh sigmoid".split()
    },
    "gelu": (lambda x: nn.gelu(x, approximate=False), F.gelu),
    "normalize": (nn.normalize, lambda x: F.normalize(x, dim=-1)),
    "normalize of a sum": (lambda x: nn.normalize(x, 1, axis=0), lambda x: F.normalize(x, 1, 0)),
    "normalize of the greatest": (lambda x: nn.normalize(x, np.inf), lambda x: F.normalize(x, float("inf"), -1)),
    "cosine_similarity": (lambda x: nn.cosine_similarity(x, x[1:2]), lambda x: F.cosine_similarity(x, x[1:2], -1)),
    "pairwise_distance": (lambda x: nn.pairwise_distance(x, 0.5 * x[:1], 3), lambda x: F.pairwise_distance(x, 0.5 * x[:1], 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_pytorch_s(name: str) -> None:
    ours, theirs = FUNCTIONS[name]
    x = 2 * draw(5, 6)
    x[0, 0] = np.nan  # is not swallowed
    np.testing.assert_array_equal(np.isnan(ours(x)), np.isnan(theirs(torch.tensor(x))))
    x[0, 0] = 0.5
    t = torch.tensor(x, requires_grad=True)
    want = theirs(t)
    _objective(want).backward()
    np.testing.assert_allclose(ours(x), want.detach(), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(fx.grad(lambda x: _objective(ours(x)))(x), t.grad, rtol=1e-5, atol=1e-7)


def test_lengths_of_nothing_have_derivatives() -> None:
    zeros = np.zeros((2, 3))
    for f in (
        nn.normalize,
        lambda x: nn.cosine_similarity(x, 1 + x),
        lambda x: nn.pairwise_distance(x, 0 * x, epsilon=0),
    ):
        assert np.isfinite(fx.grad(lambda x, f=f: f(x).sum())(zeros)).all()
    assert nn.normalize(np.zeros((0, 3))).shape == (0, 3) and nn.normalize(np.zeros((3, 0))).shape == (3, 0)
    assert nn.normalize(fnp.ones(4, "float16")).dtype == "float16"
    slope = fx.grad(lambda x: nn.LPPool1d(2)(x[:, None]).sum())(fnp.array([0.0, 0.0, 3.0, 4.0]))
    np.testing.assert_allclose(slope, [0, 0, 0.6, 0.8])


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (SERIES, {"window": 2}),
        (IMAGE, {"window": (3, 2), "strides": 1, "padding": 1}),
        (IMAGE, {"window": 2, "dilation": (2, 3), "strides": (1, 2), "padding": (0, 1)}),
        (IMAGE, {"window": 2, "strides": 3, "ceil_mode": True}),
        (VOLUME, {"window": (2, 1, 3), "strides": (1, 2, 1)}),
    ],
)
def test_places_of_the_greatest_are_pytorch_s_and_go_back(x: Any, options: dict[str, Any]) -> None:
    n = x.ndim - 2
    translated = {{"window": "kernel_size", "strides": "stride"}.get(k, k): v for k, v in options.items()}
    want, places = getattr(F, f"max_pool{n}d")(torch.tensor(first(x)), **translated, return_indices=True)
    pool = getattr(nn, f"MaxPool{n}d")(**options, return_indices=True)
    for f in (pool, fx.jit(pool), fx.vmap(lambda row: tuple(y[0] for y in pool(row[None])))):
        y, at = f(x)
        np.testing.assert_array_equal(y, last(want.numpy()))
        np.testing.assert_array_equal(at, last(places.numpy()))
        assert at.dtype == "int32"
    if "dilation" not in options:
        again = np.zeros((len(x), np.prod(x.shape[1:-1]), x.shape[-1]))
        flat = np.asarray(at).reshape(len(x), -1, x.shape[-1])
        np.put_along_axis(again, flat, np.asarray(y).reshape(flat.shape), 1)
        put = fx.jit(lambda y, at: nn.max_unpool(y, at, x.shape[1:-1]))
        np.testing.assert_array_equal(put(y, at), again.reshape(x.shape))
    slope = fx.grad(lambda x: (pool(x)[0] ** 2).sum())(x)
    t = torch.tensor(first(x), requires_grad=True)
    (getattr(F, f"max_pool{n}d")(t, **translated) ** 2).sum().backward()
    np.testing.assert_allclose(slope, last(t.grad.numpy()))


def test_unfolded_windows_are_what_a_convolution_multiplies() -> None:
    kernel = draw(3, 2, 4, 5)
    patches = nn.unfold(IMAGE, (3, 2), (1, 2), 1)
    want = nn.conv(IMAGE, kernel, (1, 2), 1)
    np.testing.assert_allclose((patches @ kernel.reshape(-1, 5)).reshape(want.shape), want, rtol=1e-9)
    strided = np.moveaxis(IMAGE[::-1], 1, 2)[:, ::2]
    np.testing.assert_array_equal(fx.jit(nn.Unfold(2))(strided), nn.Unfold(2)(strided.copy()))
    assert nn.unfold(IMAGE[:0], 3).shape == (0, 20, 36) and nn.unfold(IMAGE, 7).shape == (2, 0, 196)
    assert not np.any(nn.fold(np.zeros((2, 0, 9)), (2, 4), 3))
    assert nn.Fold((3, 3), 2)(np.zeros((5, 2, 4, 8))).shape == (5, 2, 3, 3, 2)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
def test_sampled_images_are_pytorch_s(mode: str, padding: str, align: bool) -> None:
    for x, shape in ((IMAGE, (3, 5)), (VOLUME, (2, 3, 2))):
        n = len(shape)
        theta = 0.4 * draw(2, n, n + 1) + np.eye(n, n + 1)
        t, m = (torch.tensor(v, requires_grad=True) for v in (first(x), theta))
        places = F.affine_grid(m, (2, 4, *shape), align_corners=align)
        want = F.grid_sample(t, places, mode, padding, align)
        _objective(want.movedim(1, -1)).backward()

        def ours(x: Any, theta: Any, shape: Any = shape) -> Any:
            grid = nn.affine_grid(theta, shape, align_corners=align)
            y = nn.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=align)
            return _objective(y), (y, grid)

        f = fx.value_and_grad(ours, (0, 1), has_aux=True)
        (_, (y, grid)), slopes = (f if n == 3 else fx.jit(f))(x, theta)
        np.testing.assert_allclose(grid, places.detach(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(y, last(want.detach().numpy()), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(slopes[0], last(t.grad.numpy()), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(slopes[1], m.grad, rtol=1e-8, atol=1e-10)


def test_sampling_is_batched_and_takes_nothing() -> None:
    grid = draw(3, 2, 4, 2)
    each = fx.vmap(lambda g: nn.grid_sample(IMAGE, g))(grid)
    np.testing.assert_allclose(each[1], nn.grid_sample(IMAGE, grid[1]))
    assert nn.grid_sample(IMAGE[:0], grid[0, :0]).shape == (0, 4, 4) and nn.grid_sample(
        IMAGE, grid[0, :, :0]
    ).shape == (2, 0, 4)
    strided = nn.grid_sample(np.moveaxis(first(IMAGE), 1, -1), grid[0][:, ::-1])
    np.testing.assert_allclose(strided, nn.grid_sample(IMAGE, grid[0])[:, ::-1])
    with pytest.raises(fx.errors.ShapeError, match=r"a grid \(batch, \*out, 2\)"):
        nn.grid_sample(IMAGE, draw(2, 4, 3))


def test_random_functions() -> None:
    a, b = random.split(random.key(0))
    logits = fnp.log(fnp.asarray([0.2, 0.8]))
    hard = nn.gumbel_softmax(fnp.broadcast_to(logits, (4000, 2)), hard=True, key=a)
    assert set(np.unique(np.asarray(hard))) == {0, 1} and abs(float(hard[:, 1].mean()) - 0.8) < 0.03
    slopes = fx.grad(lambda v: nn.gumbel_softmax(v, hard=True, key=random.clone(a))[0])(logits)
    assert np.any(np.asarray(slopes) != 0)
    leaky = nn.rrelu(-fnp.ones(1000), key=b)
    assert -1 / 3 < float(leaky.min()) < -0.3 and -0.14 < float(leaky.max()) < -1 / 8


def test_initializers_of_pytorch() -> None:
    init = nn.initializers
    key = random.key(0)
    x = draw(2, 5, 6, 4)
    through = nn.Conv2d(4, 8, 3, groups=2, padding=1, use_bias=False, weight_init=init.dirac(2), key=key)(x)
    np.testing.assert_allclose(
        through, np.concatenate([x[..., :2], 0 * x[..., :2], x[..., 2:], 0 * x[..., 2:]], -1), atol=1e-12
    )
    np.testing.assert_array_equal(init.eye(key, (2, 3)), np.eye(2, 3))
    sparse = np.asarray(init.sparse(0.3)(key, (50, 10)))
    assert ((sparse == 0).sum(1) == 3).all()
    cut = np.asarray(init.trunc_normal(1.0, 2.0, 0.0, 1.5)(key, (500,)))
    assert cut.min() >= 0 and cut.max() <= 1.5
    for name in ("tanh", "relu", "leaky_relu", "selu", "sigmoid"):
        assert init.calculate_gain(name) == pytest.approx(T.init.calculate_gain(name))
    bound = np.abs(np.asarray(nn.Linear(100, 50, key=key).weight)).max()
    assert 0.09 < bound <= 0.1


def test_other_modules_may_stand_for_the_projections_of_attention() -> None:
    """Such as adapters of low rank, around the weights as they were."""

    class Adapter(nn.Module):
        base: nn.Linear
        down: Any
        up: Any

        def __call__(self, x: Any) -> Any:
            return self.base(x) + (x @ self.down) @ self.up

    layer, x = nn.MultiHeadAttention(4, 2, key=KEY), fnp.asarray(SERIES, "float32")
    down, up = fnp.asarray(draw(4, 1), "float32"), fnp.asarray(draw(1, 4), "float32")
    for name in ("query", "keys", "values", "output"):
        part = getattr(layer, name)
        adapted = nn.tree_at(lambda m, n=name: getattr(m, n), layer, Adapter(part, down, up))
        merged = nn.tree_at(lambda m, n=name: getattr(m, n), layer, nn.replace(part, weight=part.weight + down @ up))
        np.testing.assert_allclose(adapted(x, causal=True), merged(x, causal=True), atol=1e-5)
        y, _ = adapted(x, cache=adapted.init_cache(2, 9))
        np.testing.assert_allclose(y, merged(x, causal=True), atol=1e-5)
