"""``organseg ingest PATH… --out DIR`` without a study."""

import csv

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.cli.ingest import ingest_files
from pipeline.core.errors import InputError


def table(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def folder(tmp_path):
    """A volume, a radiograph, a photograph and a text."""
    draw = np.random.default_rng(0)
    deep = tmp_path / "in" / "deep"
    deep.mkdir(parents=True)
    nib.save(nib.Nifti1Image(draw.normal(size=(5, 6, 7)).astype(np.float32), np.diag([-2.0, 2, 2, 1])), deep / "v.nii")
    Image.fromarray(draw.integers(0, 255, (9, 8)).astype(np.uint8)).save(tmp_path / "in" / "x.png")
    Image.fromarray(draw.integers(0, 255, (9, 8, 3)).astype(np.uint8)).save(tmp_path / "in" / "y.jpg")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    return tmp_path / "in"


def test_a_folder_of_anything(folder, tmp_path, capsys):
    assert ingest_files([folder], tmp_path / "out", None) == 0
    rows = table(tmp_path / "out" / "scans.csv")
    assert [row["modality"] for row in rows] == ["mri", "xray", "photo"]
    assert [row["scan_id"] for row in rows] == ["scan_0001", "scan_0002", "scan_0003"]
    passed = table(tmp_path / "out" / "rejected.csv")
    assert [(row["scan_id"], row["code"]) for row in passed] == [("", "not_an_image")]
    written = nib.load(tmp_path / "out" / "scans" / "scan_0001.nii.gz")
    twin = nib.as_closest_canonical(nib.load(folder / "deep" / "v.nii"))
    np.testing.assert_array_equal(written.get_fdata(), twin.get_fdata())
    np.testing.assert_allclose(written.affine, twin.affine)
    out = capsys.readouterr().out
    assert "3 scans read, 0 rejected, 1 objects passed over" in out
    assert str(folder / "x.png") in out


def test_a_damaged_file_is_exit_code_three(folder, tmp_path, capsys):
    (folder / "bad.nii").write_bytes((folder / "deep" / "v.nii").read_bytes()[:-9])
    assert ingest_files([folder], tmp_path / "out", "mri") == 3
    assert len(table(tmp_path / "out" / "scans.csv")) == 3
    assert "rejected: the voxels end early" in capsys.readouterr().out


def test_a_text_file_named_by_itself_is_a_failure(folder, tmp_path, capsys):
    assert ingest_files([folder / "notes.txt"], tmp_path / "out", None) == 3
    assert "is a text file, not an image" in capsys.readouterr().out


def test_wrong_arguments(folder, tmp_path):
    with pytest.raises(InputError, match="no modality 'pet'"):
        ingest_files([folder], tmp_path / "out", "pet")
    with pytest.raises(InputError, match="does not exist"):
        ingest_files([folder / "nowhere"], tmp_path / "out", None)


def test_a_file_that_brings_the_decoder_down_does_not_take_the_folder_with_it(folder, tmp_path, monkeypatch, capsys):
    import os
    import signal

    from pipeline.formats import table as formats

    real = formats.sniff

    def fragile(path):
        if path.name == "x.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path)

    monkeypatch.setattr(formats, "sniff", fragile)
    assert ingest_files([folder], tmp_path / "out", None) == 3
    assert len(table(tmp_path / "out" / "scans.csv")) == 2
    assert "reading was ended from outside, twice (SIGKILL)" in capsys.readouterr().out


def test_any_number_of_readers_writes_the_same(folder, tmp_path, monkeypatch):
    from pipeline.ingest import alone

    draw = np.random.default_rng(1)
    for number in range(6):
        image = nib.Nifti1Image(draw.normal(size=(5, 6, 7)).astype(np.float32), np.diag([2.0, -2, 2, 1]))
        nib.save(image, folder / f"more{number}.nii.gz")
    (folder / "bad.nii").write_bytes((folder / "deep" / "v.nii").read_bytes()[:-9])
    monkeypatch.setattr(alone, "_FEWEST_EACH", 1)
    monkeypatch.setattr(alone, "_MANY_FILES", 5)
    written = []
    for count in (1, 3):
        monkeypatch.setattr(alone, "_processes", lambda count=count: count)
        out = tmp_path / f"out{count}"
        assert ingest_files([folder], out, None) == 3
        written.append({str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.*")})
    assert written[0] == written[1]
    assert len(written[0]) == 9 + 2
