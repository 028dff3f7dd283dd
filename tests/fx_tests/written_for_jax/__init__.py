"""A package as those written for JAX are: it imports jax itself, and names of its private modules."""

from . import modules as modules
from . import operations as operations
from . import sampling as sampling
