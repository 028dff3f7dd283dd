"""``fx.lax``: the operations beneath ``fx.numpy``, under the names of ``jax.lax``.

They are strict: no dtype promotion, but a Python number takes the type of the array beside it, and no broadcasting, but an array
without dimensions takes the shape of the one beside it, and sizes of 1 those of an array of equal rank.  ``out_sharding`` is
JAX's; it says nothing on one device.
"""

from __future__ import annotations

import importlib as _importlib

from .. import api as _api
from .. import primitives as _families
from ..numpy.of_keys import LAX_MOVES as _LAX_MOVES
from ..numpy.of_keys import provide as _provide_of_keys
from ..primitives.bit_casts import bitcast_convert_type as _of_any_size
from ..primitives.collectives import *
from ..primitives.collectives import all_gather_p, axis_index_p, pmax_p, pmin_p, psum_p
from ..primitives.conv import *
from ..primitives.conv import ConvDimensionNumbers as ConvGeneralDilatedDimensionNumbers
from ..primitives.conv_variants import *
from ..primitives.cumulative import *
from ..primitives.elementwise import *
from ..primitives.fft import *
from ..primitives.gather_scatter import *
from ..primitives.indexing import *
from ..primitives.joining import *
from ..primitives.linalg import batch_matmul, dot, dot_general, dot_general_p
from ..primitives.reductions import *
from ..primitives.shaping import *
from ..primitives.sorting import *
from ..primitives.windows import *
from ..traceback import hide_frames as _hide_frames
from . import (
    applied as _applied,
)
from . import (
    associative as _associative,
)
from . import (
    branching as _branching,
)
from . import (
    composed as _composed,
)
from . import (
    control_flow as _control_flow,
)
from . import (
    linalg,
)
from . import (
    parallel as _parallel,
)
from . import (
    products as _products,
)
from . import (
    random_bits as _random_bits,
)
from . import (
    solvers as _solvers,
)
from .applied import *
from .associative import *
from .branching import *
from .composed import *
from .control_flow import *
from .parallel import *
from .products import *
from .random_bits import *
from .solvers import *

stop_gradient = _api.stop_gradient  # of a pytree; the family's takes one array
bitcast_convert_type = _of_any_size  # the family's keeps the size

_WHOLE = (
    "collectives",
    "conv",
    "conv_variants",
    "cumulative",
    "elementwise",
    "fft",
    "gather_scatter",
    "indexing",
    "joining",
    "reductions",
    "shaping",
    "sorting",
    "windows",
)
_SHARED = {
    "INTEGERS_ONLY",
    "NOT_LINEAR",
    "PIECEWISE_CONSTANT",
    "argsort",
    "extreme_identity",
    "take_along",
    "trigamma",
    "weakened",
}
"""What the families share among themselves, and jax.lax does not have."""

_names = {
    "ConvGeneralDilatedDimensionNumbers", "all_gather_p", "axis_index_p", "batch_matmul", "dot", "dot_general", "dot_general_p", "linalg", "pmax_p",
    "pmin_p", "psum_p", "stop_gradient",
}  # fmt: skip
_names.update(
    _applied.__all__,
    _associative.__all__,
    _branching.__all__,
    _composed.__all__,
    _control_flow.__all__,
    _parallel.__all__,
    _products.__all__,
    _random_bits.__all__,
    _solvers.__all__,
    *[getattr(_families, family).__all__ for family in _WHOLE],
)
_SPECIAL = {
    "bessel_i0e", "bessel_i1e", "betainc", "igamma", "igamma_grad_a", "igammac", "polygamma", "random_gamma_grad", "zeta",
}  # fmt: skip
__all__ = sorted(_names - _SHARED | _SPECIAL | {"with_sharding_constraint"})


def __getattr__(name: str) -> object:
    """What stands above this package, on first use: the special functions, which ``fx.scipy.special`` computes with its loops,
    and what ``fx.sharding`` checks."""
    if name == "with_sharding_constraint":
        return _importlib.import_module("fx.sharding").with_sharding_constraint
    if name not in _SPECIAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f"{__name__}.special"), name)


_provide_of_keys(globals(), _LAX_MOVES)
_hide_frames(globals())
