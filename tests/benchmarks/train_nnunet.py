"""Hippocampus beside nnU-Net v2: the same training patients, the same wall-clock, one core each.

``ORGANSEG_DATA=… python tests/benchmarks/train_nnunet.py --nnunet ENVIRONMENT [--minutes 15] [--work FOLDER]``

ENVIRONMENT is a virtual environment that holds ``nnunetv2`` (it wants torchvision, which needs a build for the same
torch, so it has one of its own: ``python -m venv ENVIRONMENT; ENVIRONMENT/bin/pip install torch==2.13.0 nnunetv2``).
nnU-Net plans and preprocesses (not counted), then both train at once, each pinned to a core; ``nnUNetv2_predict`` then
segments sixty volumes on one core, mirrored as by default and without: the test's, whose Dice stands beside ours, and
others for the time alone; ``organseg predict`` with the champion does the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from plain_loop import compare
from train_hippocampus import prepare_study

from pipeline.core.files import read_table, write_json
from pipeline.core.paths import StudyPaths
from pipeline.core.splits import by_part, fold_sides, read_splits
from pipeline.core.study import Study
from pipeline.formats.nnunet import NnunetFolder
from pipeline.formats.store import read_labels, read_scan
from pipeline.metrics.overlap import dice

HERE = Path(__file__).resolve().parent
DATASET = "Dataset004_hippocampus"


def on_core(core: int, command: list[str], folder: Path, workers: int = 0) -> list[str]:
    """A command held to one core, with one thread and nnU-Net's folders."""
    folders = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    # nnUNetv2_predict takes as many threads as the machine has, but no more than nnUNet_def_n_proc.
    own = {**folders, "nnUNet_n_proc_DA": str(workers), "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
    return ["env", *(f"{key}={value}" for key, value in own.items()), "taskset", "-c", str(core), *command]


def write_dataset(study: Study, paths: StudyPaths, folder: Path) -> None:
    """The study as nnU-Net's raw folder, with our split as its fold 0."""
    rows, splits = read_table(paths.scans_csv), read_splits(paths.splits)
    raw = NnunetFolder(folder / "raw" / DATASET, study.organ_names(), study.overlapping)
    sides = fold_sides(rows, splits, 0)
    for training, chosen in ((True, [*sides[0], *sides[1]]), (False, by_part(rows, splits, "test"))):
        for row in chosen:
            scan = read_scan(paths.scan(row["shard"], row["scan_id"]))
            raw.add(row["scan_id"], scan, read_labels(paths.mask(row["shard"], row["scan_id"])), training=training)
    raw.close()
    names = [[row["scan_id"] for row in side] for side in sides]
    write_json(folder / "preprocessed" / DATASET / "splits_final.json", [{"train": names[0], "val": names[1]}])


def dice_of(out: Path, raw: Path, rows: list[dict[str, str]], organs: tuple[str, ...]) -> dict[str, list[list[float]]]:
    """Dice of each organ, patient by patient, of the volumes that ``nnUNetv2_predict`` wrote."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        name = f"{row['scan_id']}.nii.gz"
        mask, truth = (np.asarray(nib.load(place / name).dataobj) for place in (out, raw / "labelsTs"))
        scores = [dice(mask == value, truth == value) for value in range(1, len(organs) + 1)]
        found.setdefault(row["patient_id"], []).append(scores)
    return found


def predict(tools: Path, folder: Path, images: Path, out: Path, *, mirrored: bool) -> float:
    """Segment a folder with ``nnUNetv2_predict``, all in one process on one core; gives seconds, its start included."""
    command = [str(tools / "nnUNetv2_predict"), "-i", str(images), "-o", str(out), "-d", DATASET[7:10]]
    command += ["-c", "3d_fullres", "-f", "0", "-device", "cpu", "-npp", "0", "-nps", "0"]
    start = time.perf_counter()
    subprocess.run(on_core(0, command + ([] if mirrored else ["--disable_tta"]), folder), check=True)
    return time.perf_counter() - start


def predict_ours(study: Study, paths: StudyPaths, images: Path, out: Path) -> float:
    """Choose the champion, then segment the folder with ``organseg predict`` as :func:`predict` does."""
    from pipeline import predict, select

    predict.run(study, paths, "oof", "unet", threads=1, say=print)
    select.run(study, paths, threads=1, say=print)
    command = [sys.executable, "-m", "pipeline", "predict", str(images), "--model", str(paths.champion)]
    command += ["--out", str(out), "--formats", "nifti", "--threads", "1"]
    start = time.perf_counter()
    # Scans that it judges doubtful are no failure; 3 would be.
    subprocess.run(on_core(0, command, out), check=True, stdout=subprocess.DEVNULL, cwd=HERE.parents[1])
    return time.perf_counter() - start


def main() -> None:
    """Train both, predict, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnunet", type=Path, required=True, help="environment that holds nnunetv2")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(given, (given.work or Path(temporary)).resolve())


def measure(given: Any, work: Path) -> None:
    """Do it all in a folder."""
    tools, folder = given.nnunet.resolve() / "bin", work / "nnunet"
    study, paths = prepare_study("hippocampus", work, "unet", {}, {"minutes": given.minutes})
    if paths.model("unet", 0).exists():
        sys.exit(f"{work} holds a trained model; nnU-Net would train alone, with the machine to itself")
    raw = folder / "raw" / DATASET
    if not (folder / "preprocessed" / DATASET / "nnUNetPlans.json").is_file():
        write_dataset(study, paths, folder)
        command = [str(tools / "nnUNetv2_plan_and_preprocess"), "-d", DATASET[7:10], "-c", "3d_fullres"]
        subprocess.run(on_core(0, [*command, "-np", "1", "-npfp", "1"], folder, workers=1), check=True)
    loop = [str(tools / "python"), str(HERE / "nnunet_loop.py")]
    ours = [sys.executable, str(HERE / "train_hippocampus.py"), "--minutes", str(given.minutes), "--threads", "1"]
    jobs = [
        subprocess.Popen(on_core(0, [*loop, "train", DATASET, str(given.minutes)], folder)),
        subprocess.Popen(on_core(1, [*ours, "--work", str(work)], folder)),
    ]
    codes = [job.wait() for job in jobs]
    if any(codes):
        sys.exit("a training failed")
    subprocess.run(on_core(0, [*loop, "time", DATASET, "5"], folder), check=True)
    images = sixty(raw)
    seconds = predict_ours(study, paths, images, folder / "ours")
    print(f"\nours, mirrored: {len(list(images.iterdir()))} volumes in {seconds:.1f} s on one core, start included")
    rows = by_part(read_table(paths.scans_csv), read_splits(paths.splits), "test")
    for mirrored in (True, False):
        out = folder / ("mirrored" if mirrored else "plain")
        seconds = predict(tools, folder, images, out, mirrored=mirrored)
        name = "nnU-Net, mirrored" if mirrored else "nnU-Net, not mirrored"
        print(
            f"\n{name}: {len(list(images.iterdir()))} volumes in {seconds:.1f} s on one core; the test patients' Dice:"
        )
        found = dice_of(out, raw, rows, study.organ_names())
        table = np.array([np.nanmean(scores, axis=0) for scores in found.values()])
        compare(study.organ_names(), table, name, paths, found)


def sixty(raw: Path) -> Path:
    """A folder of sixty volumes: the test's, filled up with others for the time alone."""
    folder = raw.parent / "sixty"
    folder.mkdir(exist_ok=True)
    for path in [*sorted((raw / "imagesTs").iterdir()), *sorted((raw / "imagesTr").iterdir())][:60]:
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)
    return folder


if __name__ == "__main__":
    main()
