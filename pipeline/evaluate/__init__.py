"""Evaluate: predictions against masks, per scan and organ, and over patients with intervals."""

from __future__ import annotations

from pipeline.evaluate.gather import gather
from pipeline.evaluate.shard import run_shard

__all__ = ["gather", "run_shard"]
