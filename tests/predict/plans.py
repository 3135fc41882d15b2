"""Small plans for tests."""

from __future__ import annotations

from typing import Any

from pipeline.core.plan import Plan


def make_plan(**changes: Any) -> Plan:
    """A small plan of a three-dimensional model with two exclusive organs."""
    values: dict[str, Any] = {
        "model": "unet",
        "modality": "mri",
        "organs": ["left", "right"],
        "overlapping": False,
        "mirror_pairs": [("left", "right")],
        "in_channels": 1,
        "spatial_dims": 3,
        "normalisation": {"name": "percentile_zscore"},
        "patch": [16, 16, 16],
        "batch": 2,
        "network": {"name": "unet"},
        "loss": {"name": "dice_ce"},
        "augmentation": {"preset": "none"},
        "optimiser": {"name": "adamw", "learning_rate": 1e-3},
        "steps": 10,
        "validate_every": 10,
        "overlap": 0.5,
    }
    return Plan.model_validate(values | changes)
