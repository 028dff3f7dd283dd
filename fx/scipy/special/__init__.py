"""``fx.scipy.special``: special functions, under the names of ``scipy.special``.

All are elementwise and differentiable, but ``logsumexp``, ``softmax`` and ``log_softmax``, which reduce.  Integers
become floats.
"""

from __future__ import annotations

from ...traceback import hide_frames as _hide_frames
from . import (
    bessel as _bessel,
)
from . import (
    elementary as _elementary,
)
from . import (
    entropies as _entropies,
)
from . import (
    error_functions as _error_functions,
)
from . import (
    gamma_functions as _gamma_functions,
)
from . import (
    hypergeometric as _hypergeometric,
)
from . import (
    incomplete as _incomplete,
)
from . import (
    integrals as _integrals,
)
from . import (
    softmax as _softmax,
)
from . import (
    zeta_functions as _zeta_functions,
)
from .bessel import *
from .elementary import *
from .entropies import *
from .error_functions import *
from .gamma_functions import *
from .hypergeometric import *
from .incomplete import *
from .integrals import *
from .softmax import *
from .zeta_functions import *

__all__ = sorted(
    name
    for module in (
        _bessel,
        _elementary,
        _entropies,
        _error_functions,
        _gamma_functions,
        _hypergeometric,
        _incomplete,
        _integrals,
        _softmax,
        _zeta_functions,
    )
    for name in module.__all__
)

_hide_frames(globals())
