"""What PyTorch and Keras call otherwise, for the messages of names and arguments that are not known."""

from __future__ import annotations

from ..misnamed import explained

__all__ = ["NAMES", "optimizer", "schedule"]

_STEPS = "Steps are those of the optimizer, batches: epochs times batches in an epoch."
optimizer = explained(
    {
        "alpha": "decay", "amsgrad": "optim.amsgrad is an optimizer of its own.", "beta_1": "b1", "beta_2": "b2",
        "betas": "They are two: b1=0.9, b2=0.999.", "clipnorm": "optim.chain(optim.clip_by_global_norm(1.0), optim.adam(1e-3)) clips first.",
        "clipvalue": "optim.chain(optim.clip(1.0), optim.adam(1e-3)) clips first.", "dampening": "Momentum is not dampened.",
        "epsilon": "eps", "history_size": "memory_size", "initial_learning_rate": "learning_rate", "lr": "learning_rate",
        "lr_decay": "A learning rate may be a schedule: optim.exponential_decay(...).", "max_iter": "An update is one iteration.",
        "maximize": "optim.chain(optim.scale(-1), optim.sgd(0.1)) goes upward.",
        "params": "Parameters are given to init and update: state = optimizer.init(params).",
        "rho": "decay|b2", "step_size": "learning_rate",
        "weight_decay": "optim.adamw and optim.lamb take one; any other, beside the gradient: optim.chain(optim.add_decayed_weights(1e-4),"
        " optim.sgd(0.1)).",
    }
)  # fmt: skip
"""Of optimizers."""

schedule = explained(
    {
        "T_max": "decay_steps|transition_steps", "decay_epochs": _STEPS, "epochs": _STEPS, "eta_max": "peak_value", "eta_min": "end_value|alpha",
        "final_value": "end_value", "gamma": "decay_rate", "initial_learning_rate": "init_value", "learning_rate": "init_value",
        "lr": "init_value", "max_lr": "peak_value", "milestones": "boundaries_and_scales={100: 0.1} multiplies by 0.1 at step 100.",
        "num_steps": "decay_steps|transition_steps", "optimizer": "A schedule stands in place of the learning rate: optim.adam(schedule).",
        "peak_lr": "peak_value", "steps": "decay_steps|transition_steps", "step_size": "transition_steps", "total_steps": "transition_steps|decay_steps",
        "warmup_epochs": _STEPS, "warmup": "warmup_steps",
    }
)  # fmt: skip
"""Of schedules."""

_LOSS = "It is nn."
_MORE = "It is not here, but optax runs on fx: fx.as_jax.install() before import optax."
_IN_PLACE = "in place of the learning rate: optim.adam(optim."
NAMES = {
    "ASGD": "optim.chain(optim.sgd(0.1), optim.weight_ema(0.99)) keeps a mean of weights.",
    "CosineAnnealingLR": f"A schedule stands {_IN_PLACE}cosine_decay_schedule(1e-3, 10_000)).",
    "CosineAnnealingWarmRestarts": f"A schedule stands {_IN_PLACE}sgdr_schedule([...])).",
    "ChainedScheduler": "Schedules are functions: lambda step: first(step) * second(step).",
    "ConstantLR": "optim.piecewise_constant_schedule(1e-3 / 3, {1000: 3}) is one third for 1000 steps.",
    "CyclicLR": "A schedule is any function of the number of steps: lambda step: low + (high - low) * abs(step / half % 2 - 1).",
    "LinearLR": f"A schedule stands {_IN_PLACE}linear_schedule(1e-4, 1e-3, 1000)).",
    "MultiplicativeLR": "A schedule is any function of the number of steps: optim.adam(lambda step: 1e-3 * 0.95**step).",
    "PolynomialLR": f"A schedule stands {_IN_PLACE}polynomial_schedule(1e-3, 0, 2, 1000)).",
    "SequentialLR": "join_schedules",
    "CosineDecay": "cosine_decay_schedule", "ExponentialDecay": "exponential_decay",
    "ExponentialLR": f"A schedule stands {_IN_PLACE}exponential_decay(1e-3, 1000, 0.9)).",
    "GradientAccumulator": "MultiSteps", "LambdaLR": "A schedule is any function of the number of steps: optim.adam(lambda step: ...).",
    "MultiStepLR": f"A schedule stands {_IN_PLACE}piecewise_constant_schedule(1e-3, {{1000: 0.1}})).",
    "OneCycleLR": f"A schedule stands {_IN_PLACE}cosine_onecycle_schedule(10_000, 1e-2)).",
    "PiecewiseConstantDecay": "piecewise_constant_schedule", "PolynomialDecay": "polynomial_schedule",
    "ReduceLROnPlateau": "reduce_on_plateau", "SparseAdam": "adam",
    "StepLR": f"A schedule stands {_IN_PLACE}exponential_decay(1e-3, 1000, 0.1, staircase=True)).",
    "apply_every": "MultiSteps", "contrib": _MORE, "projections": _MORE,
    "losses": "Losses stand in nn.losses.", "tree": "fx.tree.map(lambda x, y: ..., a, b) does what is to be done leaf by leaf.",
    "tree_utils": "fx.tree.map(lambda x, y: ..., a, b) does what is to be done leaf by leaf.",
    **dict.fromkeys(("adopt", "ademamix", "dog", "fromage", "novograd", "optimistic_adam", "polyak_sgd", "prodigy", "sam", "schedule_free", "sm3", "sophia"), _MORE),
    "absolute_error": f"{_LOSS}mae.", "convex_kl_divergence": f"{_LOSS}kl_divergence.", "cosine_distance": f"{_LOSS}cosine.",
    "cosine_similarity": f"{_LOSS}cosine_similarity.", "ctc_loss": f"{_LOSS}ctc.", "hinge_loss": f"{_LOSS}hinge.", "huber_loss": f"{_LOSS}huber.",
    "kl_divergence": f"{_LOSS}kl_divergence.", "l2_loss": "It is nn.mse(x, y, reduction='none') / 2.", "log_cosh": f"{_LOSS}log_cosh.",
    "sigmoid_binary_cross_entropy": f"{_LOSS}bce_with_logits.", "sigmoid_focal_loss": f"{_LOSS}focal.",
    "smooth_labels": "nn.cross_entropy takes label_smoothing=.", "softmax_cross_entropy": f"{_LOSS}cross_entropy.",
    "softmax_cross_entropy_with_integer_labels": f"{_LOSS}cross_entropy.", "squared_error": f"{_LOSS}mse.",
    "triplet_margin_loss": f"{_LOSS}triplet.",
    "clip_grad_norm_": "clip_by_global_norm", "clip_grad_value_": "clip", "cosine_schedule": "cosine_decay_schedule",
    "exponential_decay_schedule": "exponential_decay", "lr_scheduler": "A schedule stands in place of the learning rate: optim.adam(schedule).",
    "step": "updates, state = optimizer.update(gradient, state, params), then optim.apply_updates(params, updates).",
    "warmup_cosine": "warmup_cosine_decay_schedule",
}  # fmt: skip
"""Of what stands in ``fx.optim``."""
