from .precision import Precision, ScaleState
from .state import TrainState, init_state
from .step import make_step
