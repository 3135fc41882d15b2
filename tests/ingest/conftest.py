"""Small studies of scans made on the spot."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage  # noqa: F401 - imported once here instead of in every worker
import yaml
from PIL import Image

from pipeline import ingest
from pipeline.core.manifest import load_manifest, manifest_path
from pipeline.core.paths import StudyPaths
from pipeline.core.shards import write_shards
from pipeline.core.study import data_root, load_study

ORGANS = ("left_lung", "right_lung", "heart")


class SmallStudy:
    """A study in a folder of its own: config, data and manifest rows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "source"
        self.data.mkdir()
        self.rows: list[dict[str, str]] = []
        self.config = {"modality": "xray", "overlapping": True, "organs": list(ORGANS), "data_root": "source"}
        self.config["ingest"] = {"shards": 2}

    def add(self, scan_id: str, image: str, **cells: str) -> None:
        """Add a row."""
        self.rows.append({"scan_id": scan_id, "patient_id": cells.pop("patient_id", scan_id), "image": image, **cells})

    def chest(self, scan_id: str, seed: int, **cells: str) -> dict[str, np.ndarray]:
        """Add a picture of two lungs and a heart with a mask file for each; returns the masks, (rows, columns)."""
        draw = np.random.default_rng(seed)
        rows, columns = np.mgrid[:96, :96]

        def blob(x, y, a, b):
            x, y, a, b = (v * draw.normal(1, 0.04) for v in (x, y, a, b))
            return ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1

        masks = {"right_lung": blob(26, 44, 14, 30), "left_lung": blob(70, 44, 12, 28), "heart": blob(54, 62, 16, 14)}
        smooth = np.kron(draw.normal(0, 1, (8, 8)), np.ones((12, 12)))
        pixels = 150 - 80 * (masks["right_lung"] | masks["left_lung"]) + 40 * masks["heart"] + 12 * smooth
        pixels += draw.normal(0, 4, pixels.shape)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(self.data / f"{scan_id}.png")
        for organ, mask in masks.items():
            Image.fromarray((mask * 255).astype(np.uint8)).save(self.data / f"{scan_id}_{organ}.png")
        self.add(scan_id, f"{scan_id}.png", **{f"mask_{o}": f"{scan_id}_{o}.png" for o in masks}, **cells)
        return masks

    def write(self) -> None:
        """Write config, manifest and shard manifests."""
        (self.root / "configs").mkdir(exist_ok=True)
        (self.root / "configs" / "small.yaml").write_text(yaml.safe_dump(self.config))
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        (self.root / "data_manifests").mkdir(exist_ok=True)
        with open(self.root / "data_manifests" / "small.csv", "w", newline="") as handle:
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        self.study, self.paths = load_study("small", self.root), StudyPaths("small", self.root)
        manifest = load_manifest(manifest_path("small", self.root), self.study)
        write_shards(self.paths, self.study, manifest, data_root(self.study, self.root))

    def run(self) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
        """Ingest everything; returns ``scans.csv`` and ``rejected.csv`` by scan_id."""
        self.write()
        self.said: list[str] = []
        for shard in range(self.study.ingest.shards):
            ingest.run_shard(self.study, self.paths, shard, say=self.said.append)
        ingest.gather(self.study, self.paths, say=self.said.append)
        return self.tables()

    def tables(self) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
        """The tables as they lie on disk."""
        found = []
        for path in (self.paths.scans_csv, self.paths.rejected_csv):
            with open(path, newline="") as handle:
                found.append({row["scan_id"]: row for row in csv.DictReader(handle)})
        return found[0], found[1]

    def facts(self) -> list[dict]:
        """What the shards hand to the comparison with the cohort."""
        files = sorted(self.paths.results.glob("ingest/*/facts.json"))
        return [fact for file in files for fact in json.loads(file.read_text())]


@pytest.fixture
def small(tmp_path: Path) -> SmallStudy:
    """An empty study."""
    return SmallStudy(tmp_path)
