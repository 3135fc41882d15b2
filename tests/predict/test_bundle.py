"""The champion's folder as a MONAI bundle, run by MONAI's own command, gives the masks that we give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.cli.predict import predict_files
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.nifti_labels import stored_grid, write_nifti
from pipeline.formats.store import read_scan

pytest.importorskip("fire")


@pytest.mark.slow
def test_the_bundle_gives_our_masks(chosen_volumes: tuple[Study, StudyPaths], tmp_path: Path, root: Path) -> None:
    _, paths = chosen_volumes
    scan = read_scan(paths.scan(0, "s4"))
    write_nifti(tmp_path / "in" / "s4.nii.gz", scan.to_stored(scan.voxels[0]), stored_grid(scan).affine, "mm")
    assert predict_files([tmp_path / "in"], str(paths.champion), tmp_path / "ours") == 0
    command = [
        sys.executable, "-m", "monai.bundle", "run",
        "--config_file", str(paths.champion / "configs" / "inference.json"),
        "--meta_file", str(paths.champion / "configs" / "metadata.json"),
        "--bundle_root", str(paths.champion),
        "--images", str(tmp_path / "in"),
        "--output_dir", str(tmp_path / "theirs"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    ours = np.asarray(nib.load(tmp_path / "ours" / "nifti" / "s4.nii.gz").dataobj)
    theirs = np.asarray(nib.load(tmp_path / "theirs" / "s4.nii.gz").dataobj)
    assert ours.any()
    assert np.mean(ours != theirs) < 1e-3


def test_metadata_says_what_goes_in_and_out(chosen_pictures: tuple[Study, StudyPaths]) -> None:
    _, paths = chosen_pictures
    metadata = json.loads((paths.champion / "configs" / "metadata.json").read_text())
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    assert outputs["channel_def"] == {"0": "left", "1": "right"}
    assert "not a medical device" in metadata["intended_use"]
    figures = next(iter(metadata["eval_metrics"].values()))
    assert 0 < figures["mean_dice"] <= 1
    inference = json.loads((paths.champion / "configs" / "inference.json").read_text())
    assert len(inference["networks"]) == len(inference["inferers"])
    assert {i["_target_"] for i in inference["inferers"]} == {"monai.inferers.SliceInferer"}


def test_the_card_can_be_read(tmp_path: Path) -> None:
    from pipeline.select.bundle import write_bundle
    from pipeline.select.calibration import performance
    from pipeline.select.card import write_card
    from tests.predict.studies import make_study, plan_for
    from tests.select.test_champion import champion

    study = make_study()
    sides = {"min": [20.0, 18.0, 16.0], "median": [21.0, 18.0, 16.0], "max": [30.0, 20.0, 16.5]}
    fingerprint = {"scans": 12, "unit": "mm", "size": sides, "spacing": sides, "extent": sides}
    quality = {"dice_limit": 0.8, **performance([(True, 3.0), (False, 0.2)])}
    plans = [plan_for(study, "unet")]
    evidence = {
        "patients": 9,
        "scans": 12,
        "candidates": [{"models": ["unet"], "dice": 0.9, "low": 0.8, "high": 0.95, "chosen": True}],
    }
    one = champion().model_copy(update={"evidence": evidence})
    write_card(tmp_path / "card.md", study, one, plans, fingerprint, quality)
    text = (tmp_path / "card.md").read_text()
    for said in ("## Intended use", "## Input", "## Trained on", "12 scans", "| 20 × 18 × 16 | 21 × 18 × 16 |", "100%"):
        assert said in text, said
    assert "None" not in text.replace("| none |", "")
    assert "| spacing, mm |" in text
    write_card(tmp_path / "card.md", study, one, plans, fingerprint | {"measured": 5}, quality)
    assert "spacing, mm (5 scans; that of the others is unknown)" in (tmp_path / "card.md").read_text()
    write_card(tmp_path / "card.md", study, one, plans, fingerprint | {"unit": "px"}, quality)
    assert "spacing, " not in (tmp_path / "card.md").read_text()
    write_bundle(tmp_path, one, plans, fingerprint)
    metadata = json.loads((tmp_path / "configs" / "metadata.json").read_text())
    assert metadata["training_fingerprint"]["scans"] == 12
    assert metadata["eval_metrics"]["unet"]["low"] == 0.8
