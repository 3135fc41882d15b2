"""A plain hundred-line training loop as a yardstick: what the pipeline's default U-Net must be better than.

``ORGANSEG_DATA=… python tests/benchmarks/plain_loop.py --study hippocampus --minutes 15 --work FOLDER [--threads 2]``

The study's training patients, whole volumes padded to one size (radiographs squeezed to 256 by 256), z-score, batch 4
(6 for pictures), a U-Net of 16 to 128 features (256 in 2-D) with instance norm, strided convolutions and one auxiliary
output, Dice and cross entropy, AdamW at 2e-3 with 5 % of warm-up and a cosine over the budget, clipping at 12, EMA of
0.99, and batched rotation, scale, shift, smooth deformation, brightness, contrast and noise; fp32. No mirroring, no
sliding window, no post-processing. Where FOLDER holds the default U-Net that ``train_hippocampus.py --work`` or
``train_xray.py --work`` trained, the paired difference on the test patients stands beside it.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss, DiceLoss
from monai.networks.nets import DynUNet
from torch.nn import functional as nnf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("ORGANSEG_TRACKING", "offline")

from train_hippocampus import dice_of_test, interval, prepare_study

from pipeline.core.files import read_json, read_table
from pipeline.core.paths import StudyPaths
from pipeline.core.splits import by_part, fold_sides, read_splits
from pipeline.core.study import Study
from pipeline.formats.store import read_labels, read_scan
from pipeline.metrics.overlap import dice

#: Size that scans are brought to.
SIZE = {2: (256, 256), 3: (48, 64, 48)}
BATCH = {2: 6, 3: 4}
FEATURES = {2: (16, 32, 64, 128, 256), 3: (16, 32, 64, 128)}


def pad(x: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Pad the last axes at their ends."""
    sides = [side for have, want in zip(x.shape[::-1], size[::-1], strict=False) for side in (0, want - have)]
    return nnf.pad(x, sides)


def load_image(row: dict[str, str], paths: StudyPaths, dims: int) -> torch.Tensor:
    """``(1, *size)``, z-scored."""
    voxels = torch.from_numpy(read_scan(paths.scan(row["shard"], row["scan_id"])).voxels.astype(np.float32))
    voxels = (voxels - voxels.mean()) / voxels.std()
    if dims == 3:
        return pad(voxels, SIZE[3])
    return nnf.interpolate(voxels[None, ..., 0], SIZE[2], mode="bilinear", antialias=True)[0]


def load_mask(row: dict[str, str], paths: StudyPaths, organs: tuple[str, ...], dims: int) -> torch.Tensor:
    """``(K, *size)``, a channel an organ."""
    labels = read_labels(paths.mask(row["shard"], row["scan_id"]))
    masks = torch.from_numpy(np.stack([labels.mask(organ) for organ in organs]).astype(np.float32))
    return pad(masks, SIZE[3]) if dims == 3 else nnf.interpolate(masks[None, ..., 0], SIZE[2], mode="area")[0].round()


def augment(images: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Move, bend and shade a batch; ``(B, C, *size)`` each."""
    count, dims = len(images), images.ndim - 2
    turn = torch.eye(dims).repeat(count, 1, 1)
    for i in range(dims):
        for j in range(i):
            angle = (torch.rand(count) * 2 - 1) * math.radians(20)
            plane = torch.eye(dims).repeat(count, 1, 1)
            plane[:, i, i] = plane[:, j, j] = angle.cos()
            plane[:, i, j], plane[:, j, i] = angle.sin(), -angle.sin()
            turn = turn @ plane
    scale = 1 + (torch.rand(count, 1, 1) * 2 - 1) * 0.2
    shift = (torch.rand(count, dims, 1) * 2 - 1) * 0.1
    grid = nnf.affine_grid(torch.cat([turn * scale, shift], 2), list(images.shape), align_corners=False)
    bend = nnf.interpolate(
        torch.randn(count, dims, *(4,) * dims) * 0.04, images.shape[2:], mode="bilinear" if dims == 2 else "trilinear"
    )
    grid = grid + bend.movedim(1, -1)
    images = nnf.grid_sample(images, grid, padding_mode="border", align_corners=False)
    masks = nnf.grid_sample(masks, grid, align_corners=False).round()
    one = (count, *(1,) * (dims + 1))
    images = images * (1 + (torch.rand(one) * 2 - 1) * 0.25) + (torch.rand(one) * 2 - 1) * 0.3
    return images + torch.randn_like(images) * torch.rand(one) * 0.15, masks


def make_network(dims: int, outputs: int) -> torch.nn.Module:
    """The U-Net."""
    features = FEATURES[dims]
    strides = [1] + [2] * (len(features) - 1)
    return DynUNet(
        dims,
        1,
        outputs,
        kernel_size=[3] * len(features),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=features,
        deep_supervision=True,
        deep_supr_num=1,
    )


def dice_and_bce(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """For organs that overlap: MONAI's DiceCELoss takes its cross entropy over the channels, one of which must be."""
    overlap: torch.Tensor = DiceLoss(sigmoid=True)(logits, masks)
    return overlap + nnf.binary_cross_entropy_with_logits(logits, masks)


def train(study: Study, images: torch.Tensor, masks: torch.Tensor, seconds: float) -> tuple[torch.nn.Module, int]:
    """Train for some seconds; gives the averaged network and the steps taken."""
    torch.manual_seed(study.seed)
    dims, exclusive = images.ndim - 2, not study.overlapping
    network = make_network(dims, masks.shape[1] + exclusive)
    loss = DiceCELoss(softmax=True) if exclusive else dice_and_bce
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    start, step, order = time.perf_counter(), 0, []
    while (done := (time.perf_counter() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(done / 0.05, 0.5 * (1 + math.cos(math.pi * done)))
        if len(order) < BATCH[dims]:
            order = torch.randperm(len(images)).tolist()
        chosen, order = order[: BATCH[dims]], order[BATCH[dims] :]
        batch, truth = augment(images[chosen], masks[chosen])
        if exclusive:
            truth = torch.cat([1 - truth.amax(1, keepdim=True), truth], 1)
        full, coarse = network(batch).unbind(1)
        total = loss(full, truth) + 0.5 * loss(coarse, truth)
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimiser.step()
        average.update_parameters(network)
        step += 1
        if step % 50 == 0:
            print(f"step {step}, {done:.0%} of the time, loss {total.item():.4f}", flush=True)
    return average.module.eval(), step


@torch.no_grad()
def dice_by_patient(
    network: torch.nn.Module, rows: list[dict[str, str]], paths: StudyPaths, study: Study
) -> dict[str, Any]:
    """Dice of each organ on the scan's own grid, patient by patient."""
    dims = 3 if study.modality == "mri" else 2
    organs = study.organ_names()
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        labels = read_labels(paths.mask(row["shard"], row["scan_id"]))
        logits = network(load_image(row, paths, dims)[None])
        if dims == 3:
            best = logits[0].argmax(0)[tuple(slice(side) for side in labels.data.shape)].numpy()
            masks = [best == index for index in range(1, len(organs) + 1)]
        else:
            large = nnf.interpolate(logits, labels.data.shape[:2], mode="bilinear")[0].numpy()[..., None]
            masks = [channel > 0 for channel in large]
        scores = [dice(mask, labels.mask(organ)) for mask, organ in zip(masks, organs, strict=True)]
        found.setdefault(row["patient_id"], []).append(scores)
    return found


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="hippocampus", choices=["hippocampus", "chest_xray"])
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True, help="folder that the default U-Net was trained in")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    study, paths = prepare_study(given.study, given.work.resolve(), "unet", {}, {"minutes": given.minutes})
    rows, splits = read_table(paths.scans_csv), read_splits(paths.splits)
    dims, organs = 3 if study.modality == "mri" else 2, study.organ_names()
    trained, _ = fold_sides(rows, splits, 0)
    images = torch.stack([load_image(row, paths, dims) for row in trained])
    masks = torch.stack([load_mask(row, paths, organs, dims) for row in trained])
    network, steps = train(study, images, masks, given.minutes * 60)
    found = dice_by_patient(network, by_part(rows, splits, "test"), paths, study)
    plain = np.array([np.nanmean(scores, axis=0) for scores in found.values()])
    print(
        f"\nplain loop: {steps} steps in {given.minutes:g} minutes on {len(images)} scans, {len(plain)} test patients"
    )
    compare(organs, plain, "plain loop", paths, found)


def compare(organs: tuple[str, ...], other: Any, name: str, paths: StudyPaths, found: dict[str, Any]) -> None:
    """Print the Dice of another method, and the paired difference to ours where ours was trained."""
    ours = None
    trained = paths.model("unet", 0) / "model.json"
    if trained.is_file():
        made = read_json(trained)
        print(f"ours: {made['facts']['steps']} steps, budget {made['plan']['minutes'] or '-'} minutes")
        _, by_patient = dice_of_test(paths, "unet")
        ours = np.array([np.nanmean(by_patient[patient], axis=0) for patient in found])
    print(f"| organ | {name} | ours | ours − {name}, 95 % interval |\n|---|---|---|---|")
    for index, organ in enumerate([*organs, "mean"]):
        column = other.mean(axis=1) if organ == "mean" else other[:, index]
        if ours is None:
            print(f"| {organ} | {column.mean():.4f} | not trained | |")
            continue
        own = ours.mean(axis=1) if organ == "mean" else ours[:, index]
        low, high = interval((own - column).tolist())
        means = f"{column.mean():.4f} | {own.mean():.4f} | {(own - column).mean():+.4f}"
        print(f"| {organ} | {means} ({low:+.4f} to {high:+.4f}) |")


if __name__ == "__main__":
    main()
