"""BIDS trees: raw data with derivatives, derivatives alone, atlases in several spaces, masks beside their scans."""

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.ingest.drafts import Choices, draft


def tree(folder: Path, *names: str) -> Path:
    """Empty files, as bids-examples has them: names alone decide."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (folder / "dataset_description.json").write_text("{}")
    return folder


def masks(folder: Path, choices: Choices | None = None) -> dict[str, str]:
    """Image → its masks."""
    rows = draft(folder, choices).rows
    return {row["image"]: ";".join(v for k, v in row.items() if k.startswith("mask") and v) for row in rows}


def test_a_derivative_alone(tmp_path: Path) -> None:
    a = "sub-10/anat/sub-10"
    tree(
        tmp_path,
        *(f"{a}_{name}.nii.gz" for name in ("desc-preproc_T1w", "dseg", "desc-aseg_dseg", "desc-aparcaseg_dseg")),
        *(f"{a}_{name}.nii.gz" for name in ("desc-brain_mask", "label-GM_probseg", "label-WM_probseg")),
        *(f"{a}_space-MNI_res-2_{name}.nii.gz" for name in ("desc-preproc_T1w", "dseg", "desc-brain_mask")),
        "sub-10/func/sub-10_task-rest_run-1_space-MNI_res-2_desc-brain_mask.nii.gz",
        "sub-10/figures/sub-10_dseg.svg",
    )
    (tmp_path / "desc-aseg_dseg.tsv").write_text("index\tname\n2\tWM\n")
    (tmp_path / "dseg.tsv").write_text("index\tname\n1\tGM\n2\tWM\n3\tCSF\n")
    assert masks(tmp_path) == {
        f"{a}_desc-preproc_T1w.nii.gz": f"{a}_dseg.nii.gz",
        f"{a}_space-MNI_res-2_desc-preproc_T1w.nii.gz": f"{a}_space-MNI_res-2_dseg.nii.gz",
    }
    found = draft(tmp_path)
    assert {row["patient_id"] for row in found.rows} == {"sub-10"}
    assert "Labels of dseg.tsv: 1 GM, 2 WM, 3 CSF." in found.notes
    assert masks(tmp_path, Choices(masks="desc-aseg"))[f"{a}_desc-preproc_T1w.nii.gz"] == f"{a}_desc-aseg_dseg.nii.gz"
    assert "Labels of desc-aseg_dseg.tsv: 2 WM." in draft(tmp_path, Choices(masks="desc-aseg")).notes


def test_two_parcellations_of_each_space_are_a_choice(tmp_path: Path) -> None:
    a = "sub-01/ses-2mo/anat/sub-01_ses-2mo_space"
    spaces = ("MNIInfant+1", "MNIInfant+2", "anat")
    tree(
        tmp_path,
        *(f"{a}-{space}_atlas-4S_scale-{scale}_dseg.nii.gz" for space in spaces for scale in (156, 256)),
        *(f"{a}-{space}_desc-preproc_T1w.nii.gz" for space in spaces),
        "sub-01/ses-2mo/func/sub-01_ses-2mo_task-rest_space-boldref_atlas-4S_scale-156_dseg.nii.gz",
        "tpl-MNI/anat/tpl-MNI_atlas-4S_scale-156_res-01_dseg.nii.gz",
        "sourcedata/atlas-4S/tpl-MNI/anat/tpl-MNI_atlas-4S_scale-156_dseg.nii.gz",
    )
    (tmp_path / "tpl-MNI/anat/tpl-MNI_atlas-4S_scale-156_res-01_dseg.tsv").write_text("index\tname\n1\tVisual\n")
    with pytest.raises(InputError, match=r"scale-156_dseg.*scale-256_dseg.*--masks scale-156"):
        draft(tmp_path)
    choice = Choices(masks="scale-156")
    assert masks(tmp_path, choice) == {
        f"{a}-{space}_desc-preproc_T1w.nii.gz": f"{a}-{space}_atlas-4S_scale-156_dseg.nii.gz" for space in spaces
    }
    assert any("scale-156_res-01_dseg.tsv: 1 Visual" in note for note in draft(tmp_path, choice).notes)


def test_masks_go_by_run_session_and_modality(tmp_path: Path) -> None:
    raw, man = "sub-1/ses-{s}/anat/sub-1_ses-{s}", "derivatives/man/sub-1/ses-{s}/anat/sub-1_ses-{s}"
    tree(
        tmp_path,
        *(f"{raw}_run-{run}_T1w.nii.gz".format(s=s) for s in "ab" for run in "12"),
        *(f"{man}_run-{run}_dseg.nii.gz".format(s=s) for s in "ab" for run in "12"),
        "sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii.gz",
        "derivatives/man/sub-1/ses-a/anat/sub-1_ses-a_space-FLAIR_label-lesion_mask.nii.gz",
    )
    found = masks(tmp_path)
    for s in "ab":
        for run in "12":
            image, mask = f"{raw}_run-{run}_T1w.nii.gz".format(s=s), f"{man}_run-{run}_dseg.nii.gz".format(s=s)
            assert found[image] == mask
    assert found["sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii.gz"].endswith("space-FLAIR_label-lesion_mask.nii.gz")


def test_a_mask_that_fits_two_contrasts_is_refused(tmp_path: Path) -> None:
    tree(
        tmp_path, "sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T2w.nii.gz", "derivatives/m/sub-1/sub-1_dseg.nii.gz"
    )
    with pytest.raises(
        InputError, match=r"fits sub-1/anat/sub-1_T1w.nii.gz and sub-1/anat/sub-1_T2w.nii.gz.*--images T1w"
    ):
        draft(tmp_path)
    assert masks(tmp_path, Choices(images="T1w")) == {
        "sub-1/anat/sub-1_T1w.nii.gz": "derivatives/m/sub-1/sub-1_dseg.nii.gz"
    }


def test_masks_beside_scans_without_a_description(tmp_path: Path) -> None:
    a = "R001/sub-r1s{n}/ses-1/anat/sub-r1s{n}_ses-1_space-MNI"
    tree(tmp_path, *(f"{a}_{name}.nii.gz".format(n=n) for n in "12" for name in ("T1w", "label-L_desc-T1lesion_mask")))
    (tmp_path / "dataset_description.json").unlink()
    assert masks(tmp_path) == {
        f"{a}_T1w.nii.gz".format(n=n): f"{a}_label-L_desc-T1lesion_mask.nii.gz".format(n=n) for n in "12"
    }


def test_masks_of_single_organs(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "sub-1/anat/sub-1_T1w.nii.gz",
        "derivatives/m/sub-1/anat/sub-1_label-GM_mask.nii.gz",
        "derivatives/m/sub-1/anat/sub-1_label-WM_mask.nii.gz",
    )
    (row,) = draft(tmp_path).rows
    assert row["mask_GM"].endswith("label-GM_mask.nii.gz")
    assert row["mask_WM"].endswith("label-WM_mask.nii.gz")


def test_columns_of_participants(tmp_path: Path) -> None:
    tree(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz", "sub-2/anat/sub-2_T1w.nii.gz")
    lines = ["participant_id\tage\tfold\tgroup", "sub-1\t34\t2\tpatient", "2\tn/a\t3\tcontrol"]
    (tmp_path / "participants.tsv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    first, second = draft(tmp_path).rows
    assert (first["age"], first["participant_fold"], first["group"]) == ("34", "2", "patient")
    assert (second["age"], second["group"]) == ("", "control")
