"""``fx.nn``: neural networks.

Modules (``Module`` and the layers made of it, see README.md beside this file), losses, and functions under the names of
``jax.nn``.  A module is a pytree of its parameters, and its call a pure function: every transform takes it as it is.

Not here: ``scaled_dot_general`` and its configurations, which quantise to floats of 4 and 8 bits; fx has none so small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..scipy.special import logsumexp
from ..traceback import user_frames
from . import (
    activations as _activations,
)
from . import (
    attention as _attention,
)
from . import (
    attention_layers as _attention_layers,
)
from . import (
    containers as _containers,
)
from . import (
    convolution as _convolution,
)
from . import (
    distances as _distances,
)
from . import (
    elsewhere as _elsewhere,
)
from . import (
    initializers,
    losses,
)
from . import (
    key_use as _key_use,
)
from . import (
    layers as _layers,
)
from . import (
    linear as _linear,
)
from . import (
    module as _module,
)
from . import (
    noise as _noise,
)
from . import (
    normalization as _normalization,
)
from . import (
    norms as _norms,
)
from . import (
    observing as _observing,
)
from . import (
    pooling as _pooling,
)
from . import (
    recurrent as _recurrent,
)
from . import (
    sampling as _sampling,
)
from . import (
    spatial as _spatial,
)
from . import (
    state as _state,
)
from . import (
    summaries as _summaries,
)
from . import (
    surgery as _surgery,
)
from . import (
    thresholds as _thresholds,
)
from . import (
    transformer as _transformer,
)
from . import (
    weight_norms as _weight_norms,
)
from .activations import *
from .attention import *
from .attention_layers import *
from .containers import *
from .convolution import *
from .distances import *
from .key_use import *
from .layers import *
from .linear import *
from .losses import *
from .module import *
from .noise import *
from .normalization import *
from .norms import *
from .observing import *
from .pooling import *
from .recurrent import *
from .sampling import *
from .spatial import *
from .state import *
from .summaries import *
from .surgery import *
from .thresholds import *
from .transformer import *
from .weight_norms import *

_ROOMS = (
    _activations, _attention, _attention_layers, _containers, _convolution, _distances, _key_use, _layers, _linear, losses, _module, _noise, _normalization, _norms, _observing, _pooling, _recurrent, _sampling, _spatial, _state, _summaries, _surgery, _thresholds, _transformer, _weight_norms,
)  # fmt: skip
__all__ = sorted({"initializers", "logsumexp", "losses", *[name for room in _ROOMS for name in room.__all__]})

if not TYPE_CHECKING:  # a type checker says itself what is not there

    @user_frames
    def __getattr__(name: str) -> None:
        raise _elsewhere.no_name(name, __all__, losses.__all__)
