"""Recurrent networks: cells that take one step, and layers that take a whole sequence through ``lax.scan``.

Parameters have PyTorch's names and order of gates; matrices are transposed: ``weight_ih`` (in, gates * hidden), ``weight_hh`` (hidden, gates * hidden).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from .. import dtypes, tree
from .. import numpy as fnp
from ..errors import MissingKeyError, ShapeError
from ..lax import scan
from ..numpy.core import as_value
from ..trace import concrete_value
from . import initializers
from .activations import relu, sigmoid, tanh
from .key_use import split_key
from .linear import check_features, check_sizes, describe, parameter
from .module import Module, static_field
from .noise import Dropout

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

Value = Any
Carry = Any


class _Cell(Module):
    """One step: ``carry, y = cell(carry, x)``, as ``lax.scan`` wants it."""

    weight_ih: Value
    weight_hh: Value
    bias_ih: Value
    bias_hh: Value
    in_features: int = static_field(repr=False)
    hidden_features: int = static_field(repr=False)

    _gates = 1

    def __init__(
        self, in_features: int, hidden_features: int, *, use_bias: bool = True, weight_init: Any = None, recurrent_init: Any = None,
        bias_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        keys = split_key(key, 4, describe(self, in_features, hidden_features))
        self._make(
            in_features, hidden_features, hidden_features, use_bias, weight_init, recurrent_init, bias_init, dtype, keys
        )

    def _make(
        self, in_features: int, hidden_features: int, out_features: int, use_bias: bool, weight_init: Any, recurrent_init: Any,
        bias_init: Any, dtype: Any, keys: Any,
    ) -> None:  # fmt: skip
        check_sizes(self, in_features=in_features, hidden_features=hidden_features)
        self.in_features, self.hidden_features = in_features, hidden_features
        bound = initializers.uniform_within(1 / math.sqrt(max(hidden_features, 1)))
        wide = self._gates * hidden_features
        self.weight_ih = parameter(weight_init, bound, keys[0], (in_features, wide), dtype)
        self.weight_hh = parameter(recurrent_init, bound, keys[1], (out_features, wide), dtype)
        self.bias_ih = parameter(bias_init, bound, keys[2], (wide,), dtype) if use_bias else None
        self.bias_hh = parameter(bias_init, bound, keys[3], (wide,), dtype) if use_bias else None

    def initial(self, batch: tuple[int, ...] = (), dtype: Any = None) -> Carry:
        """The carry before the first step: zeros of shape (*batch, hidden)."""
        return fnp.zeros((*batch, self.hidden_features), self.weight_hh.dtype if dtype is None else dtype)

    def project(self, x: Value) -> Value:
        """What the input gives to the gates: of all steps at once, one large product."""
        x = check_features(x, self.in_features, describe(self, self.in_features, self.hidden_features))
        y = fnp.matmul(x, self.weight_ih)
        return y if self.bias_ih is None else y + self.bias_ih

    def _recur(self, h: Value) -> Value:
        y = fnp.matmul(h, self.weight_hh)
        return y if self.bias_hh is None else y + self.bias_hh

    def step(self, carry: Carry, projected: Value) -> tuple[Carry, Value]:
        """One step from the projected input."""
        raise NotImplementedError

    def __call__(self, carry: Carry, x: Value) -> tuple[Carry, Value]:
        return self.step(carry, self.project(x))

    def _split(self, x: Value) -> list[Value]:
        n = self.hidden_features
        return [x[..., i * n : (i + 1) * n] for i in range(self._gates)]


class RNNCell(_Cell):
    """h' = activation(x weight_ih + bias_ih + h weight_hh + bias_hh); ``h, y = cell(h, x)``, with y = h'.

    Args:
        in_features, hidden_features: sizes.
        activation: tanh or another function.
        use_bias, weight_init, recurrent_init, bias_init: default: uniform within 1 / sqrt(hidden), as in PyTorch.
        dtype: of the parameters; None means ``fx.config.default_float``.
        key: a key (``fx.random``).

    >>> from fx import nn, random
    >>> cell = nn.RNNCell(3, 5, key=random.key(0))
    >>> h, y = cell(cell.initial((2,)), fnp.ones((2, 3)))
    >>> y.shape
    (2, 5)
    """

    activation: Callable[..., Any] = static_field(default=tanh)

    def __init__(
        self, in_features: int, hidden_features: int, *, activation: Any = tanh, use_bias: bool = True, weight_init: Any = None,
        recurrent_init: Any = None, bias_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        named: dict[Any, Any] = {"tanh": tanh, "relu": relu}
        self.activation = named.get(activation, activation) if isinstance(activation, str) else activation
        super().__init__(
            in_features, hidden_features, use_bias=use_bias, weight_init=weight_init, recurrent_init=recurrent_init,
            bias_init=bias_init, dtype=dtype, key=key,
        )  # fmt: skip

    def step(self, carry: Carry, projected: Value) -> tuple[Carry, Value]:
        h = self.activation(projected + self._recur(carry))
        return h, h


class LSTMCell(_Cell):
    """Long short-term memory: ``(h, c), y = cell((h, c), x)``, with y = h.

    i, f, o = sigmoid of their gates, g = tanh; c' = f c + i g, h' = o tanh(c'), or (o tanh(c')) weight_hr.

    Args:
        in_features, hidden_features: sizes.
        proj_features: size of h and y, which are then a product of that of c with ``weight_hr`` (hidden, proj); None for none.
        use_bias, weight_init, recurrent_init, bias_init, dtype, key: as for ``RNNCell``.

    Source: Hochreiter, Schmidhuber, "Long short-term memory", 1997; the projection: Sak et al., "Long short-term memory based
    recurrent neural network architectures for large vocabulary speech recognition", 2014.

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> cell, x = nn.LSTMCell(3, 8, key=fx.random.key(0)), np.ones((2, 3), np.float32)
    >>> (h, c), y = cell((np.zeros((2, 8), np.float32), np.zeros((2, 8), np.float32)), x)
    >>> y.shape, bool((y == h).all())
    ((2, 8), True)
    """

    weight_hr: Value

    _gates = 4

    def __init__(
        self, in_features: int, hidden_features: int, *, proj_features: int | None = None, use_bias: bool = True,
        weight_init: Any = None, recurrent_init: Any = None, bias_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        keys = split_key(key, 4 if proj_features is None else 5, describe(self, in_features, hidden_features))
        out = hidden_features if proj_features is None else proj_features
        if proj_features is not None:
            check_sizes(self, 1, proj_features=proj_features)
        self._make(in_features, hidden_features, out, use_bias, weight_init, recurrent_init, bias_init, dtype, keys)
        bound = initializers.uniform_within(1 / math.sqrt(max(hidden_features, 1)))
        shape = (hidden_features, out)
        self.weight_hr = None if proj_features is None else parameter(recurrent_init, bound, keys[4], shape, dtype)

    def initial(self, batch: tuple[int, ...] = (), dtype: Any = None) -> Carry:
        """The carry before the first step: (h, c), zeros of shape (*batch, hidden), h of (*batch, proj) if it is projected."""
        zeros = super().initial(batch, dtype)
        return fnp.zeros((*batch, self.weight_hh.shape[0]), zeros.dtype), zeros

    def step(self, carry: Carry, projected: Value) -> tuple[Carry, Value]:
        h, c = carry
        i, f, g, o = self._split(projected + self._recur(h))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        h = h if self.weight_hr is None else fnp.matmul(h, self.weight_hr)
        return (h, c), h


class GRUCell(_Cell, init=False):
    """Gated recurrent unit: ``h, y = cell(h, x)``, with y = h'; arguments as for ``RNNCell``.

    r, z = sigmoid of their gates; n = tanh(x part + r * h part); h' = (1 - z) n + z h.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> h, y = nn.GRUCell(3, 8, key=fx.random.key(0))(np.zeros((2, 8), np.float32), np.ones((2, 3), np.float32))
    >>> y.shape
    (2, 8)
    """

    _gates = 3

    def step(self, carry: Carry, projected: Value) -> tuple[Carry, Value]:
        x, h = self._split(projected), self._split(self._recur(carry))
        r, z = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
        h = (1 - z) * tanh(x[2] + r * h[2]) + z * carry
        return h, h


# ------------------------------------------------------------------------------------------ layers


def _where(condition: Value, a: Carry, b: Carry) -> Carry:
    return tuple(_where(condition, x, y) for x, y in zip(a, b)) if isinstance(a, tuple) else fnp.where(condition, a, b)


def run_cell(cell: _Cell, carry: Carry, x: Value, lengths: Value | None, reverse: bool) -> tuple[Carry, Value]:
    """A cell along the second axis of x: (final carry, outputs); behind a sequence's end the carry stays, outputs are 0."""
    steps = fnp.moveaxis(cell.project(x), 1, 0)
    if lengths is None:
        carry, ys = scan(cell.step, carry, steps, reverse=reverse)
        return carry, fnp.moveaxis(ys, 0, 1)

    def step(carry: Carry, inputs: tuple[Value, Value]) -> tuple[Carry, Value]:
        projected, t = inputs
        new, y = cell.step(carry, projected)
        inside = (t < lengths)[:, None]
        return _where(inside, new, carry), fnp.where(inside, y, 0)

    carry, ys = scan(step, carry, (steps, fnp.arange(x.shape[1])), reverse=reverse)
    return carry, fnp.moveaxis(ys, 0, 1)


class _Recurrent(Module):
    """Layers of cells, each fed with the outputs of the one before."""

    cells: tuple[Any, ...]
    dropout: Dropout
    bidirectional: bool = static_field(default=False)

    _cell: ClassVar[Any] = RNNCell

    def __init__(
        self, in_features: int, hidden_features: int, *, num_layers: int = 1, bidirectional: bool = False, dropout: float = 0.0,
        use_bias: bool = True, weight_init: Any = None, recurrent_init: Any = None, bias_init: Any = None, dtype: Any = None,
        key: Any,
    ) -> None:  # fmt: skip
        self._make(
            in_features, hidden_features, num_layers, bidirectional, dropout, key, use_bias=use_bias, weight_init=weight_init,
            recurrent_init=recurrent_init, bias_init=bias_init, dtype=dtype,
        )  # fmt: skip

    def _make(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
        key: Any,
        **cell: Any,
    ) -> None:
        if num_layers < 1:
            raise ShapeError(f"{type(self).__name__} has at least one layer; found num_layers={num_layers}")
        directions = 2 if bidirectional else 1
        keys = iter(split_key(key, num_layers * directions, describe(self, in_features, hidden_features)))
        out = cell.get("proj_features")
        sizes = [in_features] + [directions * (hidden_features if out is None else out)] * (num_layers - 1)
        make = lambda n: type(self)._cell(n, hidden_features, key=next(keys), **cell)
        self.cells = tuple([tuple([make(n) for _ in range(directions)]) for n in sizes])
        self.dropout, self.bidirectional = Dropout(dropout), bidirectional

    def initial(self, batch: int, dtype: Any = None) -> Carry:
        """The carry before the first step: for each layer a tuple of one carry for each direction."""
        return tuple([tuple([cell.initial((batch,), dtype) for cell in layer]) for layer in self.cells])

    def run(self, x: Value, carry: Carry = None, *, lengths: Any = None, key: Any = None) -> tuple[Value, Carry]:
        """Outputs and the final carry.

        Args:
            x: (batch, time, in).
            carry: as ``initial`` gives it, or an earlier call; None means zeros.
            lengths: (batch,) integers: how many steps of each sequence count; behind its end outputs are 0.
            key: for dropout between the layers.

        Returns:
            (batch, time, hidden), twice as wide if bidirectional (forward first), and the carry.
        """
        name = type(self).__name__
        x = as_value(x, f"x of {name}")
        if x.ndim != 3:
            raise ShapeError(f"{name} takes x of shape (batch, time, features); found {tuple(x.shape)}")
        lengths = None if lengths is None else _checked(lengths, x, name)
        dtype = dtypes.promote_types(x.dtype, self.cells[0][0].weight_hh.dtype)
        start = self.initial(x.shape[0], dtype)
        carry = start if carry is None else _checked_carry(carry, start, name)
        between = len(self.cells) - 1
        noisy = between and self.dropout.rate and not self.dropout.inference
        if noisy and key is None:
            raise MissingKeyError(
                f"{name} drops out {self.dropout.rate} between its layers: pass key=..., or call nn.inference(model)."
            )
        keys = split_key(key, between, name) if noisy else [None] * between
        finals = []
        for i, (layer, starts) in enumerate(zip(self.cells, carry, strict=True)):
            runs = [
                run_cell(c, s, x, lengths, reverse=d == 1) for d, (c, s) in enumerate(zip(layer, starts, strict=True))
            ]
            finals.append(tuple([final for final, _ in runs]))
            x = runs[0][1] if len(runs) == 1 else fnp.concatenate([ys for _, ys in runs], -1)
            if noisy and i < between:
                x = self.dropout(x, key=keys[i])
        return x, tuple(finals)

    def __call__(self, x: Value, *, lengths: Any = None, key: Any = None) -> Value:
        return self.run(x, lengths=lengths, key=key)[0]


def _checked_carry(carry: Carry, start: Carry, name: str) -> Carry:
    """``carry``, if it is built as ``start``."""
    found, wanted = tree.structure(carry), tree.structure(start)
    shapes = [tuple(fnp.shape(x)) for x in tree.leaves(carry)] if found == wanted else []
    if found != wanted or shapes != [tuple(x.shape) for x in tree.leaves(start)]:
        raise ShapeError(
            f"{name}: a carry is what initial(batch) gives, or an earlier run: for each layer a tuple of one for each direction,"
            f" {tree.map(lambda x: tuple(x.shape), start)}; found"
            f" {tree.map(lambda x: tuple(fnp.shape(x)), carry)}"
        )
    return carry


def _checked(lengths: Any, x: Value, name: str) -> Value:
    lengths = as_value(lengths, f"lengths of {name}")
    if tuple(lengths.shape) != (x.shape[0],) or not dtypes.is_integer(lengths.dtype):
        raise ShapeError(
            f"{name}: lengths must be integers of shape ({x.shape[0]},); found {lengths.dtype} {tuple(lengths.shape)}"
        )
    known = concrete_value(lengths)
    if known is not None and known.size and not (0 <= known.min() and known.max() <= x.shape[1]):
        raise ShapeError(
            f"{name}: lengths must lie between 0 and {x.shape[1]}, the number of steps; found {known.tolist()}"
        )
    return lengths


class RNN(_Recurrent):
    """A recurrent network along the second axis: (batch, time, in) to (batch, time, hidden).

    Args:
        in_features, hidden_features: sizes.
        num_layers: how many layers of cells.
        bidirectional: a second cell in each layer runs from the end; its outputs stand behind those of the first.
        dropout: rate of dropout between layers; calls then take ``key=``.
        activation, use_bias, weight_init, recurrent_init, bias_init, dtype: as for ``RNNCell``.
        key: a key (``fx.random``).

    ``layer(x, lengths=, key=)`` returns the outputs; ``layer.run(x, carry, lengths=, key=)`` the outputs and the final carry.

    >>> from fx import nn, random
    >>> nn.RNN(3, 5, bidirectional=True, key=random.key(0))(fnp.ones((2, 7, 3))).shape
    (2, 7, 10)
    """

    def __init__(
        self, in_features: int, hidden_features: int, *, num_layers: int = 1, bidirectional: bool = False, dropout: float = 0.0,
        activation: Any = tanh, use_bias: bool = True, weight_init: Any = None, recurrent_init: Any = None, bias_init: Any = None,
        dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        self._make(
            in_features, hidden_features, num_layers, bidirectional, dropout, key, activation=activation, use_bias=use_bias,
            weight_init=weight_init, recurrent_init=recurrent_init, bias_init=bias_init, dtype=dtype,
        )  # fmt: skip


class LSTM(_Recurrent):
    """Long short-term memory along the second axis: (batch, time, in) to (batch, time, hidden).

    Args:
        proj_features: of the cells, as for ``LSTMCell``; outputs are then (batch, time, proj). All others as for ``RNN``.

    >>> from fx import nn, random
    >>> layer = nn.LSTM(3, 5, num_layers=2, key=random.key(0))
    >>> y, carry = layer.run(fnp.ones((2, 7, 3)))
    >>> y.shape, len(carry), carry[1][0][0].shape
    ((2, 7, 5), 2, (2, 5))
    """

    _cell = LSTMCell

    def __init__(
        self, in_features: int, hidden_features: int, *, num_layers: int = 1, bidirectional: bool = False, dropout: float = 0.0,
        proj_features: int | None = None, use_bias: bool = True, weight_init: Any = None, recurrent_init: Any = None,
        bias_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        self._make(
            in_features, hidden_features, num_layers, bidirectional, dropout, key, proj_features=proj_features, use_bias=use_bias,
            weight_init=weight_init, recurrent_init=recurrent_init, bias_init=bias_init, dtype=dtype,
        )  # fmt: skip


class GRU(_Recurrent, init=False):
    """Gated recurrent units along the second axis: (batch, time, in) to (batch, time, hidden); arguments as for ``RNN``.

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> nn.GRU(3, 8, key=fx.random.key(0))(np.ones((2, 10, 3), np.float32)).shape
    (2, 10, 8)
    """

    _cell = GRUCell
