"""The built-in demo: phantoms made on the spot, deterministic from a seed."""

from pipeline.demo.study import make

__all__ = ["make"]
