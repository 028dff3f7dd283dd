"""Every layer: PyTorch's outputs and gradients with the same weights, and the laws (jit, vmap, derivative, dtypes, empty batch)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from narrowing import narrow_steps

import fx
import fx.numpy as fnp
from fx import nn, random, tree_util

torch = pytest.importorskip("torch")
T = torch.nn
RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def weights(x: Any) -> np.ndarray:
    return np.cos(np.arange(np.prod(x.shape), dtype=np.float64)).reshape(x.shape)


# ---------------------------------------------------------------------- PyTorch's parameters as ours


def last(x: Any) -> np.ndarray:
    """Channels from second to last."""
    return np.moveaxis(x, 1, -1)


def first(x: Any) -> np.ndarray:
    return np.moveaxis(x, -1, 1)


def _kernel(w: np.ndarray) -> np.ndarray:
    return np.moveaxis(w, (0, 1), (-1, -2))


def _transposed_kernel(w: np.ndarray, groups: int) -> np.ndarray:
    """(in, out / groups, *window) as (*window, in / groups, out)."""
    parts = [np.moveaxis(p, (0, 1), (-2, -1)) for p in np.split(w, groups)]
    return np.concatenate(parts, -1)


def parameters(theirs: Any, ours: Any, grads: bool = False) -> dict[str, np.ndarray]:
    """Path in ours -> value (or gradient) of a PyTorch module."""
    out = {n: np.asarray((p.grad if grads else p).detach()) for n, p in theirs.named_parameters()}
    renamed: dict[str, np.ndarray] = {}
    for name, value in out.items():
        module = theirs.get_submodule(name.rpartition(".")[0]) if "." in name else theirs
        path, leaf = name.replace(".", "/"), name.rpartition(".")[2]
        for old, new in (("out_proj", "output"), ("self_attn", "attention"), ("multihead_attn", "cross_attention")):
            path = path.replace(old, new)
        if isinstance(module, T.MultiheadAttention) and leaf.startswith("in_proj"):
            prefix = path.removesuffix(leaf)
            for part, v in zip(("query", "keys", "values"), np.split(value, 3)):
                renamed[f"{prefix}{part}/{leaf.removeprefix('in_proj_')}"] = v.T
            continue
        if isinstance(module, T.RNNBase):
            kind, layer = leaf.removesuffix("_reverse").rsplit("_l", 1)
            path, value = f"cells/{layer}/{int(leaf.endswith('_reverse'))}/{kind}", value.T
        elif isinstance(module, (T.Linear, T.RNNCellBase)):
            value = value.T
        elif isinstance(module, T.modules.conv._ConvTransposeNd) and leaf == "weight":
            value = _transposed_kernel(value, module.groups)
        elif isinstance(module, T.modules.conv._ConvNd) and leaf == "weight":
            value = _kernel(value)
        renamed[path] = value
    return renamed


def paths(tree: Any) -> dict[str, Any]:
    return {tree_util.keystr(p, simple=True, separator="/"): v for p, v in tree_util.tree_leaves_with_path(tree)}


def with_parameters(ours: Any, theirs: Any) -> Any:
    wanted = parameters(theirs, ours)
    assert set(wanted) == set(paths(ours))
    name = lambda p: tree_util.keystr(p, simple=True, separator="/")
    for path, leaf in paths(ours).items():
        assert tuple(leaf.shape) == wanted[path].shape, path
    return tree_util.tree_map_with_path(lambda p, _: fnp.asarray(wanted[name(p)]), ours)


KEY = random.key(0)
IMAGE, SERIES, VOLUME = draw(2, 6, 7, 4), draw(2, 9, 4), draw(2, 4, 5, 6, 4)
INT = np.array([[1, 0], [4, 2]])
MASK = np.tril(np.ones((9, 9), bool))


@dataclass(frozen=True)
class Case:
    """A layer and PyTorch's: ``call(layer, *inputs)`` beside ``their_call(module, *inputs)``, both channels last."""

    ours: Callable[[], Any]
    theirs: Any
    inputs: tuple[np.ndarray, ...]
    call: Callable[..., Any] = lambda m, *xs: m(*xs)
    their_call: Callable[..., Any] = lambda m, *xs: m(*xs)
    native: bool = False


def _spatial(m: Any, x: Any) -> Any:
    return m(x.movedim(-1, 1)).movedim(1, -1)


def conv(name: str, x: np.ndarray, native: bool = False, out: int = 6, theirs: Any = None, **options: Any) -> Case:
    torch_names = {"strides": "stride", "use_bias": "bias"}
    translated = {torch_names.get(k, k): v.lower() if isinstance(v, str) else v for k, v in options.items()}
    module = getattr(T, name)(4, out, kernel_size=3, **(translated if theirs is None else theirs))
    return Case(
        lambda: getattr(nn, name)(4, out, 3, key=KEY, **options), module, (x,), their_call=_spatial, native=native
    )


def pool(
    name: str, x: np.ndarray, ours: tuple[Any, ...], theirs: tuple[Any, ...], native: bool = False, **options: Any
) -> Case:
    return Case(
        lambda: getattr(nn, name)(*ours, **options),
        getattr(T, name)(*theirs, **options),
        (x,),
        their_call=_spatial,
        native=native,
    )


def _flat_carry(m: Any, x: Any) -> Any:
    y, carry = m(x)
    return (y, *(carry if isinstance(carry, tuple) else (carry,)))


def _our_carry(m: Any, x: Any) -> Any:
    """PyTorch's order: (layers * directions, batch, hidden) for each part of the carry."""
    y, carry = m.run(x)
    cells = [c for layer in carry for c in layer]
    parts = zip(*cells) if isinstance(cells[0], tuple) else [cells]
    return (y, *[fnp.stack(list(p)) for p in parts])


CASES: dict[str, Case] = {
    "Linear": Case(lambda: nn.Linear(4, 3, key=KEY), T.Linear(4, 3), (SERIES,), native=True),
    "Linear without bias": Case(lambda: nn.Linear(4, 3, use_bias=False, key=KEY), T.Linear(4, 3, bias=False), (IMAGE,)),
    "Bilinear": Case(lambda: nn.Bilinear(4, 3, 5, key=KEY), T.Bilinear(4, 3, 5), (draw(2, 4), draw(2, 3))),
    "Embedding": Case(
        lambda: nn.Embedding(5, 3, padding=2, key=KEY), T.Embedding(5, 3, padding_idx=2), (), lambda m: m(INT), lambda m: m(torch.tensor(INT)), True,
    ),
    "Conv1d": conv("Conv1d", SERIES, padding=1, dilation=2),
    "Conv1d circular": conv("Conv1d", SERIES, padding="SAME", padding_mode="circular", use_bias=False),
    "Conv2d": conv("Conv2d", IMAGE, True, padding="SAME"),
    "Conv2d options": conv("Conv2d", IMAGE, strides=(2, 1), padding=(2, 1), groups=2, padding_mode="reflect"),
    "Conv2d replicate": conv("Conv2d", IMAGE, padding=1, padding_mode="replicate"),
    "Conv3d": conv("Conv3d", VOLUME, padding=1, strides=2),
    "ConvTranspose1d": conv("ConvTranspose1d", SERIES, strides=3, padding=1, output_padding=2),
    "ConvTranspose2d": conv("ConvTranspose2d", IMAGE, True, strides=2, padding=1, groups=2),
    "ConvTranspose2d dilated": conv("ConvTranspose2d", IMAGE, strides=(1, 2), padding=(0, 1), dilation=2),
    "ConvTranspose3d": conv("ConvTranspose3d", VOLUME, out=2, strides=2),
    "MaxPool1d": pool("MaxPool1d", SERIES, (2,), (2,)),
    "MaxPool2d": pool("MaxPool2d", IMAGE, (3, 2, 1), (3, 2, 1), native=True),
    "MaxPool3d": pool("MaxPool3d", VOLUME, (2,), (2,)),
    "AvgPool1d": pool("AvgPool1d", SERIES, (3, 1, 1), (3, 1, 1)),
    "AvgPool2d": pool("AvgPool2d", IMAGE, (2, 2, 1), (2, 2, 1), count_include_pad=False),
    "AvgPool3d": pool("AvgPool3d", VOLUME, ((2, 2, 3),), ((2, 2, 3),)),
    "MaxPool2d of what is left over": pool("MaxPool2d", IMAGE, ((2, 3), (3, 2), (1, 1)), ((2, 3), (3, 2), (1, 1)), ceil_mode=True),
    "AvgPool2d of what is left over": pool("AvgPool2d", IMAGE, ((4, 3), (3, 3), (2, 0)), ((4, 3), (3, 3), (2, 0)), ceil_mode=True),
    "AvgPool3d of what is left over": pool("AvgPool3d", VOLUME, (3, 2, 1), (3, 2, 1), ceil_mode=True, count_include_pad=False),
    "AdaptiveAvgPool1d": pool("AdaptiveAvgPool1d", SERIES, (4,), (4,)),
    "AdaptiveAvgPool2d": pool("AdaptiveAvgPool2d", IMAGE, ((3, None),), ((3, None),)),
    "AdaptiveAvgPool3d": pool("AdaptiveAvgPool3d", VOLUME, ((2, 2, 4),), ((2, 2, 4),)),
    "AdaptiveMaxPool1d": pool("AdaptiveMaxPool1d", SERIES, (2,), (2,)),
    "AdaptiveMaxPool2d": pool("AdaptiveMaxPool2d", IMAGE, (4,), (4,)),
    "AdaptiveMaxPool3d": pool("AdaptiveMaxPool3d", VOLUME, (2,), (2,)),
    "LayerNorm": Case(lambda: nn.LayerNorm((7, 4)), T.LayerNorm((7, 4)), (IMAGE,), native=True),
    "RMSNorm": Case(lambda: nn.RMSNorm(4), T.RMSNorm(4, eps=1e-6), (IMAGE,)),
    "GroupNorm": Case(lambda: nn.GroupNorm(2, 4), T.GroupNorm(2, 4), (IMAGE,), their_call=_spatial),
    "InstanceNorm": Case(lambda: nn.InstanceNorm(4, affine=True), T.InstanceNorm2d(4, affine=True), (IMAGE,), their_call=_spatial),
    "PReLU": Case(lambda: nn.PReLU(4), T.PReLU(4), (IMAGE,), their_call=_spatial),
    "RNNCell": Case(
        lambda: nn.RNNCell(4, 3, activation="relu", key=KEY), T.RNNCell(4, 3, nonlinearity="relu"), (draw(2, 3), draw(2, 4)),
        lambda m, h, x: m(h, x)[1], lambda m, h, x: m(x, h),
    ),
    "GRUCell": Case(lambda: nn.GRUCell(4, 3, key=KEY), T.GRUCell(4, 3), (draw(2, 3), draw(2, 4)), lambda m, h, x: m(h, x)[1], lambda m, h, x: m(x, h)),
    "LSTMCell": Case(
        lambda: nn.LSTMCell(4, 3, key=KEY), T.LSTMCell(4, 3), (draw(2, 3), draw(2, 3), draw(2, 4)),
        lambda m, h, c, x: m((h, c), x)[0], lambda m, h, c, x: m(x, (h, c)),
    ),
    "RNN": Case(lambda: nn.RNN(4, 3, num_layers=2, key=KEY), T.RNN(4, 3, 2, batch_first=True), (SERIES,), _our_carry, _flat_carry),
    "LSTM": Case(
        lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True, key=KEY), T.LSTM(4, 3, 2, batch_first=True, bidirectional=True), (SERIES,),
        _our_carry, _flat_carry, True,
    ),
    "GRU": Case(lambda: nn.GRU(4, 3, bidirectional=True, key=KEY), T.GRU(4, 3, batch_first=True, bidirectional=True), (SERIES,), _our_carry, _flat_carry),
    "MultiHeadAttention": Case(
        lambda: nn.MultiHeadAttention(4, 2, key=KEY), T.MultiheadAttention(4, 2, batch_first=True), (SERIES, draw(2, 5, 4)),
        lambda m, q, k: m(q, k), lambda m, q, k: m(q, k, k)[0],
    ),
    "MultiHeadAttention causal": Case(
        lambda: nn.MultiHeadAttention(4, 2, key=KEY), T.MultiheadAttention(4, 2, batch_first=True), (SERIES,),
        lambda m, x: (m(x, causal=True), m.weights(x, mask=MASK)),
        lambda m, x: m(x, x, x, attn_mask=torch.tensor(~MASK), average_attn_weights=False),
    ),
    "TransformerEncoderBlock": Case(
        lambda: nn.TransformerEncoderBlock(4, 2, 7, norm_first=False, key=KEY),
        T.TransformerEncoderLayer(4, 2, 7, dropout=0.0, batch_first=True), (SERIES,),
        lambda m, x: m(x, mask=MASK), lambda m, x: m(x, src_mask=torch.tensor(~MASK)), True,
    ),
    "TransformerDecoderBlock": Case(
        lambda: nn.TransformerDecoderBlock(4, 2, 7, activation=lambda x: nn.gelu(x, approximate=False), key=KEY),
        T.TransformerDecoderLayer(4, 2, 7, dropout=0.0, activation="gelu", norm_first=True, batch_first=True), (SERIES, draw(2, 5, 4)),
        their_call=lambda m, x, memory: m(x, memory, tgt_mask=torch.tensor(~MASK)),
    ),
}  # fmt: skip


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
        want = _spatial(theirs, t)
        _objective(want).backward()
        (_, (y, state)), (slopes, slope) = f(layer, x, state)
        np.testing.assert_allclose(y, want.detach(), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(slope, t.grad, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(slopes.weight, theirs.weight.grad, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(state["mean"], theirs.running_mean, rtol=1e-10)
        np.testing.assert_allclose(state["variance"], theirs.running_var, rtol=1e-10)
    y, same = nn.inference(layer)(IMAGE, state)
    np.testing.assert_allclose(y, _spatial(theirs.eval(), torch.tensor(IMAGE)).detach(), rtol=1e-8)
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


# -------------------------------------------------------------------------------------------- laws

NOISE = random.key(5)


@dataclass(frozen=True)
class Law:
    """A layer, the shape of what it takes, and how it is called."""

    make: Callable[[Any], Any]
    shape: tuple[int, ...]
    call: Callable[..., Any] = lambda m, x: m(x)
    dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16")
    empty: bool = True
    options: dict[str, Any] = field(default_factory=dict)


def noisy(make: Any, shape: tuple[int, ...]) -> Law:
    return Law(lambda d: make(), shape, lambda m, x: m(x, key=random.clone(NOISE)))


LAWS: dict[str, Law] = {
    "Linear": Law(lambda d: nn.Linear(4, 3, dtype=d, key=KEY), (2, 4)),
    "Conv1d": Law(lambda d: nn.Conv1d(4, 3, 3, dtype=d, key=KEY), (2, 5, 4)),
    "Conv2d": Law(lambda d: nn.Conv2d(4, 3, 3, padding="SAME", strides=2, dtype=d, key=KEY), (2, 5, 4, 4)),
    "ConvTranspose2d": Law(lambda d: nn.ConvTranspose2d(4, 3, 2, strides=3, padding="SAME", dtype=d, key=KEY), (2, 3, 3, 4)),
    "DepthwiseConv2d": Law(lambda d: nn.DepthwiseConv2d(4, 3, multiplier=2, dtype=d, key=KEY), (2, 4, 4, 4)),
    "SeparableConv2d": Law(lambda d: nn.SeparableConv2d(4, 3, 3, dtype=d, key=KEY), (2, 4, 4, 4)),
    "MaxPool2d": Law(lambda d: nn.MaxPool2d(2), (2, 4, 4, 3)),
    "AvgPool2d": Law(lambda d: nn.AvgPool2d(2), (2, 4, 4, 3)),
    "AdaptiveAvgPool2d": Law(lambda d: nn.AdaptiveAvgPool2d((3, 2)), (2, 4, 4, 3)),
    "GlobalAvgPool": Law(lambda d: nn.GlobalAvgPool(), (2, 4, 4, 3)),
    "GlobalMaxPool": Law(lambda d: nn.GlobalMaxPool(keepdims=True), (2, 4, 3)),
    "Flatten": Law(lambda d: nn.Flatten(), (2, 3, 2)),
    "Dropout": noisy(lambda: nn.Dropout(0.4), (2, 3)),
    "Dropout1d": noisy(lambda: nn.Dropout1d(0.4), (2, 3, 4)),
    "Dropout2d": noisy(lambda: nn.Dropout2d(0.4), (2, 3, 2, 4)),
    "Dropout3d": noisy(lambda: nn.Dropout3d(0.4), (2, 3, 2, 1, 4)),
    "DropPath": noisy(lambda: nn.DropPath(0.4), (4, 3)),
    "AlphaDropout": noisy(lambda: nn.AlphaDropout(0.4), (2, 3)),
    "FeatureAlphaDropout": noisy(lambda: nn.FeatureAlphaDropout(0.4), (2, 3, 4)),
    "GaussianDropout": noisy(lambda: nn.GaussianDropout(0.4), (2, 3)),
    "GaussianNoise": noisy(lambda: nn.GaussianNoise(0.4), (2, 3)),
    "RReLU": noisy(lambda: nn.RReLU(), (2, 3)),
    "BatchNorm": Law(lambda d: nn.BatchNorm(4, dtype=d), (3, 4), lambda m, x: m(x, nn.init_state(m))[0], empty=False),
    "BatchNorm inference": Law(lambda d: nn.inference(nn.BatchNorm(4, dtype=d)), (3, 4), lambda m, x: m(x, nn.init_state(m))[0]),
    "LayerNorm": Law(lambda d: nn.LayerNorm(4, dtype=d), (2, 4)),
    "RMSNorm": Law(lambda d: nn.RMSNorm(4, dtype=d), (2, 4)),
    "GroupNorm": Law(lambda d: nn.GroupNorm(2, 4, dtype=d), (2, 3, 4)),
    "InstanceNorm": Law(lambda d: nn.InstanceNorm(4), (2, 3, 4)),
    "LSTM": Law(lambda d: nn.LSTM(4, 3, dtype=d, key=KEY), (2, 3, 4)),
    "GRU": Law(lambda d: nn.GRU(4, 3, dtype=d, key=KEY), (2, 3, 4)),
    "RNN": Law(lambda d: nn.RNN(4, 3, bidirectional=True, dtype=d, key=KEY), (2, 3, 4)),
    "MultiHeadAttention": Law(
        lambda d: nn.MultiHeadAttention(4, 4, key_heads=2, head_features=2, rotary_base=100.0, dtype=d, key=KEY), (2, 3, 4),
        lambda m, x: m(x, causal=True),
    ),
    "AdditiveAttention": Law(lambda d: nn.AdditiveAttention(4, 4, 3, dtype=d, key=KEY), (2, 3, 4), lambda m, x: m(x, x)),
    "DotProductAttention": Law(lambda d: nn.DotProductAttention(), (2, 3, 4), lambda m, x: m(x, x)),
    "TransformerEncoder": Law(lambda d: nn.TransformerEncoder(1, 4, 2, 5, dtype=d, key=KEY), (2, 3, 4)),
    "TransformerDecoder": Law(lambda d: nn.TransformerDecoder(1, 4, 2, 5, dtype=d, key=KEY), (2, 3, 4), lambda m, x: m(x, x)),
    "Residual": Law(lambda d: nn.Residual(nn.Linear(4, 4, dtype=d, key=KEY)), (2, 4)),
}  # fmt: skip


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
