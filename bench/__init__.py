"""Benches: what the worker costs and how promptly it obeys, each figure beside its reference and its target.

`python -m bench` runs them all; `bench/README.md` tells what each measures. Nothing here is part of the package.
"""
