"""Benches of engines, each run under its family's own interpreter: `python -m bench.engines.xtts`."""
