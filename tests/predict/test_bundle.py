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
from pipeline.core.files import read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.study import Study
from pipeline.formats.nifti.labels import stored_grid, write_nifti
from pipeline.formats.store import read_scan
from tests.export.test_borders import bordered
from tests.predict.test_reading import grey, read_as, write_dicom, write_png

pytest.importorskip("fire")


def run_bundle(champion: Path, images: Path, out: Path, root: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "monai.bundle", "run",
        "--config_file", str(champion / "configs" / "inference.json"),
        "--meta_file", str(champion / "configs" / "metadata.json"),
        "--bundle_root", str(champion),
        "--images", str(images),
        "--output_dir", str(out),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(root)}
    out.mkdir()
    # A file of the user's that would hide our package.
    (out / "pipeline.py").write_text("raise SystemExit('this is not organseg')")
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=out, env=environment)


def masks_in(folder: Path) -> dict[str, np.ndarray]:
    paths = (folder / "nifti").rglob("*.nii.gz")
    return {path.relative_to(folder / "nifti").as_posix(): np.asarray(nib.load(path).dataobj) for path in paths}


def same_masks(ours: Path, theirs: Path) -> set[str]:
    """Compare all masks of two folders; gives their names."""
    one, other = masks_in(ours), masks_in(theirs)
    assert set(one) == set(other)
    for name, mask in one.items():
        assert mask.any(), name
        assert np.mean(mask != other[name]) < 1e-3, name
    return set(one)


@pytest.mark.slow
def test_the_bundle_gives_our_masks(chosen_volumes: tuple[Study, StudyPaths], tmp_path: Path, root: Path) -> None:
    """Names that differ after their first dot only are two, as in ``organseg predict``."""
    _, paths = chosen_volumes
    for number, name in ((4, "a.b"), (6, "a.c")):
        scan = read_scan(paths.scan(0, f"s{number}"))
        path = tmp_path / "in" / f"{name}.nii.gz"
        write_nifti(path, scan.to_stored(scan.voxels[0]), stored_grid(scan).affine, "mm")
    assert predict_files([tmp_path / "in"], str(paths.champion), tmp_path / "ours") == 0
    done = run_bundle(paths.champion, tmp_path / "in", tmp_path / "theirs", root)
    assert done.returncode == 0, done.stderr[-3000:]
    assert same_masks(tmp_path / "ours", tmp_path / "theirs") == {"a.b.nii.gz", "a.c.nii.gz"}


@pytest.mark.slow
def test_the_bundle_of_a_radiograph_model(
    chosen_pictures: tuple[Study, StudyPaths], tmp_path: Path, root: Path
) -> None:
    """Radiographs as DICOM and PNG, with borders that are cut off; what cannot be read is named, with exit code 3."""
    model = Path(read_as(chosen_pictures[1], crop_borders=True))
    write_dicom(tmp_path / "in" / "DOE^JANE.dcm", bordered(grey(4), 0))
    write_png(tmp_path / "in" / "film.png", bordered(grey(5), 0))
    (tmp_path / "in" / "broken.png").write_bytes((tmp_path / "in" / "film.png").read_bytes()[:300])
    assert predict_files([tmp_path / "in"], str(model), tmp_path / "ours") == 3
    done = run_bundle(model, tmp_path / "in", tmp_path / "theirs", root)
    assert done.returncode == 3, done.stderr[-3000:]
    assert "broken" in done.stdout
    names = {f"{scan}/{organ}.nii.gz" for scan in ("film", "scan") for organ in ("left", "right")}
    assert same_masks(tmp_path / "ours", tmp_path / "theirs") == names
    rows = read_table(tmp_path / "theirs" / "predictions.csv")
    assert {row["scan_id"] for row in rows if row["status"] == "failed"} == {"broken"}
    assert "DOE" not in (tmp_path / "theirs" / "predictions.csv").read_text()


@pytest.mark.slow
def test_a_bundle_without_scans_is_a_bad_call(
    chosen_pictures: tuple[Study, StudyPaths], tmp_path: Path, root: Path
) -> None:
    (tmp_path / "in").mkdir()
    done = run_bundle(chosen_pictures[1].champion, tmp_path / "in", tmp_path / "theirs", root)
    assert done.returncode == 2
    assert "holds no scan" in done.stderr


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
    from pipeline.quality.performance import performance
    from pipeline.select.bundle import write_bundle
    from pipeline.select.card import write_card
    from tests.predict.studies import make_study, plan_for
    from tests.select.test_champion import champion

    study = make_study()
    sides = {"min": [20.0, 18.0, 16.0], "median": [21.0, 18.0, 16.0], "max": [30.0, 20.0, 16.5]}
    fingerprint = {"scans": 12, "unit": "mm", "size": sides, "spacing": sides, "extent": sides}
    quality = {"dice_limit": 0.8, **performance([(True, 3.0), (False, 0.2)]), "rests_on": {"folds": "the reader"}}
    plans = [plan_for(study, "unet")]
    evidence = {
        "patients": 9,
        "scans": 12,
        "candidates": [{"models": ["unet"], "dice": 0.9, "low": 0.8, "high": 0.95, "chosen": True}],
    }
    one = champion().model_copy(update={"evidence": evidence})
    write_card(tmp_path / "card.md", study, one, plans, fingerprint, quality)
    text = (tmp_path / "card.md").read_text()
    for said in (
        "## Intended use",
        "## Input",
        "## Trained on",
        "12 scans",
        "| 20 × 18 × 16 | 21 × 18 × 16 |",
        "100%",
        "- Agreement of folds: the reader.",
    ):
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
