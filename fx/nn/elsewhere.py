"""The names that PyTorch and Keras have for what stands here: for the messages of names and arguments that are not known."""

from __future__ import annotations

import inspect
import re
from typing import Any

from ..misnamed import name_here, no_argument, no_attribute, unexpected
from ..signatures import signature_of

__all__ = ["explain_arguments", "explain_call", "explain_method", "forward_is_no_call", "no_name", "parameters"]

_ARGUMENTS = {
    "bias": "use_bias", "bias_initializer": "bias_init", "d_model": "features", "dilation_rate": "dilation", "dim_feedforward": "hidden_features",
    "elementwise_affine": "affine", "embed_dim": "features", "embedding_dim": "features", "eps": "epsilon", "filters": "out_channels",
    "hidden_size": "hidden_features", "n_power_iterations": "iterations", "include_last_offset": "Bags are rows, filled up with padding=.", "in_size": "in_features", "input_size": "in_features", "kernel_initializer": "weight_init",
    "kernel_size": "window", "layers": "num_layers", "n_layers": "num_layers", "nhead": "heads", "nonlinearity": "activation", "norm": "final_norm", "normalized_shape": "shape", "num_channels": "channels",
    "num_embeddings": "num", "num_features": "channels", "num_groups": "groups", "num_heads": "heads", "out_size": "out_features",
    "downscale_factor": "factor", "norm_type": "p", "output_size": "out|shape", "p": "rate", "scale_factor": "scale", "upscale_factor": "factor", "padding_idx": "padding", "pool_size": "window", "rng": "key", "seed": "key", "start_dim": "start", "stride": "strides",
    "units": "out_features",
    "activation": "Activations are functions of their own: nn.Sequential(layer, nn.relu).",
    "batch_first": "The batch is always the first axis.",
    "data_format": "Channels come last.",
    "device": "Arrays are in the computer's memory.",
    "divisor_override": "nn.AvgPool2d(window)(x) * size / divisor is that.",
    "inplace": "Arrays do not change.",
    "input_shape": "Sizes are given to the layers; nn.summary(model, x) shows the shapes.",
    "kdim": "key_features", "key_dim": "head_features", "vdim": "value_features",
    "return_sequences": "Calls return the outputs of all steps: y[:, -1] are the last.",
    "return_state": "layer.run(x, carry) returns the outputs and the carry.",
    "track_running_stats": "Running statistics are state: nn.init_state(layer).",
}  # fmt: skip
_LOOKS = "masks are True where a query looks at a key, in PyTorch's where it does not."
_KEYS = f"mask=~padding[:, None, :], of (batch, sources): {_LOOKS}"
_TRAINING = "A call with key= draws noise; nn.inference(model) is the model without."
_CALLED = {
    "attention_mask": "mask", "attn_mask": f"It is mask=~attn_mask: {_LOOKS}", "hx": "layer.run(x, carry) takes the carry, and returns it.",
    "initial_state": "layer.run(x, carry) takes the carry, and returns it.", "is_causal": "causal|It is TransformerEncoderBlock(..., causal=True).",
    "key_padding_mask": f"It is {_KEYS}", "memory_key_padding_mask": f"It is memory_{_KEYS}", "need_weights": "layer.weights(query, keys) are the weights.",
    "offsets": "Bags are the rows of x, filled up with padding=.", "per_sample_weights": "weights",
    "output_size": "output_padding= of the layer makes it larger.", "return_attention_scores": "layer.weights(query, keys) are the weights.",
    "src_key_padding_mask": f"It is {_KEYS}", "src_mask": f"It is mask=~src_mask: {_LOOKS}", "tgt_is_causal": "A decoder's attention to itself always is.",
    "tgt_key_padding_mask": f"It is {_KEYS}", "tgt_mask": f"It is mask=~tgt_mask: {_LOOKS}", "train": _TRAINING, "training": _TRAINING,
    "use_causal_mask": "causal|It is TransformerEncoderBlock(..., causal=True).",
}  # fmt: skip
_RESIZE = "fx.image.resize changes the size of images."
_UNPOOL = "nn.MaxPool2d(..., return_indices=True) gives places too, and nn.max_unpool(y, places, shape) puts back."
_SHAPE = "x.reshape(...); in nn.Sequential lambda x: x.reshape(len(x), 8, 8)."
_PADS = {
    f"{kind}{n}d": f"It is nn.Pad{n}d(padding{mode}), a pair (before, after) for each axis, the first axis first."
    for n in (1, 2, 3)
    for kind, mode in (
        ("CircularPad", ", mode='circular'"), ("ConstantPad", ", value=value"), ("ReflectionPad", ", mode='reflect'"),
        ("ReplicationPad", ", mode='replicate'"), ("ZeroPad", ""),
    )
}  # fmt: skip
_NAMES = {
    "AveragePooling1D": "AvgPool1d", "AveragePooling2D": "AvgPool2d", "BatchNorm1d": "BatchNorm", "BatchNorm2d": "BatchNorm", "BatchNorm3d": "BatchNorm", "BatchNormalization": "BatchNorm",
    "BCEWithLogitsLoss": "bce_with_logits", "CosineEmbeddingLoss": "cosine", "CosineSimilarity": "cosine_similarity", "PairwiseDistance": "pairwise_distance", "CrossEntropyLoss": "cross_entropy",
    "BinaryCrossentropy": "bce_with_logits", "CategoricalCrossentropy": "cross_entropy", "Conv1DTranspose": "ConvTranspose1d", "Conv2DTranspose": "ConvTranspose2d",
    "CTCLoss": "ctc", "Dense": "Linear", "GlobalAveragePooling1D": "GlobalAvgPool", "GlobalAveragePooling2D": "GlobalAvgPool", "GlobalMaxPooling1D": "GlobalMaxPool",
    "GlobalMaxPooling2D": "GlobalMaxPool", "GroupNormalization": "GroupNorm", "HuberLoss": "huber", "InstanceNorm1d": "InstanceNorm", "InstanceNorm2d": "InstanceNorm", "InstanceNorm3d": "InstanceNorm", "CrossMapLRN2d": "LocalResponseNorm",
    "KLDivLoss": "kl_divergence", "L1Loss": "mae", "LayerNormalization": "LayerNorm", "MaxPooling1D": "MaxPool1d", "MaxPooling2D": "MaxPool2d",
    "MeanAbsoluteError": "mae", "MeanSquaredError": "mse", "MSELoss": "mse", "MultiLabelSoftMarginLoss": "bce_with_logits", "MultiMarginLoss": "multiclass_hinge", "MultiheadAttention": "MultiHeadAttention",
    "NLLLoss": "cross_entropy", "SimpleRNN": "RNN", "SmoothL1Loss": "huber", "Softmax2d": "softmax", "SparseCategoricalCrossentropy": "cross_entropy",
    "SpatialDropout1D": "Dropout1d", "SpatialDropout2D": "Dropout2d", "SyncBatchNorm": "BatchNorm", "TransformerDecoderLayer": "TransformerDecoderBlock",
    "TransformerEncoderLayer": "TransformerEncoderBlock", "TripletMarginLoss": "triplet",
    "binary_cross_entropy_with_logits": "bce_with_logits", "ctc_loss": "ctc", "huber_loss": "huber",
    "kl_div": "kl_divergence", "l1_loss": "mae", "mse_loss": "mse", "nll_loss": "cross_entropy", "scaled_dot_product_attention": "dot_product_attention",
    "smooth_l1_loss": "huber", "triplet_margin_loss": "triplet",
    "Activation": "Activations are functions: nn.relu, in nn.Sequential layers as they are.",
    "Add": "It is x + y.", "BCELoss": "nn.bce_with_logits takes the numbers before the sigmoid.",
    "Bidirectional": "nn.RNN, nn.LSTM and nn.GRU take bidirectional=True.", "Buffer": "A field declared nn.field(trainable=False) holds arrays that are not trained.", "Concatenate": "It is fx.numpy.concatenate([x, y], -1).", "Masking": "Recurrent layers take lengths=, losses weights=.", "ParameterList": "A list of arrays is a field as it is.",
    "Permute": "It is x.transpose(...).", "Reshape": _SHAPE, "Unflatten": _SHAPE,
    "SoftMarginLoss": "It is nn.softplus(-y * x).mean().", "TimeDistributed": "Layers take further leading axes as they are.",
    "Transformer": "nn.TransformerEncoder and nn.TransformerDecoder are its halves.", "clip_grad_norm_": "optim.clip_by_global_norm clips gradients.",
    "parametrizations": "nn.WeightNorm(layer) and nn.SpectralNorm(layer); any other is a module whose call makes the weight of its parameters.",
    "utils": "Gradients are clipped by optim.clip_by_global_norm; parameters are a pytree, fx.flatten_util.ravel_pytree makes a vector of them.",
    "bce": "nn.bce_with_logits takes the numbers before the sigmoid.",
    "interpolate": f"nn.Upsample is a layer; {_RESIZE}",
    "upsample": f"nn.Upsample is a layer; {_RESIZE}",
    "UpsamplingBilinear2d": "It is nn.Upsample(2, mode='bilinear', align_corners=True).",
    "UpsamplingNearest2d": "Upsample",
    "pad": "fx.numpy.pad pads arrays, nn.Pad2d is a layer.",
    "relu_": "Arrays do not change: x = nn.relu(x).",
    "ModuleDict": "A dict of modules is a field as it is.",
    "ModuleList": "A list of modules is a field as it is.",
    "Parameter": "An array in a field of a module is a parameter.",
    **_PADS,
    **{name: _UNPOOL for n in (1, 2, 3) for name in (f"MaxUnpool{n}d", f"max_unpool{n}d", f"max_pool{n}d_with_indices")},
    **{name: here for n in (1, 2, 3) for name, here in ((f"ZeroPadding{n}D", f"Pad{n}d"), (f"UpSampling{n}D", "Upsample"))},
    "GaussianNLLLoss": "gaussian_nll", "HingeEmbeddingLoss": "hinge_embedding", "MarginRankingLoss": "margin_ranking", "PoissonNLLLoss": "poisson_nll",
    "gaussian_nll_loss": "gaussian_nll", "hinge_embedding_loss": "hinge_embedding", "margin_ranking_loss": "margin_ranking",
    "poisson_nll_loss": "poisson_nll", "cosine_embedding_loss": "cosine", "multi_margin_loss": "multiclass_hinge",
    "multilabel_soft_margin_loss": "bce_with_logits", "soft_margin_loss": "It is nn.softplus(-y * x).mean().",
    "MultiLabelMarginLoss": "nn.bce_with_logits, and nn.hinge, are losses of several labels at once.",
    "TripletMarginWithDistanceLoss": "It is nn.relu(margin + distance(x, near) - distance(x, far)).mean().",
    "binary_cross_entropy": "nn.bce_with_logits takes the numbers before the sigmoid.",
    "channel_shuffle": "ChannelShuffle", "pixel_shuffle": "PixelShuffle", "pixel_unshuffle": "PixelUnshuffle", "embedding_bag": "EmbeddingBag",
    "local_response_norm": "LocalResponseNorm", **{f"lp_pool{n}d": f"LPPool{n}d" for n in (1, 2, 3)},
    "pdist": "nn.pairwise_distance(x[:, None], x) are the distances of all pairs.", "cdist": "nn.pairwise_distance(x[:, None], y) are the distances of all pairs.",
    "ParameterDict": "A dict of arrays is a field as it is.", "clip_grad_value_": "optim.clip clips gradients.", "DataParallel": "Arrays are on one device.",
    "parameters_to_vector": "fx.flatten_util.ravel_pytree makes a vector of parameters.",
    **{f"Lazy{kind}": "Sizes are given to the layers; nn.summary(model, x) shows the shapes." for kind in ("Linear", "Conv1d", "Conv2d", "Conv3d", "BatchNorm1d", "BatchNorm2d")},
    "spectral_norm": "SpectralNorm",
    "weight_norm": "WeightNorm",
    "remove_weight_norm": "nn.WeightNorm(layer).normalized() is the layer itself, with its weight as it is.",
    "functional": "Layers and functions stand in fx.nn alike.",
    "init": "Initializers stand in nn.initializers.",
}  # fmt: skip
_METHODS = {
    "add": "nn.Sequential(*model.layers, layer) has one more",
    "append": "nn.Sequential(*model.layers, layer) has one more",
    "apply": "a module is called: model(x); nn.apply(model, x, state=state, key=key) calls every kind",
    "backward": "gradients are values: fx.grad(loss)(model, ...)",
    "children": "fields are attributes; nn.summary(model, x) shows all layers",
    "compile": "training is train.Trainer(loss, optimizer).fit(model, data, epochs=...)",
    "cuda": "arrays are in the computer's memory",
    "eval": "nn.inference(model) is the model with noise off and running statistics in use",
    "fit": "training is train.Trainer(loss, optimizer).fit(model, data, epochs=...)",
    "forward": "a module is called: model(x)",
    "get_weights": "a module is a pytree: fx.tree.leaves(model)",
    "half": "fx.tree.map(lambda a: a.astype('float16'), model) changes the dtype",
    "init": "parameters are there when a module is made; nn.init_state(model) is its first state",
    "load_state_dict": "io.load(path, model), and io.load_torch(state_dict, model), return a model with other weights",
    "load_weights": "io.load(path, model) returns a model with other weights",
    "modules": "fields are attributes; nn.summary(model, x) shows all layers",
    "named_parameters": "a module is a pytree: fx.tree_util.tree_leaves_with_path(model)",
    "parameters": "a module is a pytree: fx.tree.leaves(model)",
    "predict": "a module is called: nn.inference(model)(x)",
    "register_buffer": "a field declared nn.field(trainable=False) holds arrays that are not trained; what changes from call to call is state (nn.init_state)",
    "register_forward_hook": "nn.observe(callback) hands over every layer's arguments and output while the model runs",
    "requires_grad_": "nn.freeze(model, 'layers/0/*') takes parameters out of training",
    "save": "io.save(path, model) saves it",
    "state_dict": "io.save(path, model) saves it, io.torch_state_dict(model) has PyTorch's names",
    "summary": "nn.summary(model, x)",
    "to": "fx.tree.map(lambda a: a.astype('bfloat16'), model) changes the dtype; arrays are in the computer's memory",
    "train": "nn.inference(model, False) is the model in training",
    "weights": "a module is a pytree: fx.tree.leaves(model)",
    "zero_grad": "gradients are values: fx.grad(loss)(model, ...)",
}


def no_name(name: str, known: list[str], losses: list[str]) -> AttributeError:
    """The error for a name that ``fx.nn`` does not have: what PyTorch and Keras have as a class may be a function here."""
    here = name_here(name, known, _NAMES)
    if here.isidentifier() and here[0].islower() and name[0].isupper():
        layer = f", and in nn.Sequential a layer as it is (nn.Lambda(nn.{here}, ...) with arguments)"
        here = f"It is nn.{here}: a function{'' if here in losses else layer}."
    return no_attribute("fx.nn", name, known, {name: here})


def explain_method(cls: type, name: str) -> str:
    """What stands for a method that modules do not have."""
    text = f"{cls.__name__!r} object has no attribute {name!r}"
    return f"{text}: {_METHODS[name]}" if name in _METHODS else text


def explain_call(cls: type, call: Any, error: TypeError, kwargs: dict[str, Any]) -> TypeError | None:
    """An error that says what a call of a module takes, in place of Python's about a keyword; else None."""
    wrong = unexpected(error, kwargs)
    if wrong is None or not str(error).startswith(f"{call.__qualname__}() "):
        return None
    known = list(signature_of(call).parameters)[1:]
    *ours, way_out = ["", *_CALLED.get(wrong, "").split("|")]
    here = next((n for n in (*ours, way_out) if n in known), way_out)
    return no_argument(f"A call of {cls.__name__}", wrong, known, {wrong: here})


def forward_is_no_call(self: Any, *args: Any, **kwargs: Any) -> Any:
    """The ``__call__`` of a class that has a ``forward`` instead."""
    raise TypeError(f"{type(self).__name__} has a method forward; the method that is called is named __call__ here.")


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The parameters of a class, those that its ``__init__`` hands on to that of a base or of its ``_cell`` included."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" in base.__dict__:
            own = signature_of(base.__dict__["__init__"]).parameters
            found |= {
                n: p
                for n, p in list(own.items())[1:]
                if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and n not in found
            }
            if not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in own.values()):
                break
    if cell := getattr(cls, "_cell", None):
        found = parameters(cell) | found
    return dict(sorted(found.items(), key=lambda item: item[1].kind))


def explain_arguments(cls: type, error: TypeError, kwargs: dict[str, Any]) -> TypeError | None:
    """An error that says what a class takes, in place of Python's about the arguments of its ``__init__``; else None."""
    text, name = str(error), cls.__name__
    if not any(text.startswith(f"{b.__qualname__}.__init__() ") for b in cls.__mro__):
        return None
    known = parameters(cls)
    if (wrong := unexpected(error, kwargs)) is not None:
        return no_argument(name, wrong, known, _ARGUMENTS)
    if "missing" in text and re.search(r"'key'$", text) and "key" not in kwargs:
        return TypeError(
            f"{name} makes its parameters from a key: {name}(..., key=fx.random.key(0)), a new one for each layer."
        )
    if "positional argument" in text:
        placed = [n for n, p in known.items() if p.kind is not p.KEYWORD_ONLY]
        named = [n for n in known if n not in placed]
        return TypeError(
            f"{name} takes {', '.join(placed) or 'nothing'} by position, and {', '.join(named) or 'nothing'} by name; it"
            f" {re.sub('^missing', 'is missing', text.partition('() ')[2])}"
        )
    return None
