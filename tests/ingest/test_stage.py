"""The stage: every row ends in scans.csv or in rejected.csv, whatever it names."""

import hashlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline import ingest
from pipeline.core.columns import IMAGE_COLUMNS, scan_columns
from pipeline.core.errors import InputError
from pipeline.formats.store import read_labels, read_scan
from pipeline.ingest.quality import measure_scan


def digests(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}


def test_good_rows_become_scans_and_label_maps(small):
    masks = {f"s{i}": small.chest(f"s{i}", i, site="north") for i in range(4)}
    scans, rejected = small.run()
    assert list(scans) == list(masks)
    assert not rejected
    for name, row in scans.items():
        scan = read_scan(small.paths.scan(row["shard"], name))
        labels = read_labels(small.paths.mask(row["shard"], name))
        np.testing.assert_array_equal(scan.voxels[0, :, :, 0].T, np.asarray(Image.open(small.data / f"{name}.png")))
        for organ, mask in masks[name].items():
            np.testing.assert_array_equal(labels.mask(organ)[..., 0].T, mask)
            assert float(row[f"volume_{organ}"]) == mask.sum()  # pixels, because the spacing is unknown
        assert (row["site"], row["labelled"], row["organs"]) == ("north", "1", "left_lung;right_lung;heart")
        assert (row["size_x"], row["spacing_source"], row["components_heart"]) == ("96", "unknown", "1")


def test_the_columns_are_those_that_every_other_stage_knows(small):
    small.chest("a", 0, site="north", volume_control="3")
    scans, _ = small.run()
    own = scan_columns(small.study.organs)
    assert tuple(scans["a"]) == (*own, "site", "volume_control")
    measured = measure_scan(read_scan(small.paths.scan(scans["a"]["shard"], "a")))
    assert tuple(measured) == IMAGE_COLUMNS


def test_a_row_without_masks_is_unlabelled(small):
    small.chest("a", 0)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(small.data / "plain.png")
    small.add("b", "plain.png")
    scans, _ = small.run()
    assert (scans["b"]["labelled"], scans["b"]["organs"]) == ("0", "")
    assert not small.paths.mask(scans["b"]["shard"], "b").exists()


def test_every_kind_of_bad_row_is_rejected_with_its_reason_and_the_good_go_on(small):
    small.chest("good", 0)
    draw = np.random.default_rng(0)
    picture = draw.integers(0, 255, (96, 96)).astype(np.uint8)

    def image(name, pixels):
        Image.fromarray(pixels).save(small.data / name)
        return name

    small.config["ingest"]["empty_mask_cell"] = "not_annotated"
    small.add("absent", "nowhere.png")
    small.add("sum", image("sum.png", picture), image_sha256="0" * 64)
    small.add("constant", image("constant.png", np.full((9, 9), 7, np.uint8)))
    nan = draw.normal(size=(5, 5, 5)).astype(np.float32)
    nan[1, 2, 3] = np.nan
    nib.save(nib.Nifti1Image(nan, np.eye(4)), small.data / "nan.nii.gz")
    small.add("nan", "nan.nii.gz")
    (small.data / "cut.png").write_bytes((small.data / "good.png").read_bytes()[:900])
    small.add("cut", "cut.png")
    small.add("shape", image("shape.png", picture[:50]), mask_heart="good_heart.png")
    small.add("value", image("value.png", picture), mask=image("value_mask.png", np.full((96, 96), 77, np.uint8)))
    small.add("nomask", image("nomask.png", picture), mask_heart="gone.png")
    small.add("masksum", image("ms.png", picture), mask=image("ms_mask.png", picture % 2), mask_sha256="1" * 64)
    small.add("colours", image("rgb.tif", np.stack([picture] * 4, -1)))
    small.add("bad id/..", "good.png")
    small.add("both", "good.png", mask="value_mask.png", mask_heart="good_heart.png")
    scans, rejected = small.run()
    assert set(scans) == {"good", "colours"}
    codes = {name: row["code"] for name, row in rejected.items()}
    assert codes == {
        "absent": "missing",
        "sum": "checksum",
        "constant": "constant",
        "nan": "not_finite",
        "cut": "image",
        "shape": "mask",
        "value": "mask",
        "nomask": "missing",
        "masksum": "checksum",
        "line-13": "row",
        "both": "row",
    }
    assert len(scans) + len(rejected) == len(small.rows)
    assert "the mask is 96 × 96 × 1 and the scan 96 × 50 × 1" in rejected["shape"]["reason"]
    assert "no organ of the study: 77" in rejected["value"]["reason"]
    assert [int(row["line"]) for row in rejected.values()] == sorted(int(row["line"]) for row in rejected.values())
    assert any("rejected absent (line 3 of the manifest)" in line for line in small.said)
    assert not any("nowhere" in line or ".png" in line for line in small.said)
    assert not any("nowhere" in row["reason"] or "cut.png" in row["reason"] for row in rejected.values())


def test_the_same_input_gives_the_same_bytes(small):
    for i in range(3):
        small.chest(f"s{i}", i)
    small.add("absent", "nowhere.png")
    small.run()
    first = digests(small.paths.results)
    small.run()
    assert digests(small.paths.results) == first
    assert len(first) == 3 * 2 + 2 * 3 + 2 + 2  # scans and masks, shard tables, shard manifests, tables


def test_what_a_former_run_left_is_cleared(small):
    for i in range(3):
        small.chest(f"s{i}", i)
    scans, _ = small.run()
    old = small.paths.scan(scans["s1"]["shard"], "s1")
    (old.parent / ".part-1-s1.nii.gz").touch()
    small.rows.pop(1)
    small.run()
    assert not old.exists()
    assert not list(old.parent.glob(".part*"))


def test_a_scan_that_brings_the_decoder_down_is_one_rejected_row(small, monkeypatch):
    import os
    import signal

    from pipeline.ingest import one

    small.chest("a", 0)
    small.chest("b", 1)
    small.chest("c", 2)
    small.config["ingest"] = {"shards": 1, "seconds": 2.0}
    real = one._ingest

    def fragile(row, *rest):
        if row.scan_id == "b":
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(row, *rest)

    monkeypatch.setattr(one, "_ingest", fragile)
    scans, rejected = small.run()
    assert set(scans) == {"a", "c"}
    assert rejected["b"]["code"] == "killed"
    assert "SIGSEGV" in rejected["b"]["reason"]


def test_a_manifest_that_changed_after_the_shards_is_an_error(small):
    for i in range(3):
        small.chest(f"s{i}", i)
    small.run()
    small.chest("late", 9)
    small.write()
    with pytest.raises(InputError, match="manifest has 4 rows"):
        ingest.gather(small.study, small.paths)


def test_scans_with_another_number_of_channels_are_rejected(small):
    small.config |= {"modality": "mri", "overlapping": False}
    draw = np.random.default_rng(0)
    for i in range(4):
        shape = (6, 6, 6, 2) if i < 3 else (6, 6, 6)
        nib.save(nib.Nifti1Image(draw.normal(size=shape), np.eye(4)), small.data / f"v{i}.nii.gz")
        small.add(f"v{i}", f"v{i}.nii.gz")
    scans, rejected = small.run()
    assert set(scans) == {"v0", "v1", "v2"}
    assert "has 1 channels and most of the study's have 2" in rejected["v3"]["reason"]
    small.config["ingest"] = {"shards": 1, "channels": ["T1"]}
    scans, rejected = small.run()
    assert set(scans) == {"v3"}
    assert {row["code"] for row in rejected.values()} == {"channels"}


def test_volumes_are_measured_in_millilitres_and_pictures_in_square_centimetres(small):
    small.config |= {"modality": "mri", "overlapping": False, "organs": ["heart"]}
    data = np.random.default_rng(0).normal(size=(10, 10, 10))
    label = np.zeros((10, 10, 10), np.uint8)
    label[2:7, 2:7, 2:6] = 1
    for name, values in (("x", data), ("m", label)):
        nib.save(nib.Nifti1Image(values, np.diag([2.0, 3, 5, 1])), small.data / f"{name}.nii.gz")
    small.add("v", "x.nii.gz", mask="m.nii.gz")
    scans, _ = small.run()
    assert float(scans["v"]["volume_heart"]) == pytest.approx(100 * 30 / 1000)
    assert scans["v"]["orientation"] == "RAS"


def test_a_column_that_ingestion_fills_in_itself_is_refused(small):
    """Whatever a manifest says in it would stand for what was measured."""
    small.chest("a", 0, findings="cardiomegaly")
    with pytest.raises(InputError, match=r"column 'findings'.*ingestion fills in"):
        small.run()
