"""fx: a JIT-compiled functional transformation library."""

from .api import *  # noqa: F403
