"""``fx.train``: a compiled step, a loop over it, and what stands beside the loop.  See README.md of this folder.

>>> import numpy as np
>>> from fx import optim, train
>>> x = np.linspace(-1, 1, 8, dtype=np.float32)
>>> loss = lambda model, batch, key: ((model * batch[0] - batch[1]) ** 2).mean()
>>> fit = train.Trainer(loss, optim.sgd(0.5)).fit(np.float32(0), [(x, 3 * x)], epochs=30)
>>> round(float(fit.model), 3)
3.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..misnamed import no_attribute
from ..traceback import user_frames
from . import elsewhere
from .callbacks import Call, EarlyStopping, LearningRate, ReduceOnPlateau
from .checkpoint import Checkpoint
from .logs import CSVLog, JSONLog, Plot, Progress, TensorBoardLog
from .precision import Precision, ScaleState
from .run import Callback, Means, Run
from .state import TrainState, batch_size, copied, init_state
from .step import make_step
from .trainer import Fit, Trainer

__all__ = [
    "CSVLog", "Call", "Callback", "Checkpoint", "EarlyStopping", "Fit", "JSONLog", "LearningRate", "Means", "Plot", "Precision",
    "Progress", "ReduceOnPlateau", "Run", "ScaleState", "TensorBoardLog", "TrainState", "Trainer", "batch_size", "copied", "init_state", "make_step",
]  # fmt: skip

if not TYPE_CHECKING:  # a type checker says itself what is not there

    @user_frames
    def __getattr__(name: str) -> None:
        raise no_attribute("fx.train", name, __all__, elsewhere.NAMES)
