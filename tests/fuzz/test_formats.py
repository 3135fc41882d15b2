"""Mutated files of every kind: no crash, no hang, no gluttony, and a reason for each."""

import time

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.scan import FRONTAL_AFFINE, Scan
from pipeline.core.study import Ingest, Organ
from pipeline.formats.masks import read_masks
from pipeline.formats.table import read_scan_file
from pipeline.formats.worker import Worker
from tests.formats.conftest import Making
from tests.fuzz.mutations import mutate, seeds

CASES = 2400
SECONDS = 10
MEMORY_GIB = 2
OPTIONS = Ingest(rle_dialect="kaggle", memory_gib=MEMORY_GIB)


def attempt(path, kind):
    """In the worker: read a mutated file; the shape and the peak memory in MiB."""
    import resource
    from pathlib import Path

    try:
        if kind == "csv":
            scan = Scan(np.zeros((1, 30, 20, 1)), FRONTAL_AFFINE, "xray", "unknown")
            labels = read_masks(Path(path), scan, {"a": Organ()}, OPTIONS, names=("s1",))
            said = str(labels.data.shape)
        else:
            said = str(read_scan_file([Path(path)], "mri", OPTIONS).voxels.shape)
    except InputError as error:
        said = f"refused: {error.what}"
    return {"said": said, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


@pytest.mark.slow
def test_mutated_files_end_in_a_reason_or_a_reading(tmp_path):
    import os
    from pathlib import Path

    folder = os.environ.get("ORGANSEG_DATA")
    real = Path(folder) / "dicom" if folder and (Path(folder) / "dicom").is_dir() else None
    originals = seeds(Making, real)
    draw = np.random.default_rng(2024)
    slowest, highest, deaths, reasons = 0.0, 0.0, [], {}
    with Worker(SECONDS, MEMORY_GIB) as worker:
        for number in range(CASES):
            kind, raw = originals[number % len(originals)]
            path = tmp_path / f"case{number}.{kind}"
            path.write_bytes(mutate(raw, kind, draw))
            start = time.monotonic()
            try:
                answer = worker.call(f"{__name__}:attempt", {"path": str(path), "kind": kind})
                highest = max(highest, answer["peak"])
                reason = answer["said"].split(":")[1][:24] if answer["said"].startswith("refused") else "read"
            except InputError as error:
                deaths.append((path.name, error.what))
                reason = error.what[:24]
                continue
            finally:
                slowest = max(slowest, time.monotonic() - start)
                path.unlink()
            reasons[reason] = reasons.get(reason, 0) + 1
    print(f"\n{CASES} files: slowest {slowest:.2f} s, peak {highest:.0f} MiB, worker replaced {len(deaths)} times")
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:20]:
        print(f"{count:5d} {reason}")
    print(deaths)
    assert slowest < SECONDS + 1
    assert highest < MEMORY_GIB * 1024
    # A native decoder may crash; that the caller sees a reason, and goes on, is what counts. Most files end in words.
    assert len(deaths) < CASES / 100
    assert all(what for _, what in deaths)
    assert sum(reasons.values()) + len(deaths) == CASES
