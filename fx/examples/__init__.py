"""Runnable programs: ``python -m fx train mnist``."""
