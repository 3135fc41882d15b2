"""Evaluate: predictions against masks, per scan and organ, and over patients with intervals.

A study is measured by :func:`run_shard` and :func:`gather`; two files or folders without one by :func:`compare`.
"""

from __future__ import annotations

from pipeline.evaluate.comparison import Comparison, compare
from pipeline.evaluate.gather import gather
from pipeline.evaluate.shard import run_shard

__all__ = ["Comparison", "compare", "gather", "run_shard"]
