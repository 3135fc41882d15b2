"""A folder of scans with one model: scans a second, and the share of the time that the networks take.

    python tests/benchmarks/predict_folder.py MODEL --images FOLDER [--threads 2] [--backend onnxruntime] [--mirror]
    python tests/benchmarks/predict_folder.py MODEL --pictures 1000 --size 256

The first form takes every scan of a folder (sixty hippocampus volumes, say); with ``--masks`` it also prints the Dice.
The second makes noisy radiographs on the spot. Reading, preparing, predicting and writing the masks all count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.cli.inputs import find_inputs
from pipeline.core.scan import Array
from pipeline.formats.nifti_labels import write_label_files
from pipeline.mechanics.metrics import dice
from pipeline.mechanics.predictor import open_champion


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
    """Smooth pictures with noise, as 8-bit PNG."""
    draw = np.random.default_rng(0)
    rows, columns = np.indices((size, size)) / size
    smooth = 120 + 60 * np.sin(5 * rows) * np.cos(4 * columns)
    for number in range(count):
        pixels = np.clip(smooth + draw.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")


def reference_dice(masks: Path, name: str, found: Array, values: dict[str, int]) -> list[float]:
    """Dice of each organ against ``<masks>/<name>.nii.gz``."""
    import nibabel as nib

    truth = np.asarray(nib.load(masks / f"{name}.nii.gz").dataobj)
    return [dice(found == value, truth == value) for value in values.values()]


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
    parser.add_argument("--backend", choices=["onnxruntime", "openvino", "torch"])
    parser.add_argument("--precision", choices=["fp32", "bf16"])
    parser.add_argument("--mirror", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.images
        if folder is None:
            folder = Path(temporary) / "images"
            folder.mkdir()
            make_pictures(folder, arguments.pictures, arguments.size)
        start = time.perf_counter()
        predictor, champion = open_champion(
            arguments.model, threads=arguments.threads, backend=arguments.backend, precision=arguments.precision
        )
        predictor.mirror = arguments.mirror or predictor.mirror
        watches = [Watch(forward) for _, forward in predictor.members]
        predictor.members = [(plan, watch) for (plan, _), watch in zip(predictor.members, watches, strict=True)]
        opened = time.perf_counter() - start
        values = {organ: index for index, organ in enumerate(champion.organs, 1)}
        scores = []
        count = 0
        for one in list(find_inputs([folder], champion.modality))[: arguments.count]:
            scan = one.read().canonical()
            prediction = predictor.predict(scan)
            write_label_files(Path(temporary) / "out", one.name, scan, prediction.labels, values)
            count += 1
            if arguments.masks:
                scores.append(reference_dice(arguments.masks, one.name, scan.to_stored(prediction.labels.data), values))
        seconds = time.perf_counter() - start
    inside = sum(watch.seconds for watch in watches)
    print(f"{count} scans in {seconds:.1f} s ({opened:.1f} s to open the model): {count / seconds:.1f} a second")
    print(f"in the networks: {inside:.1f} s, {inside / (seconds - opened):.0%} of the work")
    if scores:
        print("Dice: " + ", ".join(f"{o} {m:.4f}" for o, m in zip(values, np.nanmean(scores, axis=0), strict=True)))


if __name__ == "__main__":
    main()
