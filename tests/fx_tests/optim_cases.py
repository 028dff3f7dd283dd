"""The optimizers and schedules that fx and optax have in common: one table, run by both."""

from __future__ import annotations

import functools

import numpy as np

STEPS = 50
START = {
    "w": np.random.RandomState(0).normal(size=(3, 2)).astype(np.float32),
    "b": [np.random.RandomState(1).normal(size=3).astype(np.float32)],
}
SLOPES = np.random.RandomState(2).normal(size=(3, 2)).astype(np.float32)
MASK = {"w": True, "b": [False]}
LABELS = {"w": "fast", "b": ["slow"]}
FINITE = np.ones(STEPS, np.float32)
BROKEN = FINITE.copy()
BROKEN[[7, 8, 20]] = [np.nan, np.inf, np.nan]
"""What the gradient of each step is multiplied by."""


def decaying(count):
    return 0.1 / (1 + count)


def contrib(o, name):
    return getattr(getattr(o, "contrib", o), name)


def plateau(o):
    return o.chain(o.adam(0.01), contrib(o, "reduce_on_plateau")(0.5, 2, rtol=0.02, cooldown=3, accumulation_size=2))


def changing_rate(o):
    return o.inject_hyperparams(o.adam)(learning_rate=o.linear_schedule(0.1, 0.01, 40), b1=0.8)


def every(o):
    return lambda step: o_where(step < 4, 2, 5)


def o_where(condition, a, b):
    return condition * a + (1 - condition) * b


def muon(o, **options):
    return contrib(o, "muon")(0.02, adam_learning_rate=0.01, **options)


OPTIMIZERS = {
    "sgd": lambda o: o.sgd(0.01),
    "momentum": lambda o: o.sgd(0.01, 0.9),
    "nesterov": lambda o: o.sgd(0.01, 0.9, True),
    "schedule": lambda o: o.sgd(decaying, 0.5),
    "adam": lambda o: o.adam(0.01),
    "adam eps_root": lambda o: o.adam(0.01, 0.8, 0.99, 1e-6, 1e-5),
    "adam schedule": lambda o: o.adam(decaying),
    "adamw": lambda o: o.adamw(0.01, weight_decay=0.1),
    "adamw masked": lambda o: o.adamw(0.01, weight_decay=0.1, mask=MASK),
    "adamw decay schedule": lambda o: o.adamw(0.01, weight_decay=decaying),
    "nadam": lambda o: o.nadam(0.01),
    "nadamw": lambda o: o.nadamw(0.01, weight_decay=0.1),
    "adamax": lambda o: o.adamax(0.01),
    "adamaxw": lambda o: o.adamaxw(0.01, weight_decay=0.1),
    "amsgrad": lambda o: o.amsgrad(0.01, b2=0.9),
    "adabelief": lambda o: o.adabelief(0.01),
    "radam": lambda o: o.radam(0.01),
    "yogi": lambda o: o.yogi(0.01),
    "lion": lambda o: o.lion(0.003, weight_decay=0.1),
    "lion smooth": lambda o: o.chain(o.scale_by_lion(mode="smooth"), o.scale_by_learning_rate(0.01)),
    "lamb": lambda o: o.lamb(0.01, weight_decay=0.1),
    "lars": lambda o: o.lars(0.5, weight_decay=0.01, trust_ratio_mask=MASK),
    "adan": lambda o: o.adan(0.01, weight_decay=0.1),
    "optimistic": lambda o: o.optimistic_gradient_descent(decaying, 0.9, 0.7),
    "noisy": lambda o: o.noisy_sgd(0.01, key=3),
    "adagrad": lambda o: o.adagrad(0.1),
    "adadelta": lambda o: o.adadelta(1.0, weight_decay=0.01),
    "rmsprop": lambda o: o.rmsprop(0.01),
    "rmsprop torch": lambda o: o.rmsprop(0.01, 0.99, eps_in_sqrt=False, momentum=0.5, bias_correction=True),
    "rmsprop centered": lambda o: o.rmsprop(0.01, centered=True, momentum=0.9, nesterov=True, initial_scale=1.0),
    "adafactor": lambda o: o.adafactor(0.05),
    "adafactor factored": lambda o: o.adafactor(
        decaying, min_dim_size_to_factor=2, momentum=0.5, weight_decay_rate=0.01
    ),
    "sign": lambda o: o.sign_sgd(decaying),
    "signum": lambda o: o.signum(decaying),
    "chain": lambda o: o.chain(o.scale(2.0), o.trace(0.5), o.identity(), o.scale_by_learning_rate(0.01)),
    "ema of gradients": lambda o: o.chain(o.ema(0.8), o.sgd(0.01)),
    "noise": lambda o: o.chain(o.add_noise(0.1, 0.55, 3), o.sgd(0.01)),
    "centralize": lambda o: o.chain(o.centralize(), o.sgd(0.01)),
    "normalize": lambda o: o.chain(o.normalize_by_update_norm(2.0), o.sgd(0.01)),
    "nonnegative": lambda o: o.chain(o.sgd(0.01), o.keep_params_nonnegative()),
    "block norm": lambda o: o.chain(o.scale_by_param_block_norm(), o.sgd(0.01)),
    "clip": lambda o: o.chain(o.clip(0.5), o.sgd(0.05)),
    "clip by norm": lambda o: o.chain(o.clip_by_global_norm(1.0), o.sgd(0.05)),
    "clip by unit": lambda o: o.chain(o.adaptive_grad_clip(0.1), o.sgd(0.05)),
    "clip by rms": lambda o: o.chain(o.clip_by_block_rms(0.3), o.sgd(0.05)),
    "masked": lambda o: o.chain(o.masked(o.adam(0.01), MASK), o.scale(0.5)),
    "partition": lambda o: o.partition({"fast": o.adam(0.02), "slow": o.sgd(0.01, 0.9)}, LABELS),
    "freeze": lambda o: o.chain(o.adam(0.01), o.freeze(MASK)),
    "selective": lambda o: o.selective_transform(o.adam(0.01), freeze_mask=MASK),
    "accumulated": lambda o: o.MultiSteps(o.adam(0.02), 4).gradient_transformation(),
    "accumulated sum": lambda o: o.MultiSteps(
        o.sgd(0.005, 0.9), every(o), use_grad_mean=False
    ).gradient_transformation(),
    "lookahead": lambda o: o.lookahead(o.adam(0.02), 5, 0.5),
    "lookahead reset": lambda o: o.lookahead(o.sgd(0.01, 0.9), 4, 0.8, reset_state=True),
    "injected": changing_rate,
    "conditional": lambda o: o.chain(o.sgd(0.01), o.conditionally_transform(o.scale(0.2), lambda step: step > 10)),
    "conditional mask": lambda o: o.conditionally_mask(o.adam(0.01), lambda step: step % 3 != 0),
    "plateau": plateau,
    "muon": lambda o: muon(o),
    "muon aol": lambda o: muon(o, preconditioning="aol", ns_coeffs="dion", adaptive=True, consistent_rms=0.2),
    "muon schatten": lambda o: muon(o, preconditioning="schatten", nesterov=False, weight_decay=0.1),
    "lbfgs": lambda o: o.lbfgs(),
    "lbfgs memory": lambda o: o.lbfgs(0.1, memory_size=3, scale_init_precond=False, linesearch=None),
    "lbfgs backtracking": lambda o: o.lbfgs(linesearch=o.scale_by_backtracking_linesearch(15, store_grad=True)),
    "backtracking": lambda o: o.chain(o.sgd(1.0), o.scale_by_backtracking_linesearch(15)),
    "zoom": lambda o: o.chain(o.sgd(0.5), o.scale_by_zoom_linesearch(15, max_learning_rate=1.5)),
}
"""name -> optimizer, from optax or ``fx.optim``."""

BROKEN_OPTIMIZERS = {
    "finite": lambda o: o.apply_if_finite(o.adam(0.01), 5),
    "finite at most": lambda o: o.chain(o.apply_if_finite(o.sgd(0.01), 1), o.zero_nans()),
    "no nans": lambda o: o.chain(o.zero_nans(), o.clip(5.0), o.adam(0.01)),
    "accumulated finite": lambda o: o.MultiSteps(
        o.adam(0.02), 3, should_skip_update_fn=o.skip_not_finite
    ).gradient_transformation(),
    "accumulated small": lambda o: o.MultiSteps(
        o.adam(0.02), 3, should_skip_update_fn=functools.partial(o.skip_large_updates, max_squared_norm=100.0)
    ).gradient_transformation(),
}
"""Those that bear gradients which are not finite."""

SCHEDULES = {
    "constant": lambda o: o.constant_schedule(0.5),
    "polynomial": lambda o: o.polynomial_schedule(1.0, 0.1, 2, 20, 5),
    "linear": lambda o: o.linear_schedule(0.0, 1.0, 30),
    "steps": lambda o: o.piecewise_constant_schedule(1.0, {10: 0.5, 30: 0.1}),
    "exponential": lambda o: o.exponential_decay(1.0, 10, 0.5, 3, end_value=0.1),
    "staircase": lambda o: o.exponential_decay(0.1, 7, 1.5, staircase=True, end_value=0.5),
    "cosine": lambda o: o.cosine_decay_schedule(0.5, 40, 0.1, 1.5),
    "linear pieces": lambda o: o.piecewise_interpolate_schedule("linear", 1.0, {10: 2.0, 20: 0.1, 40: 1.0}),
    "cosine pieces": lambda o: o.piecewise_interpolate_schedule("cosine", 1.0, {10: 2.0, 20: 0.1}),
    "one cycle": lambda o: o.cosine_onecycle_schedule(50, 1.0),
    "one cycle linear": lambda o: o.linear_onecycle_schedule(50, 1.0),
    "warmup": lambda o: o.warmup_constant_schedule(0.0, 1.0, 10),
    "warmup cosine": lambda o: o.warmup_cosine_decay_schedule(0.1, 1.0, 10, 45, 0.2),
    "warmup exponential": lambda o: o.warmup_exponential_decay_schedule(0.0, 1.0, 5, 10, 0.5, end_value=0.05),
    "restarts": lambda o: o.sgdr_schedule(
        [
            {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 3, "decay_steps": 15, "end_value": 0.1},
            {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 5, "decay_steps": 40},
        ]
    ),
}
"""name -> schedule, from optax or ``fx.optim``."""


def objective(np_, p):
    return np_.sum(np_.sin(p["w"] * SLOPES) ** 2) + np_.sum((p["b"][0] - 1) ** 4)


def trajectory(np_, o, optimizer, scan, value_and_grad, factors):
    """``params -> parameters after each step``, a program for either library; ``factors`` scale the gradients."""
    optimizer = o.with_extra_args_support(optimizer)
    value_fn = functools.partial(objective, np_)

    def step(carry, factor):
        params, state = carry
        value, grad = value_and_grad(value_fn)(getattr(params, "fast", params))
        scaled = {"w": grad["w"] * factor, "b": [grad["b"][0] * factor]}
        updates, state = optimizer.update(scaled, state, params, value=value, grad=grad, value_fn=value_fn)
        params = o.apply_updates(params, updates)
        seen = getattr(params, "slow", params)
        return (params, state), np_.concatenate([seen["w"].reshape(-1), seen["b"][0]])

    def run(params):
        return scan(step, (params, optimizer.init(params)), factors)[1]

    return run


def start(o, name, dtype=np.float32):
    params = {"w": START["w"].astype(dtype), "b": [START["b"][0].astype(dtype)]}
    return o.LookaheadParams.init_synced(params) if name.startswith("lookahead") else params


DOUBLE = {"lbfgs", "lbfgs memory", "lbfgs backtracking", "backtracking", "zoom", "muon", "muon aol", "muon schatten"}
"""Those that are compared in float64, where their own sensitivity to rounding cannot hide a difference."""


def all_cases():
    return {name: (make, FINITE) for name, make in OPTIMIZERS.items()} | {
        name: (make, BROKEN) for name, make in BROKEN_OPTIMIZERS.items()
    }


SEEN = np.array([0, 1, 9, STEPS - 1])
"""The steps that are recorded of those in float64."""
SENSITIVE = {"lbfgs", "lbfgs memory", "lbfgs backtracking", "zoom", "backtracking"}
"""Those that decide by comparing, and by differences of what is nearly equal: rounding grows."""
ROUNDED_BY_OPTAX = {"injected", "adafactor", "adafactor factored", "accumulated", "accumulated sum", "accumulated finite", "accumulated small"}  # fmt: skip
"""Those of which optax computes a rate, a decay or a mean in float32 when all the rest is float64."""


def optax_double_answers():
    """The parameters after some of fifty steps of optax in float64, and its schedules there."""
    import jax
    import optax

    with jax.enable_x64(True):
        found = {
            f"schedule {n}": [float(make(optax)(jax.numpy.asarray(t))) for t in range(60)]
            for n, make in SCHEDULES.items()
        }
        for name, (make, factors) in all_cases().items():
            params = jax.tree.map(jax.numpy.asarray, start(optax, name, np.float64))
            factors = factors.astype(np.float64)
            run = trajectory(jax.numpy, optax, make(optax), jax.lax.scan, jax.value_and_grad, factors)
            found[name] = jax.jit(run)(params)[SEEN]
    return found


def optax_answers():
    """The parameters after each of fifty steps of optax, and its schedules."""
    import jax
    import optax

    found = {}
    for name, (make, factors) in all_cases().items():
        dtype = np.float64 if name in DOUBLE else np.float32
        with jax.enable_x64(name in DOUBLE):
            params = jax.tree.map(jax.numpy.asarray, start(optax, name, dtype))
            run = trajectory(jax.numpy, optax, make(optax), jax.lax.scan, jax.value_and_grad, factors.astype(dtype))
            found[name] = jax.jit(run)(params)
    for name, make in SCHEDULES.items():
        found[f"schedule {name}"] = np.array([make(optax)(jax.numpy.asarray(t)) for t in range(60)])
    return found
