"""``fx.numpy``: NumPy's functions on arrays and traced values.

Names, signatures and dtype rules are those of ``jax.numpy``; the call forms of the Python array API standard 2024.12,
of which this is a namespace, are accepted beside them.  NumPy's own functions, called on an fx array or a traced
value, arrive at the functions here.
"""

from __future__ import annotations

import sys as _sys
from types import FunctionType as _FunctionType
from typing import TYPE_CHECKING as _TYPE_CHECKING

import numpy as _np

from .. import dtypes as _dtypes
from ..array import Array
from ..array import Array as ndarray
from ..elsewhere import no_function as _no_function
from ..misnamed import no_attribute as _no_attribute
from ..signatures import position_of as _position_of
from ..trace import Tracer as _Tracer
from ..traceback import hide_frames as _hide_frames
from ..traceback import user_frames as _user_frames
from . import (
    at as _at,
)
from . import (
    binary as _binary,
)
from . import (
    bits as _bits,
)
from . import (
    contraction as _contraction,
)
from . import (
    creation as _creation,
)
from . import (
    fft,
    linalg,
)
from . import (
    functional as _functional,
)
from . import (
    histograms as _histograms,
)
from . import (
    inspection as _inspection,
)
from . import (
    manipulation as _manipulation,
)
from . import (
    matrices as _matrices,
)
from . import (
    methods as _methods,
)
from . import (
    of_keys as _of_keys,
)
from . import (
    polynomials as _polynomials,
)
from . import (
    positions as _positions,
)
from . import (
    protocol as _protocol,
)
from . import (
    rearranging as _rearranging,
)
from . import (
    reductions as _reductions,
)
from . import (
    rounding as _rounding,
)
from . import (
    scans as _scans,
)
from . import (
    selection as _selection,
)
from . import (
    sets as _sets,
)
from . import (
    sorting as _sorting,
)
from . import (
    statistics as _statistics,
)
from . import (
    summation as _summation,
)
from . import (
    text as _text,
)
from . import (
    types as _types,
)
from . import (
    unary as _unary,
)
from . import (
    window_functions as _window_functions,
)
from .binary import *
from .bits import *
from .contraction import *
from .creation import *
from .functional import *
from .histograms import *
from .index_tricks import *
from .inspection import NamespaceInfo as __array_namespace_info__
from .manipulation import *
from .matrices import *
from .polynomials import *
from .positions import argwhere, compress, extract, flatnonzero, nonzero
from .quantiles import *
from .rearranging import *
from .reductions import *
from .rounding import *
from .scalar_types import *
from .scans import *
from .selection import *
from .sets import *
from .sorting import *
from .statistics import *
from .summation import *
from .text import *
from .types import *
from .ufunc_class import Ufunc as ufunc
from .unary import *
from .window_functions import *

generic, number, integer, signedinteger, unsignedinteger = (
    _np.generic,
    _np.number,
    _np.integer,
    _np.signedinteger,
    _np.unsignedinteger,
)
inexact, floating, complexfloating = _np.inexact, _np.floating, _np.complexfloating
object_, character, flexible, ComplexWarning = _np.object_, _np.character, _np.flexible, _np.exceptions.ComplexWarning

pi, e, inf, nan, euler_gamma, newaxis = _np.pi, _np.e, _np.inf, _np.nan, _np.euler_gamma, None
dtype, iinfo, s_, index_exp = _np.dtype, _np.iinfo, _np.s_, _np.index_exp
set_printoptions, get_printoptions, printoptions = _np.set_printoptions, _np.get_printoptions, _np.printoptions
True_, False_ = _np.True_, _np.False_
errstate, base_repr, binary_repr = _np.errstate, _np.base_repr, _np.binary_repr
ndindex, ndenumerate = _np.ndindex, _np.ndenumerate  # of known arrays
__array_api_version__ = "2024.12"
_ELSEWHERE = {
    "random": "Random numbers are drawn from explicit keys: fx.random.normal(fx.random.key(0), (3,)).",
    "float128": "float64 is the widest float.", "longdouble": "float64 is the widest float.", "matrix": "Matrices are arrays of two axes.",
    "tensor": "array", "bmm": "matmul", "cat": "concatenate", "from_numpy": "asarray", "mm": "matmul", "rand": "It is fx.random.uniform(key, shape).", "randint": "It is fx.random.randint(key, shape, low, high).",
    "randn": "It is fx.random.normal(key, shape).", "unsqueeze": "expand_dims",
}  # fmt: skip

for _name, _f in list(globals().items()):
    if isinstance(_f, _FunctionType) and not _name.startswith("_") and _position_of("out", _f) is not None:
        globals()[_name] = _protocol.honouring_out(_f)

_of_keys.provide(globals(), (*_of_keys.NUMPY_MOVES, *_of_keys.COMPARISONS))
_protocol.provide("numpy", _sys.modules[__name__])
_protocol.provide("numpy.linalg", linalg)
_protocol.provide("numpy.fft", fft)
_methods.install(Array)
_methods.install(_Tracer)

__all__ = sorted(
    n
    for n, v in globals().items()
    if not n.startswith("_") and (n in ("fft", "linalg") or type(v) is not type(_sys)) and n != "annotations"
)

if not _TYPE_CHECKING:  # a type checker says itself what is not there

    @_user_frames
    def __getattr__(name: str) -> None:
        raise _no_attribute("fx.numpy", name, __all__, _ELSEWHERE if name in _ELSEWHERE else {name: _no_function(name)})


_hide_frames(globals())
