"""Others' programs draw the DICOM SEG over its source: it lies where our pictures show it, the right way round.

Volumes: dcmqi reads the object, GDCM (in SimpleITK) the series, SimpleITK draws. Single radiographs, whose objects have
no place in the patient and which dcmqi refuses: DCMTK draws both.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image

from pipeline.core.labels import LabelMap
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Ingest
from pipeline.formats.dicom.seg_writer import write_seg
from pipeline.formats.table import read_scan_file
from pipeline.imaging.pictures import overlay
from tests.predict.studies import ORGANS, phantom

COLORS = {"left": "#ff0000", "right": "#00ff00"}
Tool = Callable[..., str]


def read_with_dcmqi(seg: Path, folder: Path) -> dict[str, SimpleITK.Image]:
    """Organ → image of 0 and 1, placed in the patient."""
    dcmqi = pytest.importorskip("dcmqi")
    program = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    folder.mkdir()
    command = [str(program), "--inputDICOM", str(seg), "--outputDirectory", str(folder), "--outputType", "nrrd"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in pydicom.dcmread(seg).SegmentSequence}
    return {name: SimpleITK.ReadImage(str(folder / f"{number}.nrrd")) != 0 for number, name in names.items()}


def read_series(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return SimpleITK.Cast(reader.Execute(), SimpleITK.sitkFloat32)


def write(folder: Path, scan: Scan, masks: dict[str, np.ndarray], *, overlapping: bool) -> tuple[Path, LabelMap]:
    labels = LabelMap.from_masks(masks, scan.affine, list(masks), overlapping=overlapping)
    return write_seg(folder, "s", scan, labels, study="x", codes={}, colors=COLORS, model="unet"), labels


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_series_drawn_by_dcmqi_and_itk(tmp_path: Path, overlapping: bool) -> None:
    scan, masks = phantom(3)
    if overlapping:
        masks = {**masks, "left": masks["left"] | masks["right"]}
    seg, labels = write(tmp_path / "out", scan, masks, overlapping=overlapping)
    source = SimpleITK.DICOMOrient(read_series(seg.parent / "source"), "LPS")
    theirs = read_with_dcmqi(seg, tmp_path / "read")
    for organ, image in theirs.items():
        placed = SimpleITK.Resample(image, source, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
        found = SimpleITK.GetArrayFromImage(placed) > 0  # slices, rows to the back, columns to the patient's left
        # LPS to RAS, and to the array order of the scan.
        np.testing.assert_array_equal(found.transpose(2, 1, 0)[::-1, ::-1], masks[organ])
        rows, columns = np.nonzero(found.any(axis=0))
        ours = np.asarray(overlay(scan, labels, None, {organ: COLORS[organ]}, legend=False))
        drawn = np.argwhere((ours == list(bytes.fromhex(COLORS[organ][1:]))).all(-1))
        scale = np.array(ours.shape[:2]) / found.shape[1:]
        np.testing.assert_allclose(drawn.min(0), np.array([rows.min(), columns.min()]) * scale, atol=1)
        np.testing.assert_allclose(drawn.max(0) + 1, np.array([rows.max() + 1, columns.max() + 1]) * scale, atol=1)
        if not overlapping:
            # The phantom's left organ is bright, its right one dark.
            values = SimpleITK.GetArrayFromImage(source)
            assert (values[found].mean() > np.median(values)) == (organ == "left")
            assert (columns.mean() > found.shape[2] / 2) == (organ == "left")


def test_a_real_series_keeps_its_place(tmp_path: Path, real_data: Path) -> None:
    """GDCM finds the de-identified source where it finds the original, voxel for voxel, and dcmqi the organ on it."""
    series = real_data / "dicom" / "mri_series" / "btp_study1" / "hippocrop"
    scan = read_scan_file([series], "mri", Ingest())
    mask = scan.voxels[0] > np.percentile(scan.voxels[0], 90)
    mask[: mask.shape[0] // 2] = False
    seg, _ = write(tmp_path / "out", scan, {"left": mask}, overlapping=False)
    original, source = read_series(series), read_series(seg.parent / "source")
    source = SimpleITK.Resample(source, original, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(source), SimpleITK.GetArrayFromImage(original))
    placed = read_with_dcmqi(seg, tmp_path / "read")["left"]
    placed = SimpleITK.Resample(placed, original, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    values = SimpleITK.GetArrayFromImage(original)[SimpleITK.GetArrayFromImage(placed) > 0]
    np.testing.assert_array_equal(np.sort(values), np.sort(scan.voxels[0][mask]))


def rendered(program: str, file: Path, out: Path) -> list[np.ndarray]:
    """Every frame of an object as DCMTK draws it, ``(rows, columns)``."""
    done = subprocess.run(
        [program, "+Fa", "+Wm", "--write-raw-pnm", str(file), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    frames = sorted(out.parent.glob(f"{out.name}.*.pgm"), key=lambda path: int(path.suffixes[-2][1:]))
    return [np.asarray(Image.open(path)) for path in frames]


def check_radiograph(seg: Path, scan: Scan, labels: LabelMap, program: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compare DCMTK's drawing with ours; gives organ → mask and the source's grey values under it."""
    source = rendered(program, seg.parent / "source" / "0001.dcm", seg.parent / "source_drawn")[0]
    frames = rendered(program, seg, seg.parent / "seg_drawn")
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in pydicom.dcmread(seg).SegmentSequence}
    colors = {organ: f"#{60 * (number % 4):02x}ff{80 * (number % 3):02x}" for number, organ in enumerate(labels.organs)}
    found = {}
    for number, frame in enumerate(frames, 1):
        organ = names[number]
        mask = frame > 0
        alone = LabelMap.from_masks({organ: labels.mask(organ)}, scan.affine, [organ], overlapping=False)
        ours = np.asarray(overlay(scan, alone, None, colors, legend=False, size=max(mask.shape)))
        edge = (ours == list(bytes.fromhex(colors[organ][1:]))).all(-1)
        # Our outline lies inside their mask, and touches its borders on all four sides.
        assert mask[edge].all(), organ
        for one, other in zip(np.nonzero(mask), np.nonzero(edge), strict=True):
            assert (one.min(), one.max()) == (other.min(), other.max()), organ
        found[organ] = mask, source[mask]
    return found


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_radiograph_drawn_by_dcmtk(tmp_path: Path, tool: Tool, overlapping: bool) -> None:
    scan, masks = phantom(3, flat=True)
    scan = Scan(scan.voxels, FRONTAL_AFFINE, "xray", "unknown")
    if overlapping:
        masks = {**masks, "left": masks["left"] | masks["right"]}
    seg, labels = write(tmp_path / "out", scan, masks, overlapping=overlapping)
    found = check_radiograph(seg, scan, labels, tool("dcmj2pnm"))
    assert set(found) == set(ORGANS)
    if not overlapping:
        assert found["left"][1].mean() > 200 > 60 > found["right"][1].mean()


def test_a_real_radiograph_drawn_by_dcmtk(tmp_path: Path, tool: Tool, real_data: Path) -> None:
    """The heart lies on the right of the picture, the patient's left; lungs are darker than what is between them."""
    folder = real_data / "xray_wingspan"
    pixels = np.asarray(Image.open(folder / "images" / "WS0010.png").convert("L"))
    scan = Scan(pixels.T[None, :, :, None].copy(), FRONTAL_AFFINE, "xray", "unknown")
    masks = {
        organ: (np.asarray(Image.open(folder / "masks_raw" / organ / "WS0010.png").convert("L")) > 127).T[..., None]
        for organ in ("left_lung", "right_lung", "heart")
    }
    seg, labels = write(tmp_path / "out", scan, masks, overlapping=True)
    found = check_radiograph(seg, scan, labels, tool("dcmj2pnm"))
    middle = {organ: np.nonzero(mask)[1].mean() / mask.shape[1] for organ, (mask, _) in found.items()}
    assert middle["right_lung"] < 0.5 < middle["heart"] < middle["left_lung"]
    assert found["heart"][1].mean() > found["right_lung"][1].mean()
