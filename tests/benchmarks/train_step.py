"""Time of a training step: the share of it outside forward and backward, and beside a plain MONAI training loop.

``python tests/benchmarks/train_step.py [--dims 3] [--steps 10] [--threads 1] [--batch N] [--compile] [--monai]
[--nnunet]``: the default U-Net on random scans of the reference patch and batch, augmentation on. Times are CPU
seconds, which a shared machine does not stretch; the whole step and its parts take turns. ``--monai`` adds, step by
step in turn, a loop as MONAI's tutorials write it (CacheDataset, dictionary transforms, DiceCELoss, AdamW): once with
our network, once with DynUNet as nnU-Net shapes it for this patch. ``--nnunet`` trains nnU-Net's network at nnU-Net's
batch with our engine, for what ``train_nnunet.py`` prints of nnU-Net's own trainer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.core.plan import Plan
from pipeline.inference.model_files import build_for
from pipeline.plan import rules
from pipeline.train.augment import targets_of
from pipeline.train.data import Batches, PreparedScan
from pipeline.train.engine import Engine, Settings, drawn_network

#: Largest size of a scan, as in hippocampus and in radiographs.
LARGEST = {2: (256, 256, 1), 3: (43, 59, 47)}


#: Scans a batch as nnU-Net 2.8 plans it for our hippocampus patients.
NNUNET_BATCH = 5


def reference_plan(dims: int, batch: int | None = None, nnunet: bool = False) -> Plan:
    """The plan of the reference study; with ``nnunet`` the network and the batch are nnU-Net's."""
    size = LARGEST[dims][:dims]
    sides, _ = rules.patch_sides([round(s * 0.85) for s in size] if dims == 3 else size, size, (1.0,) * dims, 96**3)
    shape = rules.topology(sides, (1.0,) * dims)
    network = {
        "name": "unet",
        "features": rules.feature_counts(len(shape.strides), dims)[0],
        "strides": shape.strides,
        "kernel_sizes": shape.kernels,
        "skip": "add",
        "decoder_convs": 1,
    }
    if nnunet:
        network |= {"features": [min(32 * 2**level, 320) for level in range(len(shape.strides))]}
        network |= {"skip": "concat", "decoder_convs": 2}
        batch = batch or NNUNET_BATCH
    return Plan(
        model="unet",
        modality="mri" if dims == 3 else "xray",
        organs=["a", "b", "c"],
        overlapping=dims == 2,
        in_channels=1,
        spatial_dims=3 if dims == 3 else 2,
        normalisation={"name": "zscore_foreground"},
        patch=list(shape.patch),
        batch=batch or rules.batch_size(shape.patch, 100)[0],
        network=network,
        loss={"name": "dice_ce"},
        augmentation={"preset": "mri" if dims == 3 else "xray"},
        optimiser={"name": "muon", "learning_rate": rules.MUON_RATE, "gradient_clip": 12.0, "ema": 0.99},
        steps=1000,
        validate_every=1000,
    )


def make_scans(plan: Plan, dims: int) -> list[PreparedScan]:
    """Random scans with a block of each organ."""
    draw = np.random.default_rng(0)
    scans = []
    for number in range(8):
        size = LARGEST[dims]
        labels = torch.zeros(size, dtype=torch.uint8)
        labels[8:20, 8:30] = 1
        labels[20:30, 8:30] = 2
        image = torch.from_numpy(draw.normal(size=(1, *size)).astype(np.float16))
        scans.append(
            PreparedScan(f"s{number}", image, labels, (True,) * 3, np.full((3, 4, 3), 9, np.int32), (1.0, 1.0, 1.0))
        )
    return scans


def monai_step(plan: Plan, scans: list[PreparedScan], network: torch.nn.Module) -> Callable[[int], object]:
    """A step of a plain MONAI loop on the same scans; gives the function that takes it."""
    from monai.data import CacheDataset, DataLoader
    from monai.losses import DiceCELoss
    from monai.transforms import (
        Compose,
        EnsureTyped,
        RandAdjustContrastd,
        RandAffined,
        RandBiasFieldd,
        RandGaussianNoised,
        RandGaussianSmoothd,
        RandScaleIntensityd,
        RandShiftIntensityd,
        ResizeWithPadOrCropd,
    )
    from monai.utils import set_determinism

    set_determinism(0)
    both, turn = ["image", "label"], 0.35
    transforms = Compose(
        [
            ResizeWithPadOrCropd(both, plan.patch),
            EnsureTyped(both),
            RandAffined(
                both,
                prob=0.9,
                rotate_range=(turn,) * (3 if plan.spatial_dims == 3 else 1),
                scale_range=(0.2,) * plan.spatial_dims,
                translate_range=(3,) * plan.spatial_dims,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandBiasFieldd("image", prob=0.2),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
            RandScaleIntensityd("image", factors=0.25, prob=0.3),
            RandShiftIntensityd("image", offsets=0.3, prob=0.3),
            RandGaussianSmoothd("image", prob=0.15),
            RandGaussianNoised("image", prob=0.2, std=0.1),
        ]
    )
    flat = plan.spatial_dims == 2
    items = [
        {
            "image": (scan.image[..., 0] if flat else scan.image).float(),
            "label": (scan.labels[None, ..., 0] if flat else scan.labels[None]).float(),
        }
        for scan in scans
    ]
    loader = DataLoader(
        CacheDataset(items, transforms, progress=False), batch_size=plan.batch, shuffle=True, drop_last=True
    )
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    batches = iter(loader)

    def step(number: int) -> None:
        nonlocal batches
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            batch = next(batches)
        optimiser.zero_grad(set_to_none=True)
        logits = network(batch["image"])
        outputs = logits.unbind(1) if logits.ndim > plan.spatial_dims + 2 else [logits]
        total = sum(loss(output, batch["label"].clamp(0, 3)) * 0.5**level for level, output in enumerate(outputs))
        total.backward()
        optimiser.step()

    return step


def dyn_unet(plan: Plan) -> torch.nn.Module:
    """MONAI's DynUNet as nnU-Net would shape it for the plan's patch: 32 features doubling to 320, deep supervision."""
    from monai.networks.nets import DynUNet

    levels = len(plan.network["strides"])
    return DynUNet(
        plan.spatial_dims,
        1,
        4,
        kernel_size=plan.network["kernel_sizes"],
        strides=plan.network["strides"],
        upsample_kernel_size=plan.network["strides"][1:],
        filters=[min(32 * 2**level, 320 if plan.spatial_dims == 3 else 512) for level in range(levels)],
        deep_supervision=True,
        deep_supr_num=max(levels - 3, 1),
    )


class FullSize(torch.nn.Module):
    """Our network without its auxiliary outputs, with a channel for the background, as the plain loop wants it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.network = build_for(plan.model_copy(update={"overlapping": False}))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, 1, *patch)`` → ``(B, K + 1, *patch)``."""
        answer = self.network(x)
        return answer[0] if isinstance(answer, list) else answer  # type: ignore[no-any-return]


def cpu_seconds(work: Callable[[int], object], step: int) -> float:
    """CPU seconds of all threads for one call."""
    start = time.process_time()
    work(step)
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, default=3, choices=(2, 3))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--nnunet", action="store_true", help="nnU-Net's network and batch in our engine")
    parser.add_argument("--monai", action="store_true", help="beside plain MONAI loops")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    torch.set_num_threads(given.threads)
    plan = reference_plan(given.dims, given.batch, given.nnunet)
    cpu = torch.device("cpu")
    network = drawn_network(plan, lambda: build_for(plan))
    settings = Settings(1000, "fp32", plan.batch, given.compile)
    scans = make_scans(plan, given.dims)
    engine = Engine(plan, network, Batches(scans, plan, cpu), settings)
    batch = engine.batch(0)

    def passes(step: int) -> None:
        engine.loss(engine.forward(batch.images), targets_of(batch.labels, plan), batch.annotated).backward()
        engine.optimiser.zero_grad(set_to_none=True)

    jobs: dict[str, Callable[[int], object]] = {"whole step": engine.step, "passes": passes, "batch": engine.batch}
    if given.monai:
        jobs["MONAI loop, our network"] = monai_step(plan, scans, FullSize(plan))
        jobs["MONAI loop, DynUNet"] = monai_step(plan, scans, dyn_unet(plan))
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for step in range(given.steps + 1):
        for name, work in jobs.items():
            times[name].append(cpu_seconds(work, step))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    share = 1 - medians["passes"] / medians["whole step"]
    print(f"{given.dims}-D, patch {plan.patch}, batch {plan.batch}, features {plan.network['features']}")
    print("| part | CPU seconds | share |\n|---|---|---|")
    print(f"| whole step | {medians['whole step']:.3f} | |")
    print(f"| forward, loss, backward | {medians['passes']:.3f} | {medians['passes'] / medians['whole step']:.0%} |")
    print(f"| cut and augment the batch | {medians['batch']:.3f} | {medians['batch'] / medians['whole step']:.0%} |")
    print(f"| outside forward and backward | | {share:.0%} |")
    for name in list(jobs)[3:]:
        print(f"| {name} | {medians[name]:.3f} | {medians[name] / medians['whole step']:.0%} |")


if __name__ == "__main__":
    main()
