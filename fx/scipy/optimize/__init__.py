"""``fx.scipy.optimize``: minimisation of functions of a vector.

>>> import fx.numpy as fnp
>>> from fx.scipy.optimize import minimize
>>> minimize(lambda x: fnp.sum((x - fnp.array([1.0, 2.0])) ** 2), fnp.zeros(2), method="BFGS").x.round(3)
Array([1., 2.], dtype=float32)
"""

from __future__ import annotations

from ...traceback import hide_frames as _hide_frames
from .minimize import OptimizeResults, minimize

__all__ = ["OptimizeResults", "minimize"]

_hide_frames(globals())
