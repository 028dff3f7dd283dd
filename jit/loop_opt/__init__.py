"""Passes from kernels to kernels, in the order of ``native``: fold (what the others need to see), vectorize (which interleaves)."""
