"""A folder of scans with one model: scans a second, and the share of the time that the networks take.

    python tests/benchmarks/predict_folder.py MODEL --images FOLDER [--threads 2] [--backend onnxruntime] [--mirror]
    python tests/benchmarks/predict_folder.py MODEL --pictures 1000 --size 256 [--formats nifti,overlays]

The first form takes every scan of a folder (sixty hippocampus volumes, say); with ``--masks`` it also prints the Dice.
The second makes radiographs as the demo has them on the spot; give it the demo's champion, which knows them. What is
measured is ``organseg predict`` itself, from the opened model to the last file: reading, predicting, writing, reading
back, judging and putting aside. The share in the networks is that of the thread that runs them, while other threads
read and write. Give one core as ``taskset -c 0 … --threads 1``; processor seconds are printed too, for machines that
others use.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.cli import predict
from pipeline.core.scan import Array
from pipeline.demo.chest import Chest
from pipeline.demo.film import Technique, develop
from pipeline.demo.rays import Beam, turn
from pipeline.inference.champion import read_champion
from pipeline.metrics.overlap import dice
from pipeline.predict import model as model_module


class Watch:
    """A forward function that knows how long it took."""

    def __init__(self, forward: Callable[[Array], Array]) -> None:
        self.forward = forward
        self.seconds = 0.0

    def __call__(self, batch: Array) -> Array:
        """Predict a batch."""
        start = time.perf_counter()
        answer = self.forward(batch)
        self.seconds += time.perf_counter() - start
        return answer


def make_pictures(folder: Path, count: int, size: int) -> None:
    """Radiographs of the demo's kind (of twenty people, each picture developed anew), as 8-bit PNG."""
    rng = np.random.default_rng(0)
    films = []
    for _ in range(min(count, 20)):
        pose = turn(2, rng.normal(0, 5)) @ turn(0, rng.normal(0, 5)) @ turn(1, rng.normal(0, 3.5))
        beam = Beam.aim((size, size), 1.6 * 256 / size, 1800.0, 165.0, from_front=False, pose=pose, shift=[0, 0, 0])
        films.append(Chest(rng).expose(beam)[0])
    for number in range(count):
        gamma, brightness = float(rng.uniform(0.8, 1.25)), float(rng.normal(0, 0.06))
        technique = Technique(20000.0, float(rng.uniform(0.5, 1.2)), gamma, brightness, "R", "", (0, 0, 0, 0))
        picture = develop(films[number % len(films)], technique, rng) >> 4
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{number:04d}.png")


def mean_dice(masks: Path, found: Path, values: dict[str, int]) -> dict[str, float]:
    """Mean Dice of each organ over the label volumes ``found/*.nii.gz``, against those of the same names."""
    import nibabel as nib

    scores = []
    for path in sorted(found.glob("*.nii.gz")):
        ours, truth = (np.asarray(nib.load(folder / path.name).dataobj) for folder in (found, masks))
        scores.append([dice(ours == value, truth == value) for value in values.values()])
    return dict(zip(values, np.nanmean(scores, axis=0), strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--formats", default="nifti")
    parser.add_argument("--backend", choices=["onnxruntime", "openvino", "torch"])
    parser.add_argument("--mirror", choices=["yes", "no"], help="by default as the model was evaluated")
    arguments = parser.parse_args()
    watches: list[Watch] = []
    opened = 0.0
    open_model = model_module.open_model

    def watched(*words: Any, **more: Any) -> model_module.Model:
        nonlocal opened
        start = time.perf_counter()
        model = open_model(*words, **more)
        predictor = model.predictor
        if arguments.mirror:
            predictor.mirror = arguments.mirror == "yes"
        watches.extend(Watch(forward) for _, forward in predictor.members)
        predictor.members = [(plan, watch) for (plan, _), watch in zip(predictor.members, watches, strict=True)]
        opened = time.perf_counter() - start
        return model

    model_module.open_model = watched
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary) / "images", Path(temporary) / "out"
        folder.mkdir()
        if arguments.images is None:
            make_pictures(folder, arguments.pictures, arguments.size)
        else:
            for path in sorted(arguments.images.iterdir())[: arguments.count]:
                (folder / path.name).symlink_to(path.resolve())
        start, spent = time.perf_counter(), time.process_time()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            predict.predict_files(
                [folder],
                str(arguments.model),
                out,
                arguments.threads,
                formats=arguments.formats.split(","),
                backend=arguments.backend,
            )
        seconds, spent = time.perf_counter() - start, time.process_time() - spent
        count = len(list(folder.iterdir()))
        values = {organ: index for index, organ in enumerate(read_champion(arguments.model).organs, 1)}
        scores = mean_dice(arguments.masks, out / "nifti", values) if arguments.masks else {}
    inside = sum(watch.seconds for watch in watches)
    print(f"{count} scans in {seconds:.1f} s ({opened:.1f} s to open the model): {count / seconds:.1f} a second")
    print(f"processor: {spent:.1f} s; mirrored windows: {arguments.mirror or 'as evaluated'}")
    print(f"in the networks, wall clock of their thread: {inside:.1f} s, {inside / (seconds - opened):.0%} of the work")
    if scores:
        print("Dice: " + ", ".join(f"{organ} {value:.4f}" for organ, value in scores.items()))


if __name__ == "__main__":
    main()
