"""Fused loop nests: what the fuser puts into one kernel, as nodes over loop counters, and the kernels that are written of them."""
