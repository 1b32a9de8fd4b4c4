"""Figures, each re-runnable by itself: `python -m benchmarks.NAME`; all of them: `python -m benchmarks`."""
