"""The layers of ``test_module_layers``: each beside PyTorch's, and those that the laws are held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

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
BAGS = np.array([[1, 0, 4], [2, 3, 2], [2, 2, 2], [4, 4, 4]])
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


def channels_first_call(m: Any, x: Any) -> Any:
    return m(x.movedim(-1, 1)).movedim(1, -1)


def conv(name: str, x: np.ndarray, native: bool = False, out: int = 6, theirs: Any = None, **options: Any) -> Case:
    torch_names = {"strides": "stride", "use_bias": "bias"}
    translated = {torch_names.get(k, k): v.lower() if isinstance(v, str) else v for k, v in options.items()}
    module = getattr(T, name)(4, out, kernel_size=3, **(translated if theirs is None else theirs))
    return Case(
        lambda: getattr(nn, name)(4, out, 3, key=KEY, **options),
        module,
        (x,),
        their_call=channels_first_call,
        native=native,
    )


def pool(
    name: str, x: np.ndarray, ours: tuple[Any, ...], theirs: tuple[Any, ...], native: bool = False, **options: Any
) -> Case:
    return Case(
        lambda: getattr(nn, name)(*ours, **options),
        getattr(T, name)(*theirs, **options),
        (x,),
        their_call=channels_first_call,
        native=native,
    )


def border(name: str, x: np.ndarray, pads: list[tuple[int, int]], **options: Any) -> Case:
    """A ``Pad`` beside a module of PyTorch's, which takes the last axis first."""
    flat = [n for pair in reversed(pads) for n in pair]
    given = [options["value"]] if "value" in options else []
    layer = {3: nn.Pad1d, 4: nn.Pad2d, 5: nn.Pad3d}[x.ndim]
    return Case(
        lambda: layer(pads, **options),
        getattr(T, f"{name}{x.ndim - 2}d")(flat, *given),
        (x,),
        their_call=channels_first_call,
    )


def upsampled(x: np.ndarray, scale: Any, size: Any, mode: str, theirs: str, **options: Any) -> Case:
    return Case(
        lambda: nn.Upsample(scale, size=size, mode=mode, **options),
        T.Upsample(size, scale, theirs, **options),
        (x,),
        their_call=channels_first_call,
    )


def _windows_last(y: Any, taps: int) -> Any:
    """(batch, windows, taps * channels) as PyTorch has it: (batch, channels * taps, windows)."""
    return y.reshape(*y.shape[:2], taps, -1).swapaxes(2, 3).reshape(*y.shape[:2], -1).swapaxes(1, 2)


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
    **{
        f"EmbeddingBag, {mode}": Case(
            lambda mode=mode: nn.EmbeddingBag(5, 3, mode=mode, padding=2, key=KEY), T.EmbeddingBag(5, 3, mode=mode, padding_idx=2), (),
            lambda m: m(BAGS), lambda m: m(torch.tensor(BAGS)), mode == "mean",
        )
        for mode in ("mean", "sum", "max")
    },
    "EmbeddingBag with weights": Case(
        lambda: nn.EmbeddingBag(5, 3, mode="sum", key=KEY), T.EmbeddingBag(5, 3, mode="sum"), (draw(4, 3),), lambda m, w: m(BAGS, w),
        lambda m, w: m(torch.tensor(BAGS), per_sample_weights=w),
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
    "MaxPool2d dilated": pool("MaxPool2d", IMAGE, ((2, 3), 1, (1, 0)), ((2, 3), 1, (1, 0)), native=True, dilation=(3, 2)),
    "MaxPool2d dilated, of what is left over": pool("MaxPool2d", IMAGE, (2, (2, 3)), (2, (2, 3)), dilation=2, ceil_mode=True),
    "LPPool1d": Case(lambda: nn.LPPool1d(3, 2, p=2), T.LPPool1d(2, 3, 2), (SERIES,), their_call=channels_first_call),
    "LPPool2d": Case(
        lambda: nn.LPPool2d((2, 3), p=3), T.LPPool2d(3, (2, 3)), (np.abs(IMAGE),), their_call=channels_first_call, native=True,
    ),
    "LPPool3d": Case(lambda: nn.LPPool3d(2, p=1), T.LPPool3d(1, 2), (np.abs(VOLUME),), their_call=channels_first_call),
    "Unfold": Case(lambda: nn.Unfold((2, 3), (3, 1), (1, 2), dilation=(2, 1)), T.Unfold((2, 3), (2, 1), (1, 2), (3, 1)), (IMAGE,),
        lambda m, x: _windows_last(m(x), 6), lambda m, x: m(x.movedim(-1, 1)), True,
    ),
    "Fold": Case(lambda: nn.Fold((6, 7), 3, 2, 1), T.Fold((6, 7), 3, 1, 1, 2), (draw(2, 12, 18),),
        lambda m, x: m(x),
        lambda m, x: m(x.reshape(2, 12, 9, 2).swapaxes(2, 3).reshape(2, 12, 18).swapaxes(1, 2)).movedim(1, -1), True,
    ),
    "PixelShuffle": Case(lambda: nn.PixelShuffle(2), T.PixelShuffle(2), (IMAGE,), their_call=channels_first_call, native=True),
    "PixelUnshuffle": Case(lambda: nn.PixelUnshuffle(3), T.PixelUnshuffle(3), (draw(2, 6, 3, 2),), their_call=channels_first_call),
    "ChannelShuffle": Case(lambda: nn.ChannelShuffle(2), T.ChannelShuffle(2), (IMAGE,), their_call=channels_first_call),
    "Pad1d": border("ConstantPad", SERIES, [(2, 1)], value=0.5),
    "Pad1d reflect": border("ReflectionPad", SERIES, [(2, 3)], mode="reflect"),
    "Pad2d": border("ZeroPad", IMAGE, [(2, -1), (-2, 1)]),
    "Pad2d circular": border("CircularPad", IMAGE, [(1, 2), (3, 0)], mode="circular"),
    "Pad3d replicate": border("ReplicationPad", VOLUME, [(1, 2), (0, 3), (1, 0)], mode="replicate"),
    "Upsample": upsampled(IMAGE, 2, None, "nearest", "nearest"),
    "Upsample of another size": upsampled(IMAGE, None, (9, 4), "nearest", "nearest-exact"),
    "Upsample linear": upsampled(SERIES, 3, None, "linear", "linear"),
    "Upsample bilinear": upsampled(IMAGE, (2, 3), None, "bilinear", "bilinear"),
    "Upsample bilinear, corners": upsampled(IMAGE, None, (11, 4), "bilinear", "bilinear", align_corners=True),
    "Upsample bicubic": upsampled(IMAGE, 2, None, "bicubic", "bicubic"),
    "Upsample bicubic, corners": upsampled(IMAGE, None, (8, 9), "bicubic", "bicubic", align_corners=True),
    "Upsample trilinear": upsampled(VOLUME, 2, None, "trilinear", "trilinear"),
    "LocalResponseNorm": Case(
        lambda: nn.LocalResponseNorm(4, alpha=0.5, k=2.0), T.LocalResponseNorm(4, 0.5, k=2.0), (IMAGE,), their_call=channels_first_call, native=True,
    ),
    "AdaptiveAvgPool1d": pool("AdaptiveAvgPool1d", SERIES, (4,), (4,)),
    "AdaptiveAvgPool2d": pool("AdaptiveAvgPool2d", IMAGE, ((3, None),), ((3, None),)),
    "AdaptiveAvgPool3d": pool("AdaptiveAvgPool3d", VOLUME, ((2, 2, 4),), ((2, 2, 4),)),
    "AdaptiveMaxPool1d": pool("AdaptiveMaxPool1d", SERIES, (2,), (2,)),
    "AdaptiveMaxPool2d": pool("AdaptiveMaxPool2d", IMAGE, (4,), (4,)),
    "AdaptiveMaxPool3d": pool("AdaptiveMaxPool3d", VOLUME, (2,), (2,)),
    "LayerNorm": Case(lambda: nn.LayerNorm((7, 4)), T.LayerNorm((7, 4)), (IMAGE,), native=True),
    "RMSNorm": Case(lambda: nn.RMSNorm(4), T.RMSNorm(4, eps=1e-6), (IMAGE,)),
    "GroupNorm": Case(lambda: nn.GroupNorm(2, 4), T.GroupNorm(2, 4), (IMAGE,), their_call=channels_first_call),
    "InstanceNorm": Case(lambda: nn.InstanceNorm(4, affine=True), T.InstanceNorm2d(4, affine=True), (IMAGE,), their_call=channels_first_call),
    "PReLU": Case(lambda: nn.PReLU(4), T.PReLU(4), (IMAGE,), their_call=channels_first_call),
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
    "LSTM with projections": Case(
        lambda: nn.LSTM(4, 5, num_layers=2, bidirectional=True, proj_features=3, key=KEY),
        T.LSTM(4, 5, 2, batch_first=True, bidirectional=True, proj_size=3), (SERIES,), _our_carry, _flat_carry,
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


# ------------------------------------------------------------------------------------------ laws

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
    "MaxPool2d dilated": Law(lambda d: nn.MaxPool2d(2, 1, dilation=2, ceil_mode=True), (2, 4, 4, 3)),
    "AvgPool2d": Law(lambda d: nn.AvgPool2d(2), (2, 4, 4, 3)),
    "LPPool2d": Law(lambda d: nn.LPPool2d(2, 1, p=3), (2, 3, 4, 3)),
    "max_unpool": Law(lambda d: nn.MaxPool2d(2, return_indices=True), (2, 4, 4, 3), lambda m, x: nn.max_unpool(*m(x), (4, 4))),
    "Unfold": Law(lambda d: nn.Unfold((2, 3), padding=1), (2, 3, 4, 3)),
    "Fold": Law(lambda d: nn.Fold((4, 5), 3, 2, (1, 0)), (2, 4, 9)),
    "PixelShuffle": Law(lambda d: nn.PixelShuffle(2), (2, 3, 2, 8)),
    "PixelUnshuffle": Law(lambda d: nn.PixelUnshuffle(2), (2, 4, 2, 3)),
    "ChannelShuffle": Law(lambda d: nn.ChannelShuffle(3), (2, 6)),
    "Pad2d": Law(lambda d: nn.Pad2d([(1, -1), (2, 0)], mode="reflect"), (2, 4, 4, 3)),
    "Upsample": Law(lambda d: nn.Upsample(1.5), (2, 4, 4, 3)),
    "Upsample cubic": Law(lambda d: nn.Upsample(size=5, mode="cubic", align_corners=True), (2, 4, 4, 3)),
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
    "LocalResponseNorm": Law(lambda d: nn.LocalResponseNorm(3, alpha=0.5), (2, 3, 4)),
    "InstanceNorm": Law(lambda d: nn.InstanceNorm(4), (2, 3, 4)),
    "LSTM": Law(lambda d: nn.LSTM(4, 3, dtype=d, key=KEY), (2, 3, 4)),
    "LSTM with projections": Law(lambda d: nn.LSTM(4, 3, proj_features=2, dtype=d, key=KEY), (2, 3, 4)),
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
    "EmbeddingBag": Law(
        lambda d: nn.EmbeddingBag(5, 3, mode="sum", dtype=d, key=KEY), (2, 4), lambda m, w: m(fnp.arange(w.size).reshape(w.shape) % 5, w),
    ),
    "WeightNorm": Law(lambda d: nn.WeightNorm(nn.Linear(4, 3, dtype=d, key=KEY)), (2, 4)),
    "SpectralNorm": Law(
        lambda d: nn.inference(nn.SpectralNorm(nn.Linear(4, 3, dtype=d, key=KEY))), (2, 4),
        lambda m, x: m(x, {"u": fnp.asarray([0.5, 0.1, 0.2], x.dtype), "v": fnp.asarray([0.5, 0.1, 0.2, 0.3], x.dtype)})[0],
    ),
    "Residual": Law(lambda d: nn.Residual(nn.Linear(4, 4, dtype=d, key=KEY)), (2, 4)),
}  # fmt: skip
