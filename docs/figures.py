"""Draws the pictures of the tutorials with the tool's own code: ``python docs/figures.py [FOLDER]``.

The shapes in the drawings of networks are those of tensors that ran through the registry's networks, the numbers come
from the tool's own figures, and the radiograph is one of the demo's phantoms.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
import matplotlib.pyplot as plt

mpl.rcParams.update({"font.size": 9, "figure.dpi": 150, "savefig.bbox": "tight", "savefig.facecolor": "white"})
GREY, BLUE, ORANGE, GREEN, RED = "#d9dee3", "#56b4e9", "#e69f00", "#009e73", "#d55e00"


def seventeen_pixels() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Reference of 17 pixels, and a prediction of 11 of them: the worked example of :mod:`pipeline.metrics.overlap`."""
    reference = np.zeros((10, 10), bool)
    reference[1:4, 1:6] = True
    reference[4, [2, 5]] = True
    prediction = reference.copy()
    prediction[1:3, 1:4] = False
    return reference, prediction


def _grid(axes: Any, paint: NDArray[Any], title: str) -> None:
    """Coloured squares, one a pixel; ``paint`` holds ``#rrggbb``."""
    rows, columns = paint.shape
    for row in range(rows):
        for column in range(columns):
            axes.add_patch(plt.Rectangle((column, row), 1, 1, facecolor=paint[row, column], edgecolor="white", lw=1))
    axes.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xticks=[], yticks=[], title=title)
    axes.set_frame_on(False)


def draw_overlap(out: Path) -> None:
    """Reference, prediction and what they share."""
    from pipeline.metrics.overlap import overlap

    reference, prediction = seventeen_pixels()
    shifted = np.roll(reference, 1, axis=1)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.6))
    _grid(axes[0], np.where(reference, BLUE, GREY), f"reference: {reference.sum()} pixels")
    for one, found, name in ((axes[1], prediction, "too small"), (axes[2], shifted, "one pixel aside")):
        counts = overlap(found, reference)
        paint = np.select([found & reference, found, reference], [GREEN, ORANGE, RED], GREY)
        figures = f"Dice {counts.dice:.3f}  IoU {counts.iou:.3f}\naccuracy {counts.accuracy:.2f}"
        _grid(one, paint, f"{name}\n{figures}")
    for color, text, place in (
        (GREEN, "in both (TP)", 0.42),
        (ORANGE, "made up (FP)", 0.58),
        (RED, "missed (FN)", 0.74),
    ):
        figure.text(place, 0.02, f"■ {text}", color=color)
    figure.savefig(out / "overlap.png")
    plt.close(figure)


def draw_run_lengths(out: Path) -> None:
    """The same mask with its pixels numbered by rows from 0, and by columns from 1."""
    from organseg import rle

    reference, _ = seventeen_pixels()
    numbers = {
        "organseg": np.arange(100).reshape(10, 10),
        "kaggle": 1 + np.arange(100).reshape(10, 10).T,
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.6))
    for one, (dialect, order) in zip(axes, numbers.items(), strict=True):
        _grid(one, np.where(reference, BLUE, GREY), f"{dialect}:  {rle.encode(reference, dialect)}")
        for (row, column), number in np.ndenumerate(order):
            weight = "bold" if reference[row, column] else "normal"
            one.text(column + 0.5, row + 0.5, str(number), ha="center", va="center", fontsize=7, fontweight=weight)
    figure.savefig(out / "run-lengths.png")
    plt.close(figure)


def draw_transposed_convolution(out: Path) -> None:
    """Pooling, which keeps the largest of four, and a transposed convolution, which spreads one over four."""
    import torch
    from torch.nn import functional

    small = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    kernel = torch.tensor([[1.0, 0.5], [0.5, 0.0]])
    large = functional.conv_transpose2d(small[None, None], kernel[None, None], stride=2)[0, 0]
    colors = np.array([[BLUE, ORANGE], [GREEN, "#cc79a7"]])
    figure, axes = plt.subplots(1, 3, figsize=(8, 3), width_ratios=(1, 1, 2))
    _grid(axes[0], colors, "2 × 2 in")
    _grid(axes[1], np.full((2, 2), GREY), "kernel, stride 2")
    _grid(axes[2], np.repeat(np.repeat(colors, 2, 0), 2, 1), "4 × 4 out")
    for one, values in zip(axes, (small, kernel, large), strict=True):
        for (row, column), value in np.ndenumerate(values.numpy()):
            one.text(column + 0.5, row + 0.5, f"{value:g}", ha="center", va="center", fontsize=11)
    figure.savefig(out / "transposed-convolution.png")
    plt.close(figure)


def draw_skips(out: Path) -> None:
    """A phantom radiograph, its organs, and what of them a coarser grid can still say."""
    from PIL import Image

    import organseg
    from pipeline.demo import make
    from pipeline.imaging.pictures import overlay
    from pipeline.metrics.overlap import dice

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make("demo_xray", place / "demo.csv", place / "data", seed=7, count=4)
        study = organseg.load_study("demo_xray")
        scan = organseg.read_scan(place / "data" / "images" / "dx001.dcm", "xray")
        files = {organ: next((place / "data" / "masks").glob(f"dx001*{organ}*")) for organ in study.organs}
        labels = organseg.read_labels(files, study=study, scan=scan)
    film = overlay(scan, None, None, study.colors(), legend=False)
    pictures: list[tuple[str, Any]] = [("a phantom of the demo", film)]
    for poolings in (0, 3, 5):
        shown = np.stack([coarse(labels.mask(organ)[..., 0], 2**poolings) for organ in labels.organs])
        figures = [dice(shown[index], labels.mask(organ)[..., 0]) for index, organ in enumerate(labels.organs)]
        masks = {organ: shown[index][..., None] for index, organ in enumerate(labels.organs)}
        drawn = organseg.LabelMap.from_masks(masks, labels.affine, labels.organs, overlapping=True)
        title = "its organs" if not poolings else f"{poolings} poolings: Dice {np.mean(figures):.3f}"
        pictures.append((title, overlay(scan, drawn, None, study.colors(), legend=False, fill=0.5)))
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.4))
    for one, (title, picture) in zip(axes, pictures, strict=True):
        one.imshow(np.asarray(picture.convert("RGB").resize((512, 512), Image.Resampling.BICUBIC)))
        one.set(title=title, xticks=[], yticks=[])
    figure.savefig(out / "skips.png")
    plt.close(figure)


def coarse(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """``(X, Y)`` mask after blocks of ``side`` pixels became one each: in where at least half of a block was."""
    x, y = (-(-n // side) * side for n in mask.shape)
    wide = np.zeros((x, y))
    wide[: mask.shape[0], : mask.shape[1]] = mask
    blocks = wide.reshape(x // side, side, y // side, side).mean((1, 3)) >= 0.5
    return np.repeat(np.repeat(blocks, side, 0), side, 1)[: mask.shape[0], : mask.shape[1]]


Shape = tuple[int, ...]


def shapes(
    spec: dict[str, Any], down: Sequence[str], up: Sequence[str], side: int = 128
) -> tuple[list[Shape], list[Shape]]:
    """Shapes ``(C, H, W)`` of what comes out of modules of a network, on the way down and on the way up.

    Args:
        spec: The network, as a study names it.
        down: Names of modules whose output is kept, from the full resolution down.
        up: The same from the lowest resolution up.
        side: Side of the picture that goes in.
    """
    import torch

    from pipeline.networks import build

    network = build(spec, spatial_dims=2, in_channels=1, out_channels=3).eval()
    seen: dict[str, Shape] = {}

    def note(name: str) -> Any:
        return lambda _module, _inputs, output: seen.update({name: tuple(output.shape[1:])})

    modules = dict(network.named_modules())
    for name in (*down, *up):
        modules[name].register_forward_hook(note(name))
    with torch.no_grad():
        network(torch.zeros(1, 1, side, side))
    return [seen[name] for name in down], [seen[name] for name in up]


NETWORKS: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "unet_classic": (
        {"name": "unet_classic"},
        [f"down.{level}" for level in range(4)],
        [f"merge.{level}" for level in (2, 1, 0)],
    ),
    # The last convolution before each pooling of VGG-11, and its centre.
    "ternausnet11": (
        {"name": "ternausnet11"},
        ["features.1", "features.4", "features.9", "features.14", "features.19", "center.1"],
        ["center.3", "decoder.0.3", "decoder.1.3", "decoder.2.3", "decoder.3.3"],
    ),
}


def draw_network(out: Path, name: str) -> None:
    """A network as a U of boxes: as high as its pictures are large, as wide as it has channels."""
    spec, down, up = NETWORKS[name]
    left, right = shapes(spec, down, up)
    figure, axes = plt.subplots(figsize=(10, 4.8))
    steps = len(left) + len(right) + 1
    for index, (channels, height, _) in enumerate([*left, *right, (3, 128, 128)]):
        color = BLUE if index < len(left) - 1 else RED if index == len(left) - 1 else GREEN
        color = ORANGE if index == steps - 1 else color
        tall, wide = 0.12 + 1.6 * (height / 128) ** 0.6, 0.08 + 0.5 * (channels / 512) ** 0.5
        level = np.log2(128 / height)
        axes.add_patch(plt.Rectangle((index - wide / 2, -level - tall / 2), wide, tall, facecolor=color, alpha=0.85))
        axes.text(index, -level - tall / 2 - 0.1, f"{channels}\n{height}×{height}", ha="center", va="top", fontsize=8)
    for index, (_, height, _) in enumerate(left[:-1]):
        target = next((len(left) + i for i, shape in enumerate(right) if shape[1] == height), None)
        if target is not None:
            level = np.log2(128 / height)
            style = {"arrowstyle": "->", "color": "#667", "linestyle": "--"}
            axes.annotate("", (target - 0.3, -level), (index + 0.3, -level), arrowprops=style)
    axes.text(0, 1.15, "image", ha="center")
    axes.text(steps - 1, 1.15, "logits", ha="center")
    for color, text, place in ((BLUE, "encoder", 0.3), (RED, "lowest level", 0.42), (GREEN, "decoder", 0.56)):
        figure.text(place, 0.03, f"■ {text}", color=color)
    figure.text(0.67, 0.03, "- - ▸ skip", color="#667")
    deepest = max(np.log2(128 / shape[1]) for shape in left)
    axes.set(xlim=(-0.7, steps - 0.2), ylim=(-deepest - 1.1, 1.4))
    axes.axis("off")
    figure.savefig(out / f"{name}.png")
    plt.close(figure)


def main(out: Path) -> None:
    """Draw all of them."""
    out.mkdir(parents=True, exist_ok=True)
    draw_overlap(out)
    draw_run_lengths(out)
    draw_transposed_convolution(out)
    draw_skips(out)
    for name in NETWORKS:
        draw_network(out, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
