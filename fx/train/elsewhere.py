"""What PyTorch, Lightning and Keras call otherwise, for the messages of names and arguments that are not known."""

from __future__ import annotations

from ..misnamed import explained

__all__ = ["NAMES", "callback", "fit", "trainer"]

_CUT = "The data are cut into batches before: data.batches((x, y), 32), or data.from_arrays((x, y)).shuffle(seed=0).batch(32)."
trainer = explained(
    {
        "accumulate_grad_batches": "accumulate", "amp": "precision", "callbacks": "Callbacks are given to fit.", "criterion": "loss",
        "epochs": "Epochs are given to fit.", "gradient_clip_val": "clip", "grad_clip": "clip", "learning_rate": "It is the optimizer's: optim.adam(1e-3).",
        "loss_fn": "loss", "lr": "It is the optimizer's: optim.adam(1e-3).", "max_epochs": "Epochs are given to fit.", "metric": "metrics",
        "model": "The model is given to fit, which leaves it as it is.", "optim": "optimizer", "outputs": "forward", "predict": "forward", "scheduler": "A schedule stands in place of the learning rate: optim.adam(schedule).",
    }
)  # fmt: skip
"""Of ``Trainer``."""

fit = explained(
    {
        "*": _CUT, "batch_size": _CUT, "callback": "callbacks", "ckpt_path": "A callback saves, and goes on from what was saved: train.Checkpoint(folder).",
        "dataset": "data", "max_epochs": "epochs", "n_epochs": "epochs", "num_epochs": "epochs", "seed": "key", "shuffle": _CUT,
        "train_data": "data", "val": "validation", "validation_data": "validation", "validation_split": "train, held_out = data.split(len(x), 0.1) gives positions of both parts.",
        "verbose": "A callback tells: train.Progress().", "x": _CUT, "y": _CUT,
    }
)  # fmt: skip
"""Of ``Trainer.fit``."""

callback = explained(
    {
        "dirpath": "folder", "every_n_epochs": "epochs", "every_n_train_steps": "every", "filename": "path", "filepath": "folder|path",
        "log_dir": "folder", "max_to_keep": "keep", "min_delta": "least", "min_lr": "minimum", "period": "epochs", "restore_best_weights": "restore",
        "save_best_only": "best='validation_loss' keeps the best besides the latest.", "save_freq": "every", "save_top_k": "keep", "threshold": "least",
        "update_freq": "every", "append": "What is in the file stays.", "monitor": "best",
    }
)  # fmt: skip
"""Of callbacks."""

NAMES = {
    "CSVLogger": "CSVLog", "DataLoader": "It is data.from_arrays((x, y)).shuffle(seed=0).batch(32).prefetch(threads=2).",
    "LambdaCallback": "Call", "LearningRateScheduler": "LearningRate", "Model": "A model is an nn.Module: nn.Sequential(...), or a class of your own.",
    "ModelCheckpoint": "Checkpoint", "ProgbarLogger": "Progress", "RichProgressBar": "Progress", "TQDMProgressBar": "Progress",
    "ReduceLROnPlateau": "It is the callback train.ReduceOnPlateau(); by the loss of the batches, optim.chain(optim.adam(1e-3), optim.reduce_on_plateau()).",
    "TensorBoard": "TensorBoardLog", "TensorBoardLogger": "TensorBoardLog", "TerminateOnNaN": "Trainer(not_finite='raise'), the default, does it, and names the layer.",
    "compile": "A step is compiled by train.make_step(loss, optimizer), a loop over it is train.Trainer(loss, optimizer).",
    "fit": "It is train.Trainer(loss, optimizer).fit(model, data, epochs=...).",
}  # fmt: skip
"""Of what stands in ``fx.train``."""
