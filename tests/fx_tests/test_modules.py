"""What modules promise: frozen pytrees, explicit keys and state, every transform, surgery by path, and clear errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax, nn, optim, random, train, tree_util
from fx.errors import (
    ArgumentError,
    DTypeError,
    FrozenModuleError,
    KeyReuseWarning,
    LabelError,
    MissingKeyError,
    MissingStateError,
    ModuleFieldError,
    ShapeError,
    TreeError,
)

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def keys(n: int) -> list[Any]:
    split = random.split(random.key(3), n)
    return [split[i] for i in range(n)]


class Net(nn.Module):
    """A module with an ``__init__`` of its own, containers of modules, and state inside."""

    layers: dict[str, Any]
    norms: list[Any]
    scale: Any
    activation: Any = nn.static_field(default=nn.tanh)
    bias: Any = None

    def __init__(self, *, key: Any) -> None:
        a, b = random.split(key)
        self.layers = {"first": nn.Linear(4, 3, key=a), "second": nn.Linear(3, 2, key=b)}
        self.norms = [nn.BatchNorm(3), nn.Identity()]
        self.scale = fnp.ones(())

    def __call__(self, x: Any, state: Any, *, key: Any = None) -> Any:
        x = self.activation(self.layers["first"](x))
        x, norm = self.norms[0](x, state["norms"][0])
        return self.layers["second"](x) * self.scale, {"norms": [norm, None]}


class Pair(nn.Module):
    """A module with the ``__init__`` of a dataclass."""

    a: Any
    b: Any
    power: int = nn.field(static=True, default=2)

    def __call__(self, x: Any) -> Any:
        return self.a * x**self.power + self.b


def net() -> Net:
    return Net(key=random.key(1))


def dense() -> nn.Sequential:
    a, b = keys(2)
    return nn.Sequential(nn.Linear(4, 5, key=a), nn.tanh, nn.Dropout(0.5), nn.Linear(5, 2, key=b))


# ----------------------------------------------------------------------------------------- pytrees


def test_a_module_is_a_frozen_dataclass() -> None:
    pair = Pair(fnp.ones(2), b=fnp.zeros(2))
    assert pair.power == 2 and repr(pair) == "Pair(a=f32[2], b=f32[2])"
    assert repr(Pair(fnp.ones(2), None, power=3)) == "Pair(a=f32[2], b=None, power=3)"
    assert repr(fx.tree.map(lambda x: np.zeros(x.shape, "U3"), pair)) == "Pair(a=<U3[2], b=<U3[2])"
    with pytest.raises(FrozenModuleError, match=r"nn.tree_at\(lambda m: m.a"):
        pair.a = 1
    with pytest.raises(AttributeError):
        del pair.a
    model = net()
    assert model.activation is nn.tanh and model.bias is None


def test_paths_name_parameters() -> None:
    paths = [tree_util.keystr(p, simple=True, separator="/") for p, _ in tree_util.tree_leaves_with_path(net())]
    assert paths == [
        "layers/first/weight", "layers/first/bias", "layers/second/weight", "layers/second/bias", "norms/0/weight",
        "norms/0/bias", "scale",
    ]  # fmt: skip
    state = nn.init_state(net())
    paths = [tree_util.keystr(p, simple=True, separator="/") for p, _ in tree_util.tree_leaves_with_path(state)]
    assert paths == ["norms/0/mean", "norms/0/variance"]


def test_modules_go_through_trees_and_structures_compare() -> None:
    model = net()
    leaves, structure = fx.tree.flatten(model)
    assert structure == fx.tree.structure(net()) and hash(structure) == hash(fx.tree.structure(net()))
    assert structure != fx.tree.structure(nn.replace(model, activation=nn.relu))
    assert fx.tree.structure(Pair(0 * X, None, 2)) != fx.tree.structure(Pair(0 * X, None, 3))
    again = fx.tree.unflatten(structure, leaves)
    assert isinstance(again, Net) and again.activation is nn.tanh and again.layers["first"].in_features == 4
    doubled = fx.tree.map(lambda x: 2 * x, model)
    np.testing.assert_array_equal(doubled.layers["first"].weight, 2 * model.layers["first"].weight)


def test_inheritance_keeps_fields_and_init() -> None:
    class Shifted(Pair):
        c: Any = None

        def __call__(self, x: Any) -> Any:
            return super().__call__(x) + self.c

    class Wider(nn.Linear):
        def __init__(self, n: int, *, key: Any) -> None:
            super().__init__(n, 2 * n, key=key)

    class Same(Wider):
        pass

    assert Shifted(1 * X, 0 * X, 1, c=X)(1).sum() == pytest.approx(2 * X.sum(), rel=1e-5)
    assert Same(4, key=random.key(0))(X).shape == (6, 8)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Pair(nn.relu, None), ModuleFieldError, "nn.static_field"),
        (lambda: Pair([fnp.ones(1), 3], None), ModuleFieldError, r"a\[1\] is a int"),
        (lambda: Pair(None, None, power=[2]), ModuleFieldError, "hashable"),
        (lambda: nn.replace(Pair(None, None), c=1), ModuleFieldError, "it has a, b, power"),
    ],
)
def test_fields_hold_what_they_may(make: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_init_says_what_it_forgot_and_what_it_did_not_declare() -> None:
    class Forgetful(nn.Module):
        a: Any
        b: Any

        def __init__(self) -> None:
            self.a = fnp.ones(1)

    class Undeclared(nn.Module):
        a: Any

        def __init__(self) -> None:
            self.a = self.size = fnp.ones(1)

    with pytest.raises(ModuleFieldError, match="must assign b"):
        Forgetful()
    with pytest.raises(ModuleFieldError, match="size, which is no field"):
        Undeclared()


# -------------------------------------------------------------------------------------- transforms


def test_every_transform_takes_modules() -> None:
    model, state = net(), nn.init_state(net())

    def loss(model: Net, state: Any, x: Any) -> Any:
        y, state = model(x, state)
        return fnp.sum(y**2), state

    (value, new), slopes = fx.value_and_grad(loss, has_aux=True)(model, state, X)
    compiled = fx.jit(fx.value_and_grad(loss, has_aux=True))(model, state, X)
    for a, b in zip(fx.tree.leaves(((value, new), slopes)), fx.tree.leaves(compiled)):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    assert isinstance(slopes, Net)
    step = 1e-3
    moved = fx.tree.map(lambda p, g: p + step * g, model, slopes)
    back = fx.tree.map(lambda p, g: p - step * g, model, slopes)
    slope = (loss(moved, state, X)[0] - loss(back, state, X)[0]) / (2 * step)
    np.testing.assert_allclose(slope, sum(float(fnp.sum(g**2)) for g in fx.tree.leaves(slopes)), rtol=2e-2)


def test_an_ensemble_is_a_module_made_under_vmap() -> None:
    make = lambda key: nn.Linear(4, 3, key=key)
    many = random.split(random.key(0), 5)
    models = fx.vmap(make)(many)
    assert models.weight.shape == (5, 4, 3)
    ys = fx.vmap(lambda m, x: m(x), in_axes=(0, None))(models, X)
    for i in range(5):
        np.testing.assert_allclose(ys[i], make(many[i])(X), rtol=1e-5, atol=1e-6)
    states = fx.vmap(lambda m: nn.init_state(nn.BatchNorm(3)))(models)
    assert states["mean"].shape == (5, 3)


def test_a_stack_of_layers_runs_in_a_scan() -> None:
    layers = fx.vmap(lambda key: nn.Residual(nn.Sequential(nn.Linear(4, 4, key=key), nn.tanh)))(
        random.split(random.key(0), 3)
    )
    run = lambda layers, x: lax.scan(lambda x, layer: (layer(x), None), x, layers)[0]
    want = X
    for i in range(3):
        want = fx.tree.map(lambda w: w[i], layers)(want)
    np.testing.assert_allclose(fx.jit(run)(layers, X), want, rtol=1e-5, atol=1e-6)
    slopes = fx.grad(lambda layers: run(layers, X).sum())(layers)
    assert slopes.layer[0].weight.shape == (3, 4, 4)


# ------------------------------------------------------------------------------------ keys, state


def test_state_is_threaded_and_keys_are_split() -> None:
    a, b = keys(2)
    inner = nn.Sequential(nn.Linear(4, 4, key=a), nn.BatchNorm(4), nn.Dropout(0.5))
    model = nn.Sequential(nn.Residual(inner, nn.BatchNorm(4)), nn.relu, nn.Dropout(0.5), nn.Linear(4, 2, key=b))
    state = nn.init_state(model)
    assert nn.stateful(model) and not nn.stateful(model[3])
    y, new = model(X, state, key=random.key(1))
    assert fx.tree.structure(new) == fx.tree.structure(state)
    assert float(new["layers"][0]["layer"]["layers"][1]["mean"].sum()) != 0
    same, _ = fx.jit(lambda m, s, k: m(X, s, key=k))(model, state, random.key(1))
    np.testing.assert_allclose(same, y, rtol=1e-5, atol=1e-6)
    other, _ = model(X, state, key=random.key(2))
    assert not np.allclose(other, y)
    calm, kept = nn.inference(model)(X, state)
    for p, q in zip(fx.tree.leaves(kept), fx.tree.leaves(state)):
        np.testing.assert_array_equal(p, q)
    assert nn.inference(nn.inference(model), False)(X, state, key=random.key(1))[0] == pytest.approx(np.asarray(y))
    assert calm.shape == (6, 2)
    out, none = nn.apply(dense(), X, key=random.key(0))
    assert none is None and out.shape == (6, 2)
    assert nn.init_state(dense()) is None


def test_the_same_key_twice_warns() -> None:
    key, batch = random.key(0), fnp.ones((2, 4))
    nn.Linear(2, 2, key=key)
    with pytest.warns(KeyReuseWarning, match=r"Linear\(3, 3\).*Linear\(2, 2\).*test_modules.py.*split"):
        nn.Linear(3, 3, key=key)
    layer, raw = nn.Dropout(0.5), random.PRNGKey(1)
    layer(batch, key=raw)
    with pytest.warns(KeyReuseWarning, match="Dropout"):
        layer(batch, key=raw)

    def both(key: Any) -> Any:
        return layer(batch, key=key) + layer(batch, key=key)

    with pytest.warns(KeyReuseWarning):
        fx.jit(both)(random.key(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Linear(2, 2, key=random.clone(key))
        a, b = random.split(random.key(5))
        fx.jit(lambda a, b: layer(batch, key=a) + layer(batch, key=b))(a, b)
        lax.scan(lambda c, _: (c + layer(batch, key=a).sum(), None), fnp.zeros(()), None, length=3)
        for _ in range(2):
            nn.Linear(2, 2, key=random.key(0))


def test_the_warning_of_a_key_used_twice_is_at_the_users_line() -> None:
    key = random.key(3)
    nn.Linear(2, 2, key=key)
    with pytest.warns(KeyReuseWarning) as caught:
        nn.Linear(3, 3, key=key)
    assert caught[0].filename == __file__


class Scaled(nn.Module):
    """A class of one's own, whose ``__init__`` hands arguments on."""

    inner: nn.Linear

    def __init__(self, size: int, **kwargs: Any) -> None:
        self.inner = nn.Linear(size, size, **kwargs)

    def __call__(self, x: Any) -> Any:
        return self.inner(x)


K = random.key(11)
HEADS = nn.MultiHeadAttention(4, 2, key=random.clone(K))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Conv2d(3, 4, 3, stride=2, key=K), "Conv2d takes no argument 'stride'. Here it is called strides. It takes in_channels,"),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, key=K), "padding_mode"),
        (lambda: nn.Linear(3, 4, bias=False, key=K), "called use_bias. It takes in_features, out_features, use_bias"),
        (lambda: nn.Dropout(p=0.1), "called rate. It takes rate"),
        (lambda: nn.LSTM(3, 4, batch_first=True, key=K), " takes no argument 'batch_first'. The batch is always the first axis."),
        (lambda: nn.MaxPool2d(2, stride=2), "called strides"),
        (lambda: nn.Linear(3, 4, wings=2, key=K), "Linear takes no argument 'wings'. It takes in_features"),
        (lambda: Scaled(3, key=K, bias=False), "Linear takes no argument 'bias'"),
        (lambda: nn.Linear(3, 4), "Linear makes its parameters from a key: Linear(..., key=fx.random.key(0))"),
        (lambda: Scaled(3), "Linear makes its parameters from a key"),
        (lambda: nn.Linear(3), "by name; it is missing 1 required positional argument: 'out_features'"),
        (lambda: nn.Conv2d(3, 4, 3, 2, 1, key=K), "Conv2d takes in_channels, out_channels, kernel_size by position, and strides"),
        (lambda: nn.Linear(3, 4, key=0), "Linear(3, 4) takes a key of fx.random; found 0. Make one: key=fx.random.key(0)."),
        (lambda: nn.Dropout(0.5)(X, key=7), "found 7"),
        (lambda: HEADS(X, key_padding_mask=X), "A call of MultiHeadAttention takes no argument 'key_padding_mask'. It is mask=~padding[:, None, :]"),
        (lambda: HEADS(X, is_causal=True), "Here it is called causal. It takes query, keys, values, mask, causal, cache, key."),
        (lambda: nn.TransformerEncoderBlock(4, 2, key=random.clone(K))(X, is_causal=True), "It is TransformerEncoderBlock(..., causal=True)."),
        (lambda: nn.GRU(3, 4, key=random.clone(K))(X, hx=X), "layer.run(x, carry) takes the carry"),
        (lambda: nn.Dropout(0.5)(X, training=True), "A call with key= draws noise"),
        (lambda: nn.Linear(3, 4, key=random.clone(K))(X, wings=2), "A call of Linear takes no argument 'wings'. It takes x."),
        (lambda: nn.Sequential([nn.relu, nn.relu]), "one by one, nn.Sequential(*layers); found a list of 2"),
        (lambda: nn.Sequential(nn.Flatten, nn.relu), "Flatten is a class, no layer; make one: Flatten(...)"),
        (lambda: nn.Sequential(nn.relu, 3), "a layer is a module or a function; found 3"),
        (lambda: nn.Sequential(None), "a layer is a module or a function; found None"),
        (lambda: nn.apply(3, X), "apply calls a module or a function; found 3"),
        (lambda: nn.replace({}, rate=0.1), "replace takes a module, an instance of nn.Module; found {}"),
        (lambda: type("Old", (nn.Module,), {"forward": lambda self, x: x})()(X), "the method that is called is named __call__ here"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_say_what_does(make: Any, says: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert says in str(caught.value)


def test_a_type_error_of_an_init_of_ones_own_is_left_as_it_is() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            raise TypeError("Linear.__init__() got an unexpected keyword argument 'bias'")

    with pytest.raises(TypeError, match="^Linear.__init__"):
        Broken()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Conv2d(3, 4, 0, key=K), "kernel_size is at least 1"),
        (lambda: nn.Conv1d(3, 4, 3, strides=0, key=K), "Conv1d: strides is at least 1 along every axis; found 0"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=(1, 0), key=K), r"dilation is at least 1 along every axis; found \(1, 0\)"),
        (lambda: nn.MaxPool2d(0), "window is at least 1"),
        (lambda: nn.Conv2d(3, 4, 2.5, key=K), "kernel_size=2.5 must be an int"),
        (lambda: nn.Conv2d(3, 4, "33", key=K), "kernel_size='33' must be an int"),
        (lambda: nn.Dropout("0.5"), "takes a rate with 0 <= rate < 1, the share to drop; found '0.5'"),
        (lambda: nn.Dropout(float("nan")), "found nan"),
    ],
)  # fmt: skip
def test_sizes_that_have_no_meaning_are_named(make: Any, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        make()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MSELoss", "It is nn.mse: a function."),
        ("Unflatten", "x.reshape"),
        ("MaxPooling2D", "It is nn.MaxPool2d."),
        ("ReLU", "It is nn.relu: a function, and in nn.Sequential a layer as it is"),
        ("LeakyReLU", "It is nn.leaky_relu"),
        ("LogSoftmax", "It is nn.log_softmax"),
        ("Dense", "It is nn.Linear."),
        ("Conv2D", "It is nn.Conv2d."),
        ("BatchNorm2d", "It is nn.BatchNorm."),
        ("CrossEntropyLoss", "It is nn.cross_entropy"),
        ("mse_loss", "It is nn.mse."),
        ("ModuleList", "A list of modules is a field as it is."),
        ("functional", "Layers and functions stand in fx.nn alike."),
        ("ReflectionPad2d", "It is nn.Pad2d(padding, mode='reflect')"),
        ("ZeroPadding2D", "It is nn.Pad2d."),
        ("MaxUnpool1d", "nn.max_unpool(y, places, shape)"),
        ("UpSampling2D", "It is nn.Upsample."),
        ("pixel_shuffle", "It is nn.PixelShuffle."),
        ("poisson_nll_loss", "It is nn.poisson_nll."),
        ("weight_norm", "It is nn.WeightNorm."),
    ],
)
def test_names_of_other_libraries_say_what_they_are_called_here(name: str, says: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(nn, name)
    assert says in str(caught.value)
    assert not hasattr(nn, "nothing_of_that_kind")
    with pytest.raises(AttributeError, match=r"It is nn.initializers.kaiming_normal\."):
        nn.initializers.kaiming_normal_  # noqa: B018


def test_every_name_that_is_pointed_to_is_there() -> None:
    from fx.nn import elsewhere

    assert {here for here in elsewhere._NAMES.values() if here.isidentifier()} <= {*nn.__all__}
    assert not {*elsewhere._NAMES} & {*nn.__all__}
    assert not any(hasattr(nn.Module, name) for name in elsewhere._METHODS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("eval", "nn.inference(model)"),
        ("parameters", "fx.tree.leaves(model)"),
        ("state_dict", "io.save"),
        ("fit", "train.Trainer"),
    ],
)
def test_methods_of_other_libraries_say_what_stands_for_them(name: str, says: str) -> None:
    model = dense()
    with pytest.raises(AttributeError) as caught:
        getattr(model, name)
    assert says in str(caught.value) and name in str(caught.value)
    assert not hasattr(model, "shape") and not hasattr(model, "__array__")


def test_nothing_in_gives_nothing_out() -> None:
    """No places, or no examples, are no mistake."""
    layer = nn.Conv2d(1, 2, 3, key=random.key(0))
    assert layer(np.ones((2, 0, 5, 1), np.float32)).shape == (2, 0, 3, 2)
    assert layer(np.ones((0, 5, 5, 1), np.float32)).shape == (0, 3, 3, 2)
    assert nn.MaxPool2d(2)(np.ones((2, 0, 4, 1), np.float32)).shape == (2, 0, 2, 1)


def test_masks_that_do_not_fit_say_how_one_of_the_keys_is_written() -> None:
    layer, x = nn.MultiHeadAttention(4, 2, key=random.key(0)), np.ones((2, 5, 4), np.float32)
    keys_seen = np.array([[True] * 3 + [False] * 2, [True] * 5])
    with pytest.raises(ShapeError, match=r"the mask has \(1, 1, 2, 5\).*mask\[:, None, :\]"):
        layer(x, mask=keys_seen)
    with pytest.raises(ShapeError, match=r"the mask has"):
        layer.weights(x, mask=np.ones((5, 4), bool))
    weights = np.asarray(layer.weights(x, mask=keys_seen[:, None, :]))
    assert (weights[0, :, :, 3:] == 0).all() and (weights[1] > 0).all()


def test_a_full_cache_gives_nan_in_compiled_code() -> None:
    layer, x = nn.MultiHeadAttention(4, 2, key=random.key(0)), np.ones((1, 1, 4), np.float32)
    step, cache = fx.jit(lambda layer, x, cache: layer(x, cache=cache)), layer.init_cache(1, 2)
    outputs = []
    for _ in range(3):
        y, cache = step(layer, x, cache)
        outputs.append(bool(np.isnan(np.asarray(y)).all()))
    assert outputs == [False, False, True]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: nn.Dropout(0.5)(X), MissingKeyError, r"Dropout.*pass key=.*nn.inference\(model\)"),
        (lambda: dense()(X), MissingKeyError, "Dropout"),
        (lambda: nn.LSTM(4, 3, num_layers=2, dropout=0.1, key=keys(1)[0])(X[None]), MissingKeyError, "LSTM"),
        (lambda: nn.RReLU()(X), MissingKeyError, "RReLU"),
        (lambda: nn.BatchNorm(4)(X), MissingStateError, r"nn.init_state\(model\)"),
        (lambda: nn.Sequential(nn.BatchNorm(4))(X), MissingStateError, "layers"),
        (lambda: nn.BatchNorm(4)(X, {"layers": ()}), MissingStateError, r"found \['layers'\]"),
        (lambda: nn.BatchNorm(4)(X[:1], nn.init_state(nn.BatchNorm(4))), ShapeError, "has 1 of each.*GroupNorm"),
        (lambda: nn.BatchNorm(4)(X[:0], nn.init_state(nn.BatchNorm(4))), ShapeError, "has 0 of each"),
        (lambda: nn.Linear(3, 2, key=keys(1)[0])(X), ShapeError, r"Linear\(3, 2\) takes 3 features; found 4"),
        (lambda: nn.Linear(3, 2, key=keys(1)[0])(np.float32(1)), ShapeError, r"shape \(\)"),
        (lambda: nn.Conv2d(3, 2, 3, key=keys(1)[0])(np.ones((1, 3, 8, 9))), ShapeError, "Channels come last"),
        (lambda: nn.Conv2d(1, 2, 3, key=keys(1)[0])(np.ones((8, 9))), ShapeError, "takes x of shape"),
        (lambda: nn.Conv2d(3, 2, 3, groups=2, key=keys(1)[0]), ShapeError, "groups=2 must divide"),
        (lambda: nn.Conv1d(3, 2, 3, padding="FULL", key=keys(1)[0]), ShapeError, "'FULL'"),
        (lambda: nn.Conv1d(3, 2, 3, padding_mode="mirror", key=keys(1)[0]), ShapeError, "reflect"),
        (lambda: nn.Embedding(3, 2, key=keys(1)[0])(np.array([0, 3])), LabelError, "0 to 2; found 3"),
        (lambda: nn.Embedding(3, 2, key=keys(1)[0])(X), DTypeError, "integers"),
        (lambda: nn.Dropout(1.0), ShapeError, "rate < 1"),
        (lambda: nn.Dropout(0.5)(np.array([1]), key=keys(1)[0]), DTypeError, "floats"),
        (lambda: nn.Dropout2d(0.5)(X, key=keys(1)[0]), ShapeError, "2 spatial axes"),
        (lambda: nn.GroupNorm(3, 4), ShapeError, "equal groups"),
        (lambda: nn.GroupNorm(None, 4), ShapeError, "GroupNorm: groups is a size, an int of at least 1; found None"),
        (lambda: nn.Linear(None, 2, key=keys(1)[0]), ShapeError, "Linear: in_features is a size, .*; found None"),
        (lambda: nn.Linear(2, -1, key=keys(1)[0]), ShapeError, "Linear: out_features is a size, .*; found -1"),
        (lambda: nn.LSTM(3, "4", key=keys(1)[0]), ShapeError, "hidden_features is a size, .*; found '4'"),
        (lambda: nn.MultiHeadAttention(4, None, key=keys(1)[0]), ShapeError, "heads is a size, .*; found None"),
        (lambda: nn.LayerNorm(2.5), ShapeError, "LayerNorm: shape is a size, .*; found 2.5"),
        (lambda: nn.BatchNorm(4, momentum=2.0), ArgumentError, "from 0 to 1; found 2.0"),
        (lambda: nn.LayerNorm((3, 4))(X[:2]), ShapeError, r"\(3, 4\)"),
        (lambda: nn.MultiHeadAttention(4, 3, key=keys(1)[0]), ShapeError, "divide"),
        (lambda: nn.MultiHeadAttention(4, 2, key=keys(1)[0])(X), ShapeError, "batch, targets"),
        (lambda: nn.MultiHeadAttention(4, 2, key=keys(1)[0])(X[None], mask=np.ones((6, 6))), DTypeError, "boolean"),
        (lambda: nn.GRU(4, 2, key=keys(1)[0])(X), ShapeError, r"\(batch, time, features\)"),
        (lambda: nn.GRU(4, 2, key=keys(1)[0])(X[None], lengths=np.array([7])), ShapeError, "between 0 and 6"),
        (
            lambda: nn.LSTM(4, 2, key=keys(1)[0]).run(X[None], np.zeros((1, 1, 2))),
            ShapeError,
            r"what initial\(batch\) gives.*found \(1, 1, 2\)",
        ),
        (
            lambda: nn.GRU(4, 2, key=keys(1)[0]).run(X[None], nn.GRU(4, 2, key=keys(1)[0]).initial(3)),
            ShapeError,
            r"found \(\(\(3, 2\),\),\)",
        ),
        (
            lambda: nn.Conv2d(1, 2, 9, key=keys(1)[0])(np.ones((1, 6, 6, 1))),
            ShapeError,
            r"Conv2d\(1, 2\): a window is larger than x",
        ),
        (
            lambda: fx.jit(nn.MaxPool2d(3))(np.ones((2, 5, 2, 4))),
            ShapeError,
            r"larger than x of shape \(2, 5, 2, 4\).*SAME",
        ),
        (lambda: nn.GlobalAvgPool()(X), ShapeError, "spatial"),
        (lambda: nn.AdaptiveAvgPool1d(0), ShapeError, "positive"),
        (lambda: nn.PReLU(3)(X), ShapeError, "channels"),
    ],
)
def test_errors_say_what_to_do(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_an_unknown_index_is_nan_in_compiled_code() -> None:
    layer = nn.Embedding(3, 2, key=random.key(0))
    for kind in (np.int8, np.int64):
        out = fx.jit(layer)(np.array([0, 3, 2, -1, -3], kind))
        np.testing.assert_array_equal(np.isnan(out).any(1), [False, True, False, True, True])
    assert fx.jit(nn.Embedding(300, 2, key=random.key(0)))(np.array([200], np.uint8)).shape == (1, 2)


def test_caches_know_their_room() -> None:
    layer = nn.MultiHeadAttention(4, 2, key=random.key(0))
    with pytest.raises(ShapeError, match="room for 5 steps; it holds 0, and 6"):
        layer(X[None], cache=layer.init_cache(1, 5))


# ----------------------------------------------------------------------------------------- surgery


def test_masks_freezing_and_partition() -> None:
    model = net()
    assert all(fx.tree.leaves(nn.trainable(model)))
    frozen = nn.freeze(model, "layers/first", "norms/*/bias")
    mask = nn.trainable(frozen)
    assert [mask.layers["first"].weight, mask.layers["second"].weight, mask.norms[0].bias] == [False, True, False]
    again = fx.tree.map(lambda x: x + 1, frozen)
    assert fx.tree.leaves(nn.trainable(again)) == fx.tree.leaves(mask)
    assert all(fx.tree.leaves(nn.trainable(nn.unfreeze(again))))
    assert fx.tree.leaves(nn.trainable(nn.unfreeze(frozen, "norms"))) == [False, False] + [True] * 5
    with pytest.raises(TreeError, match="layers/first/weight"):
        nn.freeze(model, "layer/*")
    params, rest = nn.partition(frozen, mask)
    assert params.layers["first"].weight is None and rest.layers["second"].weight is None
    whole = nn.combine(params, rest)
    assert fx.tree.structure(whole) == fx.tree.structure(frozen)
    state = nn.init_state(model)
    slopes = fx.jit(fx.grad(lambda p: nn.combine(p, rest)(X, state)[0].sum()))(params)
    assert len(fx.tree.leaves(slopes)) == 4
    for chosen in (nn.is_array, "layers/*", True):
        first, second = nn.partition(model, chosen)
        assert fx.tree.structure(nn.combine(first, second)) == fx.tree.structure(model)
    assert nn.partition(model, "scale")[0].layers["first"].weight is None


def test_integers_are_not_trained() -> None:
    model = {"net": Pair(fnp.ones(2), fnp.arange(2)), "steps": fnp.zeros((), "int32")}
    assert fx.tree.leaves(nn.trainable(nn.freeze(model, "net/a"))) == [False, False, False]
    assert fx.tree.leaves(nn.trainable(model)) == [True, False, False]


def test_tree_at() -> None:
    model = dense()
    wide = nn.Linear(5, 7, key=random.key(9))
    assert nn.tree_at(lambda m: m[3], model, wide)(X, key=random.key(0)).shape == (6, 7)
    assert nn.tree_at(lambda m: m[2], model, nn.Identity())(X).shape == (6, 2)
    zeroed = nn.tree_at(lambda m: [m[0].bias, m[3].bias], model, replace_fn=fnp.zeros_like)
    assert not np.any(zeroed[0].bias) and not np.any(zeroed[3].bias) and np.any(model[0].bias)
    two = nn.tree_at(lambda m: (m[0].weight, m[3].weight), model, (1, 2))
    assert (two[0].weight, two[3].weight) == (1, 2)
    bare = nn.Linear(4, 2, use_bias=False, key=random.key(0))
    assert nn.tree_at(lambda m: m.bias, bare, fnp.ones(2)).bias.sum() == 2
    assert nn.tree_at(lambda t: t["a"][1], {"a": (1, 2)}, 5) == {"a": (1, 5)}
    for where, says in (
        (lambda m: m[2].rate, "static field"),
        (lambda m: m[0].weight.T, "selects parts"),
        (lambda m: (m[0], m[1], m[2]), "3 parts; 2 values"),
    ):
        with pytest.raises(TreeError, match=says):
            nn.tree_at(where, model, [1, 2])
    with pytest.raises(TreeError, match="one of the two"):
        nn.tree_at(lambda m: m[0], model)


# ----------------------------------------------------------------------------------------- looking


def test_summary_counts_parameters_shapes_and_flops() -> None:
    a, b = keys(2)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, key=a),
        nn.BatchNorm(8),
        nn.relu,
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(72, 3, key=b),
    )
    table = nn.summary(nn.freeze(model, "layers/0"), fx.ShapeDtypeStruct((5, 8, 8, 1), np.float32))
    rows = {row.path: row for row in table.layers}
    assert list(rows) == ["", *[f"layers/{i}" for i in range(7)]]
    assert rows["layers/0"].output == "(5, 6, 6, 8)" and rows["layers/0"].parameters == 80
    assert rows["layers/0"].flops == 5 * 36 * 8 * (2 * 9 + 1)
    assert rows["layers/6"].flops == 5 * 3 * (2 * 72 + 1) and rows["layers/4"].flops == 0
    assert table.flops == rows[""].flops == sum(rows[f"layers/{i}"].flops for i in range(7))
    assert (table.parameters, table.trainable, table.state) == (80 + 16 + 219, 16 + 219, 16)
    assert "layers/3  MaxPool2d   (5, 3, 3, 8)" in str(table) and "80 not" in str(table)
    noisy = nn.summary(model, np.ones((5, 8, 8, 1), np.float32), key=random.key(0))
    assert {r.path: r for r in noisy.layers}["layers/5"].flops > 0
    nested = nn.summary(nn.LSTM(3, 4, num_layers=2, key=random.key(0)), np.ones((2, 6, 3), np.float32))
    assert nested.parameters == 4 * 4 * (3 + 4 + 2) + 4 * 4 * (4 + 4 + 2)
    products = 2 * 2 * 6 * 16 * (3 + 4 + 4 + 4)
    assert products < nested.flops < 1.5 * products
    assert nn.summary(net(), X).state == 6


def test_observing_names_the_first_layer_with_a_nan() -> None:
    model = dense()
    broken = nn.tree_at(lambda m: m[3].bias, model, fnp.full(2, np.nan))
    found: list[str] = []

    def look(call: nn.LayerCall) -> None:
        if np.isnan(np.asarray(call.output)).any():
            found.append(call.path)

    with nn.observe(look):
        nn.inference(broken)(X)
    assert found == ["layers/3", ""]
    printed = str(fx.make_graph(nn.inference(model))(X))
    assert "# Sequential/Linear" in printed


def test_batch_norm_over_a_named_axis_is_that_of_the_whole_batch() -> None:
    layer, state = nn.BatchNorm(4, axis_name="i"), nn.init_state(nn.BatchNorm(4))
    whole, new = nn.BatchNorm(4)(X, state)
    parts, states = fx.vmap(lambda x: layer(x, state), axis_name="i")(X.reshape(3, 2, 4))
    np.testing.assert_allclose(np.asarray(parts).reshape(6, 4), whole, rtol=1e-5, atol=1e-5)
    for n in new:
        np.testing.assert_allclose(states[n][0], new[n], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a, b: nn.Sequential(nn.Linear(4, 3, key=a), nn.relu, nn.Linear(4, 2, key=b))(np.ones((2, 4), np.float32)), "in layer 2 of a Sequential: Linear(weight=f32[4,2]"),
        (lambda a, b: nn.Residual(nn.Linear(4, 3, key=a))(np.ones((2, 4), np.float32)), "found (2, 3) beside (2, 4). Residual(layer, shortcut)"),
        (lambda a, b: nn.Residual(nn.Linear(4, 1, key=a))(np.ones((2, 4), np.float32)), "found (2, 1) beside (2, 4)"),
        (lambda a, b: nn.BatchNorm(4)(np.ones((2, 4), np.float32), nn.init_state(nn.BatchNorm(5))), "the running moments of another layer: of shape (5,)"),
        (lambda a, b: nn.summary(nn.Linear(4, 2, key=a), (2, 4)), "found the shape (2, 4). Write fx.ShapeDtypeStruct((2, 4), 'float32')"),
        (lambda a, b: nn.GRU(4, 5, layers=2, key=a), "GRU takes no argument 'layers'. Here it is called num_layers."),
        (lambda a, b: nn.LSTM(4, 5, no_such=2, key=a), "LSTM takes no argument 'no_such'"),
    ],
)  # fmt: skip
def test_what_layers_are_made_of_is_named(call, says):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*random.split(random.key(0)))
    assert says in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


@pytest.mark.parametrize("layer", [nn.LayerNorm, nn.RMSNorm])
def test_sizes_may_be_integers_of_numpy(layer: Any) -> None:
    assert layer(np.int64(4)).shape == (4,) and layer((np.int32(2), 3)).shape == (2, 3)


class Standardised(nn.Module):
    layer: nn.Linear
    moments: Any = nn.field(trainable=False)

    def __call__(self, x: Any) -> Any:
        return self.layer((x - self.moments["mean"]) / self.moments["std"][0])


def test_fields_that_are_declared_so_are_not_trained() -> None:
    """As PyTorch's buffers: frozen from the start, through transforms and changes of other fields."""
    model = Standardised(nn.Linear(4, 3, key=random.clone(K)), {"mean": fnp.ones(4), "std": [fnp.full(4, 2.0)]})
    for m in (model, nn.replace(model, layer=nn.Linear(4, 2, key=random.key(1))), fx.tree.map(lambda x: x, model)):
        mask = nn.trainable(nn.Sequential(m, nn.relu))[0]
        assert mask.moments == {"mean": False, "std": [False]} and mask.layer.weight
    assert nn.trainable(nn.unfreeze(model)).moments["mean"]
    fit = train.Trainer(lambda m, x, key: (m(x) ** 2).mean(), optim.adam(0.1)).fit(model, [X], epochs=2)
    assert not (fit.model.layer.weight == model.layer.weight).any()
    np.testing.assert_array_equal(fit.model.moments["std"][0], model.moments["std"][0])
    with pytest.raises(
        ModuleFieldError, match=r"Standardised.moments, .* holds a Linear.*nn.freeze\(model, 'moments'\)"
    ):
        Standardised(nn.Linear(4, 3, key=random.clone(K)), [nn.Linear(4, 3, key=random.clone(K))])
