"""fx beside its peers: ``python -m benchmarks``.  See ``__main__``."""
