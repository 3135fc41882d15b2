"""What is fuzzed: readers, run lengths, manifests, configs and champions, each a function of a file's path."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from organseg import rle
from pipeline.core.manifest import load_manifest
from pipeline.core.plan import read_plan
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Ingest, Organ, load_study, parse_study
from pipeline.formats.masks import read_masks
from pipeline.formats.table import read_scan_file
from pipeline.inference.champion import member_plan, read_champion
from pipeline.quality.judge import open_judge

ROOT = Path(__file__).parents[2]
MEMORY_GIB = 2.0


@dataclass(frozen=True)
class Target:
    """Something that reads a file.

    Attributes:
        run: Reads it; raises ``InputError`` where it is refused.
        seeds: Gives endings and contents of whole files.
    """

    run: Callable[[Path], object]
    seeds: Callable[[], Iterator[tuple[str, bytes]]]


def read_image(path: Path) -> object:
    """As ``ingest`` and ``predict`` read a scan."""
    return read_scan_file([path], "mri", Ingest(memory_gib=MEMORY_GIB)).voxels.shape


def read_mask(path: Path) -> object:
    """As ``ingest`` reads a mask beside a picture."""
    scan = Scan(np.zeros((1, 30, 20, 1)), FRONTAL_AFFINE, "xray", "unknown", notes={"format": "raster"})
    options = Ingest(memory_gib=MEMORY_GIB, rle_dialect="kaggle")
    return read_masks(path, scan, {"a": Organ()}, options, names=("s1",)).data.shape


def read_runs(path: Path) -> object:
    """As ``rle detect`` and ``rle convert`` read a table."""
    rle.detect(path)
    return rle.convert(path, path.with_suffix(".out.csv"), "organseg", dialect="kaggle", size=(20, 30))


def read_manifest(path: Path) -> object:
    """As every stage reads a manifest."""
    return load_manifest(path, load_study("demo_xray", ROOT))


def read_config(path: Path) -> object:
    """As every command reads a config."""
    from pipeline.core.files import read_yaml

    return parse_study(read_yaml(path), str(path))


def read_model(path: Path) -> object:
    """As ``predict`` reads what lies in a champion's folder beside the networks, before it opens them."""
    folder = path.parent / "model"
    folder.mkdir(exist_ok=True)
    name = {".yaml": "champion.yaml", ".plan": "plan.yaml"}.get(path.suffix, "model.json")
    target = folder / ("quality.json" if path.suffix == ".quality" else name)
    target.write_bytes(path.read_bytes())
    try:
        if name == "champion.yaml":
            champion = read_champion(folder)
            return champion.as_study(), champion.thresholds(), champion.is_untouched()
        if target.name == "quality.json":
            return open_judge(folder)
        return read_plan(target) if name == "plan.yaml" else member_plan(folder)
    finally:
        target.unlink()


def image_seeds() -> Iterator[tuple[str, bytes]]:
    """Small whole files of every kind."""
    from tests.formats.conftest import Making
    from tests.fuzz.mutations import seeds

    return ((kind, raw) for kind, raw in seeds(Making, None) if kind != "csv")


def mask_seeds() -> Iterator[tuple[str, bytes]]:
    """Pictures, volumes, tables and objects that hold masks."""
    yield "csv", b"ImageId,EncodedPixels\ns1,1 3 10 5 40 6\ns2,\n"
    yield from (item for item in image_seeds() if item[0] != "dcm")
    yield from segmentation_seeds()


def segmentation_seeds() -> Iterator[tuple[str, bytes]]:
    """A segmentation of two layers, a labelmap object and a structure set, on the grid of :func:`read_mask`."""
    from pydicom.dataset import Dataset
    from pydicom.uid import RTStructureSetStorage, SegmentationStorage

    from tests.formats.conftest import Making

    values = np.zeros((20, 30), np.uint8)
    values[4:9, 5:20] = 1
    head = (
        "NRRD0004\ntype: uint8\ndimension: 4\nsizes: 2 30 20 1\nspace: left-posterior-superior\n"
        "space directions: none (1,0,0) (0,1,0) (0,0,1)\nkinds: list domain domain domain\nencoding: raw\n"
        "Segment0_Name:=a\nSegment0_Layer:=0\nSegment0_LabelValue:=1\nSegment1_Name:=background\nSegment1_Layer:=1\n\n"
    )
    yield "nrrd", head.encode() + np.stack([values.T, values.T]).tobytes(order="F")
    labelmap = Making.dicom_file(SegmentationStorage, values)
    segment, frame, item = Dataset(), Dataset(), Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "a"
    labelmap.Modality, labelmap.SegmentationType, labelmap.NumberOfFrames = "SEG", "LABELMAP", 1
    labelmap.SegmentSequence, labelmap.PerFrameFunctionalGroupsSequence = [segment], [frame]
    contours = Making.dicom_file(RTStructureSetStorage, values)
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        del contours[name]
    roi, drawn = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber = 1, "a", 1
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.ContourData = [4.5, 0, -4.5, 19.5, 0, -4.5, 19.5, 0, -8.5, 4.5, 0, -8.5]
    drawn.ContourSequence = [item]
    contours.Modality, contours.StructureSetROISequence, contours.ROIContourSequence = "RTSTRUCT", [roi], [drawn]
    for data in (labelmap, contours):
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
        yield "dcm", buffer.getvalue()


def run_seeds() -> Iterator[tuple[str, bytes]]:
    """Tables and JSON of run lengths."""
    yield "csv", b"ImageId,EncodedPixels\ns1,1 3 10 5 40 6\ns2,\n"
    yield "csv", b"ImageId,ClassId,EncodedPixels\ns1,1,1 3 10 5\ns1,2,200 6\n"
    yield "csv", b"id,class,segmentation\ncase1_day0_slice_0001,stomach,1 3 10 5\n"
    yield "csv", b"ImageId, EncodedPixels\ns1, -1\ns2, 10 3 40 5\n"
    annotation = {"image_id": 1, "category_id": 1, "segmentation": {"size": [20, 30], "counts": [5, 3, 592]}}
    images, categories = [{"id": 1, "file_name": "s1", "height": 20, "width": 30}], [{"id": 1, "name": "a"}]
    yield "json", json.dumps({"images": images, "categories": categories, "annotations": [annotation]}).encode()
    yield "json", json.dumps([annotation]).encode()


def manifest_seeds() -> Iterator[tuple[str, bytes]]:
    """A manifest with every column."""
    head = b"scan_id,patient_id,image,mask,mask_heart,image_sha256,not_annotated,split,fold,site\n"
    yield "csv", head + b"s1,p1,a.png,,h.png,,left_lung,test,,north\ns2,p2,b.png;c.png,m.csv,,,,development,0,\n"


def config_seeds() -> Iterator[tuple[str, bytes]]:
    """The configs that come along."""
    return (("yaml", path.read_bytes()) for path in sorted((ROOT / "configs").glob("*.yaml")))


def model_seeds() -> Iterator[tuple[str, bytes]]:
    """What describes a champion."""
    import tempfile

    from tests.predict.huge import plan_of, write_champion

    with tempfile.TemporaryDirectory() as folder:
        write_champion(Path(folder))
        yield "yaml", (Path(folder) / "champion.yaml").read_bytes()
        yield "quality", (Path(folder) / "quality.json").read_bytes()
        yield "json", (Path(folder) / "unet_fold0" / "model.json").read_bytes()
        plan_of().write(Path(folder) / "plan.yaml")
        yield "plan", (Path(folder) / "plan.yaml").read_bytes()


TARGETS = {
    "image": Target(read_image, image_seeds),
    "mask": Target(read_mask, mask_seeds),
    "runs": Target(read_runs, run_seeds),
    "manifest": Target(read_manifest, manifest_seeds),
    "config": Target(read_config, config_seeds),
    "model": Target(read_model, model_seeds),
}
