"""A .seg.nrrd whose segments are called and numbered otherwise than the study's organs, and one of two layers."""

from pathlib import Path

import numpy as np

from tests.field.making import grey, labels, write_nifti, write_study

NAMES = {"swapped": ("tibia", "femur"), "layers": ("femur", "tibia"), "german": ("Schienbein", "Oberschenkel")}


def make(folder: Path) -> None:
    """Write one scan, three segmentations of it, and a second study that maps the German names."""
    truth = labels()
    write_nifti(folder / "data/scan.nii.gz", grey())
    np.save(folder / "truth.npy", truth)
    for name, called in NAMES.items():
        layered = name == "layers"
        data = np.stack([truth == 1, truth == 2]) if layered else np.array([0, 2, 1])[truth][None]
        places = ((0, 1), (1, 1)) if layered else ((0, 1), (0, 2))
        write_segments(folder / f"data/{name}.seg.nrrd", data.astype(np.uint8), dict(zip(called, places, strict=True)))
    rows = [{"scan_id": name, "patient_id": "p", "image": "scan.nii.gz", "mask": f"{name}.seg.nrrd"} for name in NAMES]
    names = {"Schienbein": "tibia", "Oberschenkel": "femur"}
    write_study(folder, rows, names=names, ingest={"shards": 1})
    for place in ("configs/s.yaml", "data_manifests/s.csv"):
        (folder / place.replace("s.", "named.")).write_text((folder / place).read_text())
    write_study(folder, rows, ingest={"shards": 1})


def write_segments(path: Path, layers: np.ndarray, segments: dict[str, tuple[int, int]]) -> None:
    """As 3D Slicer does: in LPS, with layers first."""
    data = layers if len(layers) > 1 else layers[0]
    more, kind = ("none ", "list ") if len(layers) > 1 else ("", "")
    head = [
        *("NRRD0004", "type: unsigned char", f"dimension: {data.ndim}", "space: left-posterior-superior"),
        f"sizes: {' '.join(map(str, data.shape))}",
        f"space directions: {more}(-1,0,0) (0,-1,0) (0,0,3)",
        *(f"kinds: {kind}domain domain domain", "encoding: raw", "space origin: (0,0,0)"),
    ]
    for number, (name, (layer, value)) in enumerate(segments.items()):
        head += [f"Segment{number}_{key}:={text}" for key, text in (("Name", name), ("Layer", layer))]
        head.append(f"Segment{number}_LabelValue:={value}")
    path.write_bytes("\n".join(head).encode() + b"\n\n" + data.tobytes(order="F"))
