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

_IN_PLACE = "in place of the learning rate: optim.adam(optim."
NAMES = {
    "ASGD": "optim.chain(optim.sgd(0.1), optim.weight_ema(0.99)) keeps a mean of weights.",
    "CosineAnnealingLR": f"A schedule stands {_IN_PLACE}cosine_decay_schedule(1e-3, 10_000)).",
    "CosineAnnealingWarmRestarts": f"A schedule stands {_IN_PLACE}sgdr_schedule([...])).",
    "CosineDecay": "cosine_decay_schedule", "ExponentialDecay": "exponential_decay",
    "ExponentialLR": f"A schedule stands {_IN_PLACE}exponential_decay(1e-3, 1000, 0.9)).",
    "GradientAccumulator": "MultiSteps", "LambdaLR": "A schedule is any function of the number of steps: optim.adam(lambda step: ...).",
    "MultiStepLR": f"A schedule stands {_IN_PLACE}piecewise_constant_schedule(1e-3, {{1000: 0.1}})).",
    "OneCycleLR": f"A schedule stands {_IN_PLACE}cosine_onecycle_schedule(10_000, 1e-2)).",
    "PiecewiseConstantDecay": "piecewise_constant_schedule", "PolynomialDecay": "polynomial_schedule",
    "ReduceLROnPlateau": "reduce_on_plateau", "SparseAdam": "adam",
    "StepLR": f"A schedule stands {_IN_PLACE}exponential_decay(1e-3, 1000, 0.1, staircase=True)).",
    "clip_grad_norm_": "clip_by_global_norm", "clip_grad_value_": "clip", "cosine_schedule": "cosine_decay_schedule",
    "exponential_decay_schedule": "exponential_decay", "lr_scheduler": "A schedule stands in place of the learning rate: optim.adam(schedule).",
    "step": "updates, state = optimizer.update(gradient, state, params), then optim.apply_updates(params, updates).",
    "warmup_cosine": "warmup_cosine_decay_schedule",
}  # fmt: skip
"""Of what stands in ``fx.optim``."""
