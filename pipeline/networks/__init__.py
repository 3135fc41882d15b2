"""Segmentation networks, 2-D and 3-D, built by name from one registry."""

from __future__ import annotations

from pipeline.networks.registry import NetworkEntry, build, check, entry_of, names

__all__ = ["NetworkEntry", "build", "check", "entry_of", "names"]
