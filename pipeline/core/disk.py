"""How much disk a study's results will take, said before the work begins."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.manifest import Manifest
from pipeline.core.names import within
from pipeline.core.study import Study

#: Bytes under ``results`` for each byte of source: the ingested scan, the preprocessed one (float, uncompressed), the
#: predictions and exports. Compressed sources unpack to about four times their size.
PER_SOURCE_BYTE = 12
PER_MODEL = 400 * 2**20  # weights, optimiser state and exported forms of one model and fold
#: Bytes of probabilities for each byte of source and organ: two voxels, as compressed sources hold them, of float32.
PER_PROBABILITY = 8
SAMPLE = 200


def estimate(study: Study, manifest: Manifest, data: Path) -> int:
    """Bytes that the study will need, from the sizes of up to 200 of its scans.

    Raises:
        InputError: The disk has less free than the estimate.
    """
    rows = manifest.rows[:: max(1, len(manifest.rows) // SAMPLE)][:SAMPLE]
    sizes = [sum(_size(within(data, name)) for name in row.images) for row in rows]
    source = sum(sizes) / max(len(sizes), 1) * len(manifest.rows)
    trained = 0 if study.model else len(study.models) * study.split.folds
    need = int(source * PER_SOURCE_BYTE + trained * PER_MODEL)
    if "probabilities" in study.export.formats:
        channels = len(study.organs) + (not study.overlapping)
        need += int(source * _predicted(study, manifest) * channels * PER_PROBABILITY)
    free = shutil.disk_usage(Path()).free
    if free < need:
        raise InputError(
            f"the work needs about {say_size(need)} of disk, and {say_size(free)} are free",
            remedy="Free some space, or run where there is more.",
        )
    return need


def _predicted(study: Study, manifest: Manifest) -> float:
    """Share of the scans that the champion predicts: the test's, about, and those without masks."""
    labelled = sum(row.labelled for row in manifest.rows) / max(len(manifest.rows), 1)
    return 1.0 if study.model else 1 - labelled * (1 - study.split.test_fraction)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size if path.is_file() else 0


def say_size(count: float) -> str:
    """Bytes in a unit that a person reads, such as ``3.4 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
