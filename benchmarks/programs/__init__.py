"""The programs of ``fx.examples`` beside twins in PyTorch: ``python -m benchmarks.programs``.  See ``__main__``."""
