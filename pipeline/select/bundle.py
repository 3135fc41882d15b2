"""The champion's folder as a MONAI bundle: ``metadata.json`` says what goes in and out, ``inference.json`` runs it."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.files import write_json
from pipeline.core.plan import Plan
from pipeline.inference.champion import Champion
from pipeline.metrics.empty import PRESENCE
from pipeline.select.card import INTENDED_USE

MODALITY_WORDS = {"xray": "X-ray", "mri": "MR", "ct": "CT", "photo": "photograph"}


def write_bundle(
    folder: Path, champion: Champion, plans: Sequence[Plan], fingerprint: Mapping[str, Any] | None = None
) -> None:
    """Write ``configs/`` and ``docs/`` into a champion's folder, which so becomes the bundle's root.

    Args:
        folder: The champion's folder, with its card.
        champion: Its description.
        plans: The plans of its members, in order.
        fingerprint: What the training scans were like.
    """
    metadata = _metadata(champion, plans)
    if fingerprint is not None:
        kept = ("scans", "measured", "unit", "size", "spacing", "extent")
        metadata["training_fingerprint"] = {name: fingerprint[name] for name in kept if name in fingerprint}
    write_json(folder / "configs" / "metadata.json", metadata)
    write_json(folder / "configs" / "inference.json", _inference(champion, plans))
    (folder / "docs").mkdir(exist_ok=True)
    shutil.copyfile(folder / "card.md", folder / "docs" / "README.md")


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]


def _metadata(champion: Champion, plans: Sequence[Plan]) -> dict[str, Any]:
    plan = plans[0]
    names = champion.organs if champion.overlapping else ["background", *champion.organs]
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": "chosen by organseg select"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {"organseg": _version("organseg"), "nibabel": _version("nibabel")},
        "task": f"Segmentation of {', '.join(champion.organs)}",
        "description": f"{champion.name}, chosen out of fold in the study {champion.study}. Not a medical device.",
        "intended_use": INTENDED_USE,
        "eval_metrics": {
            " + ".join(row["models"]): {
                "mean_dice": row["dice"],
                **{key: row[key] for key in ("low", "high", *PRESENCE) if key in row},
            }
            for row in champion.evidence.get("candidates", [])
            if row["chosen"]
        },
        "authors": "organseg",
        "copyright": "see the study's data",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": MODALITY_WORDS[champion.modality],
                    "num_channels": plan.in_channels,
                    "spatial_shape": list(plan.patch),
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(index): name for index, name in enumerate(_channels(champion, plan))},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "segmentation",
                    "num_channels": plan.out_channels,
                    "spatial_shape": list(plan.patch),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {str(index): name for index, name in enumerate(names)},
                }
            },
        },
    }


def _channels(champion: Champion, plan: Plan) -> list[str]:
    """What the study calls its channels; else they are all ``image``."""
    names = champion.ingest.channels
    return names if len(names) == plan.in_channels else ["image"] * plan.in_channels


def _inference(champion: Champion, plans: Sequence[Plan]) -> dict[str, Any]:
    return {
        "bundle_root": ".",
        "images": "images",
        "output_dir": "predictions",
        "networks": [
            {
                "_target_": "organseg.bundle.Probabilities",
                "folder": f"$@bundle_root + '/{member.folder}'",
                "mirror": champion.mirror,
            }
            for member in champion.members
        ],
        "inferers": [_inferer(plan) for plan in plans],
        "work": {
            "_target_": "organseg.bundle.BundleRun",
            "bundle_root": "@bundle_root",
            "networks": "@networks",
            "inferers": "@inferers",
            "images": "@images",
            "output_dir": "@output_dir",
        },
        "run": ["$@work.run()"],
    }


def _inferer(plan: Plan) -> dict[str, Any]:
    """MONAI's inferer with the plan's windows; two-dimensional networks see slices."""
    common = {"roi_size": list(plan.patch), "sw_batch_size": 4, "overlap": plan.overlap, "mode": "gaussian"}
    if plan.spatial_dims == 3:
        return {"_target_": "monai.inferers.SlidingWindowInferer", **common}
    across = 2 if plan.slice_axis is None else plan.slice_axis
    return {"_target_": "monai.inferers.SliceInferer", "spatial_dim": across, **common}
