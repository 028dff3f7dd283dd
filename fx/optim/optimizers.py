"""Optimizers: chains of gradient transformations under their usual names.

``learning_rate`` is a number, or a schedule: a function of the number of steps taken. ``mask`` is a tree of bools in the
structure of the parameters, or a function from the parameters to one.
"""

from __future__ import annotations

import functools
from typing import Any

from . import elsewhere
from .base import GradientTransformation, GradientTransformationExtraArgs, Schedule, chain, identity, new_count
from .clipping import clip_by_block_rms
from .differences import scale_by_adan, scale_by_optimistic_gradient, scale_by_rprop
from .factored import scale_by_factored_rms
from .moments import wide_zeros_like
from .preconditioners import (
    scale_by_adadelta,
    scale_by_adam,
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_belief,
    scale_by_lion,
    scale_by_radam,
    scale_by_rms,
    scale_by_rss,
    scale_by_stddev,
    scale_by_yogi,
)
from .scaling import (
    EmaState,
    add_decayed_weights,
    add_noise,
    ema,
    scale,
    scale_by_learning_rate,
    scale_by_param_block_rms,
    scale_by_sign,
    scale_by_trust_ratio,
    trace,
)
from .selecting import masked

__all__ = [
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "lamb", "lars", "lion",
    "nadam", "nadamw", "noisy_sgd", "optimistic_gradient_descent", "radam", "rmsprop", "rprop", "sgd", "sign_sgd", "signum", "yogi",
]  # fmt: skip

Rate = Any | Schedule
Optimizer = GradientTransformationExtraArgs


@elsewhere.optimizer
def sgd(learning_rate: Rate, momentum: Any = None, nesterov: bool = False, accumulator_dtype: Any = None) -> Optimizer:
    """Gradient descent: p <- p - learning_rate g, with momentum m in place of g (m <- g + momentum m) if given.

    Args:
        momentum: decay of past gradients; None for none.
        nesterov: look one step ahead: g + momentum m (Sutskever et al., 2013).
        accumulator_dtype: dtype of m; None for that of the parameters.

    >>> import fx.numpy as fnp
    >>> optimizer = sgd(0.5)
    >>> optimizer.update(fnp.asarray([1.0, -2.0]), optimizer.init(fnp.zeros(2)))[0]
    Array([-0.5,  1. ], dtype=float32)
    """
    first = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(first, scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def adam(
    learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None, *,
    nesterov: bool = False,
) -> Optimizer:  # fmt: skip
    """Adam: steps of about ``learning_rate`` in every coordinate; see ``scale_by_adam`` for the formula.

    Args:
        b1, b2: decay of the running means of the gradient and of its square.
        eps, eps_root: added outside and inside of the square root.
        mu_dtype: dtype of the running mean of the gradient; None for that of the parameters.

    >>> import fx.numpy as fnp
    >>> optimizer = adam(0.1)
    >>> optimizer.update(fnp.asarray([3.0, -2.0]), optimizer.init(fnp.zeros(2)))[0].round(3)
    Array([-0.1,  0.1], dtype=float32)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov), scale_by_learning_rate(learning_rate)
    )


@elsewhere.optimizer
def adamw(
    learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None,
    weight_decay: Any = 1e-4, mask: Any = None, *, nesterov: bool = False,
) -> Optimizer:  # fmt: skip
    """Adam with weight decay beside the gradient, not through it (Loshchilov, Hutter, 2019).

    Args:
        weight_decay: p <- p - learning_rate * weight_decay * p at every step.
        mask: which parameters decay.

    >>> import fx, numpy as np
    >>> from fx import optim
    >>> optimizer = optim.adamw(1e-3, weight_decay=0.1, mask=lambda params: {"w": True, "b": False})
    >>> params = {"w": np.ones(2, np.float32), "b": np.ones(2, np.float32)}
    >>> nothing = {"w": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}
    >>> updates, state = optimizer.update(nothing, optimizer.init(params), params)
    >>> updates
    {'b': Array([-0., -0.], dtype=float32), 'w': Array([-0.0001, -0.0001], dtype=float32)}
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@elsewhere.optimizer
def adan(
    learning_rate: Rate, b1: Any = 0.98, b2: Any = 0.92, b3: Any = 0.99, eps: Any = 1e-8, eps_root: Any = 1e-8,
    weight_decay: Any = 0.0, mask: Any = None,
) -> Optimizer:  # fmt: skip
    """Adam with the change of the gradient as Nesterov's look ahead; see ``scale_by_adan`` for the formula.

    Args:
        b1, b2, b3: decay of the running means of the gradient, of its change and of the square of both (PyTorch's
            implementations count 1 - b).
        eps, eps_root, weight_decay, mask: as for ``adamw``.

    >>> import fx.numpy as fnp
    >>> optimizer = adan(0.1)
    >>> optimizer.update(fnp.asarray([3.0, -2.0]), optimizer.init(fnp.zeros(2)), fnp.zeros(2))[0].round(3)
    Array([-0.1,  0.1], dtype=float32)
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


nadam = functools.partial(adam, nesterov=True)
nadam.__doc__ = "Adam with Nesterov's momentum (Dozat, 2016): ``adam(..., nesterov=True)``."
nadamw = functools.partial(adamw, nesterov=True)
nadamw.__doc__ = "AdamW with Nesterov's momentum: ``adamw(..., nesterov=True)``."


@elsewhere.optimizer
def adamax(learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> Optimizer:
    """Adam with a decaying maximum in place of the root mean square (Kingma, Ba, 2015, section 7.1)."""
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def adamaxw(
    learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, weight_decay: Any = 1e-4, mask: Any = None
) -> Optimizer:
    """``adamax`` with weight decay as in ``adamw``."""
    return chain(
        scale_by_adamax(b1, b2, eps), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate)
    )


@elsewhere.optimizer
def amsgrad(
    learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None,
    bias_correction_mu: bool = True, bias_correction_nu: bool = True,
) -> Optimizer:  # fmt: skip
    """Adam whose steps never grow back (Reddi et al., 2018)."""
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )


@elsewhere.optimizer
def adabelief(
    learning_rate: Rate,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-16,
    eps_root: Any = 1e-16,
    *,
    nesterov: bool = False,
) -> Optimizer:
    """Large steps where gradients are as expected, small ones where they surprise (Zhuang et al., 2020)."""
    return chain(scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def radam(
    learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, threshold: Any = 5.0, *,
    nesterov: bool = False,
) -> Optimizer:  # fmt: skip
    """Adam with a warm-up of its own (Liu et al., 2020)."""
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov), scale_by_learning_rate(learning_rate)
    )


@elsewhere.optimizer
def yogi(learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-3) -> Optimizer:
    """Adam whose second moment changes by bounded amounts (Zaheer et al., 2018)."""
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def lion(
    learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.99, mu_dtype: Any = None, weight_decay: Any = 1e-3, mask: Any = None
) -> Optimizer:
    """Steps by the sign of a mean of gradients, with weight decay (Chen et al., 2023): a third of ``adamw``'s learning
    rate, three times its weight decay.

    >>> import numpy as np
    >>> from fx import optim
    >>> optimizer, x = optim.lion(0.1, weight_decay=0.0), np.float32([1.0, -200.0])
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x), x)
    >>> updates
    Array([-0.1,  0.1], dtype=float32)
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate)
    )


@elsewhere.optimizer
def lamb(
    learning_rate: Rate, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-6, eps_root: Any = 0.0, weight_decay: Any = 0.0,
    mask: Any = None,
) -> Optimizer:  # fmt: skip
    """AdamW whose steps are, in each layer, a part of the norm of its weights: for large batches (You et al., 2020)."""
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


@elsewhere.optimizer
def lars(
    learning_rate: Rate, weight_decay: Any = 0.0, weight_decay_mask: Any = True, trust_coefficient: Any = 0.001,
    eps: Any = 0.0, trust_ratio_mask: Any = True, momentum: Any = 0.9, nesterov: bool = False,
) -> Optimizer:  # fmt: skip
    """Momentum whose steps are, in each layer, a part of the norm of its weights (You et al., 2017)."""
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )


@elsewhere.optimizer
def noisy_sgd(learning_rate: Rate, eta: Any = 0.01, gamma: Any = 0.55, key: Any = 0) -> Optimizer:
    """Gradient descent with noise of variance eta / (1 + t)**gamma added to the gradient (Neelakantan et al., 2015).

    Args:
        key: of the noise, a key or an int; it is kept, and used up, in the state.
    """
    return chain(add_noise(eta, gamma, key), scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def optimistic_gradient_descent(learning_rate: Rate, alpha: Any = 1.0, beta: Any = 1.0) -> Optimizer:
    """p <- p - learning_rate ((alpha + beta) g - beta (g before)): for games (GANs), where gradient descent goes in circles.

    Source: Mokhtari et al., "A unified analysis of extra-gradient and optimistic gradient methods for saddle point problems", 2019.

    >>> import fx.numpy as fnp
    >>> optimizer, p = optimistic_gradient_descent(1.0), fnp.zeros(1)
    >>> _, state = optimizer.update(fnp.asarray([1.0]), optimizer.init(p))
    >>> optimizer.update(fnp.asarray([3.0]), state)[0]
    Array([-5.], dtype=float32)
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def rprop(
    learning_rate: Any, eta_minus: Any = 0.5, eta_plus: Any = 1.2, min_step_size: Any = 1e-6, max_step_size: Any = 50.0
) -> Optimizer:
    """Steps by the sign of the gradient alone, each number's of a size of its own: it grows while the sign stays, and where it
    turns it shrinks, and that step is left out. For gradients of the whole data, without noise. (PyTorch's; optax takes each
    step at the next call.)

    Args:
        learning_rate: the first size, a number.
        eta_minus, eta_plus: factors by which a size shrinks and grows.
        min_step_size, max_step_size: its bounds.

    Source: Riedmiller, Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", 1993.

    >>> import fx.numpy as fnp
    >>> optimizer, p = rprop(0.1), fnp.zeros(2)
    >>> _, state = optimizer.update(fnp.asarray([3.0, 3.0]), optimizer.init(p))
    >>> optimizer.update(fnp.asarray([0.2, -1.0]), state)[0]
    Array([-0.12, -0.  ], dtype=float32)
    """
    return chain(scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size), scale(-1.0))


@elsewhere.optimizer
def rmsprop(
    learning_rate: Rate, decay: Any = 0.9, eps: Any = 1e-8, initial_scale: Any = 0.0, eps_in_sqrt: bool = True,
    centered: bool = False, momentum: Any = None, nesterov: bool = False, bias_correction: bool = False,
) -> Optimizer:  # fmt: skip
    """Gradients over the root of the running mean of their squares (Tieleman, Hinton, 2012).

    Args:
        decay: of that mean.
        initial_scale: its start.
        eps_in_sqrt: eps inside of the root (False: beside it, as in PyTorch).
        centered: over the running standard deviation (Graves, 2013).
        momentum, nesterov: see ``sgd``; after the learning rate.
        bias_correction: without the pull of the start.

    >>> import fx, numpy as np
    >>> from fx import optim
    >>> optimizer, x = optim.rmsprop(0.01), np.float32([1.0, -2.0])
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x))
    >>> updates.round(3)
    Array([-0.032,  0.032], dtype=float32)
    """
    by = scale_by_stddev if centered else scale_by_rms
    return chain(
        by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )


@elsewhere.optimizer
def adagrad(learning_rate: Rate, initial_accumulator_value: Any = 0.1, eps: Any = 1e-7) -> Optimizer:
    """Gradients over the root of the sum of all their squares (Duchi et al., 2011).

    >>> import numpy as np
    >>> from fx import optim
    >>> optimizer, x = optim.adagrad(0.1), np.float32([1.0, -200.0])
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x))
    >>> updates.round(3)
    Array([-0.099,  0.1  ], dtype=float32)
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def adadelta(
    learning_rate: Rate | None = None,
    rho: Any = 0.9,
    eps: Any = 1e-6,
    weight_decay: Any = 0.0,
    weight_decay_mask: Any = None,
) -> Optimizer:
    """Steps of the size of past steps (Zeiler, 2012).

    Args:
        learning_rate: mostly 1; None for updates that are not scaled, their sign included (as in optax).
        rho: decay of the running means of squares.
        weight_decay: strength of an L2 penalty.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(learning_rate),
    )


@elsewhere.optimizer
def adafactor(
    learning_rate: Rate | None = None, min_dim_size_to_factor: int = 128, decay_rate: Any = 0.8, decay_offset: Any = 0,
    multiply_by_parameter_scale: bool = True, clipping_threshold: Any = 1.0, momentum: Any = None,
    dtype_momentum: Any = None, weight_decay_rate: Any = None, eps: Any = 1e-30, factored: bool = True,
    weight_decay_mask: Any = None,
) -> Optimizer:  # fmt: skip
    """Adam in little memory: second moments as a row and a column, steps relative to the weights (Shazeer, Stern, 2018).

    Args:
        learning_rate: None for 1.
        min_dim_size_to_factor, decay_rate, decay_offset, eps, factored: see ``scale_by_factored_rms``.
        multiply_by_parameter_scale: steps relative to the root mean square of the weights.
        clipping_threshold: bound of the root mean square of an update; None for none.
        momentum: decay of a running mean of the updates; None for none.
        dtype_momentum: its dtype; None for that of the parameters, but float32 for narrower ones.
        weight_decay_rate, weight_decay_mask: weight decay, not scaled by the learning rate.
    """
    parts: list[GradientTransformation] = [
        scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps)
    ]
    if clipping_threshold is not None:
        parts.append(clip_by_block_rms(clipping_threshold))
    if learning_rate is not None:
        parts.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        parts.append(scale_by_param_block_rms())
    if momentum is not None:
        mean = ema(momentum, debias=False, accumulator_dtype=dtype_momentum)
        wide = lambda params: EmaState(new_count(), wide_zeros_like(params))
        parts.append(mean if dtype_momentum is not None else mean._replace(init=wide))
    if weight_decay_rate is not None:
        parts.append(add_decayed_weights(weight_decay_rate, weight_decay_mask))
    return chain(*parts, scale(-1))


@elsewhere.optimizer
def sign_sgd(learning_rate: Rate) -> Optimizer:
    """Steps by the sign of the gradient (Bernstein et al., 2018)."""
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@elsewhere.optimizer
def signum(learning_rate: Rate, beta: Any = 0.9, accumulator_dtype: Any = None) -> Optimizer:
    """Steps by the sign of the running mean of the gradient (Bernstein et al., 2018)."""
    return chain(
        ema(beta, debias=False, accumulator_dtype=accumulator_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )
