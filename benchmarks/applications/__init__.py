"""Small real programs, each written once for fx and JAX: ``python -m benchmarks.applications``.  See ``__main__``."""

from . import geometry, learning, simulation, statistics
from .program import PROGRAMS, Program

__all__ = ["PROGRAMS", "Program"]
