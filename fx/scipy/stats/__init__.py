"""``fx.scipy.stats``: distributions and statistics, under the names of ``jax.scipy.stats``.

>>> import numpy as np
>>> from fx.scipy import stats
>>> stats.norm.logcdf(np.array([-40.0, 0.0])).round(3)
Array([-8.04608e+02, -6.93000e-01], dtype=float64)
"""

from __future__ import annotations

import sys as _sys

from ...traceback import hide_frames as _hide_frames
from . import kde as _kde
from . import multivariate as _multivariate
from . import summaries as _summaries
from . import univariate as _univariate
from .distribution import Distribution as _Distribution
from .kde import *
from .multivariate import *
from .summaries import mode, rankdata, sem
from .univariate import *

__all__ = sorted([*_kde.__all__, *_multivariate.__all__, *_univariate.__all__, "mode", "rankdata", "sem"])

_hide_frames(globals())

# programs for JAX and autograd import a distribution as a module: ``import jax.scipy.stats.norm as norm``
_sys.modules.update({f"{__name__}.{d.__name__}": d for d in vars().copy().values() if isinstance(d, _Distribution)})  # type: ignore[misc]
