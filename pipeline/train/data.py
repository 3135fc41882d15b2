"""Batches of a training: batch t is a function of the seed and t, whoever asks for it and in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.errors import InputError
from pipeline.core.files import read_json
from pipeline.core.labels import LabelMap
from pipeline.core.machine import free_bytes
from pipeline.core.names import below
from pipeline.core.plan import Plan
from pipeline.core.scan import Array
from pipeline.train.seeds import ORDER_STREAM, WINDOW_STREAM

#: Share of the free memory that prepared scans may take on the device (or in RAM) to be held there.
HELD_SHARE = 0.35


@dataclass(frozen=True)
class PreparedScan:
    """One prepared scan.

    Attributes:
        scan_id: Its name.
        image: ``(C, X, Y, Z)`` float16, in memory or memory-mapped.
        labels: ``(X, Y, Z)`` unsigned integers in the reading of a label map.
        annotated: For each organ of the plan, whether somebody looked for it.
        places: ``(K, n, 3)`` voxels of each organ to centre patches on; negative where the organ is absent.
        spacing: Of the prepared grid, along its axes.
        fetched: Whether the voxels are on disk, memory-mapped.
    """

    scan_id: str
    image: Tensor
    labels: Tensor
    annotated: tuple[bool, ...]
    places: NDArray[np.int32]
    spacing: tuple[float, ...]
    fetched: bool = False

    @property
    def size(self) -> tuple[int, int, int]:
        """``(X, Y, Z)``."""
        x, y, z = self.labels.shape
        return x, y, z

    def label_map(self, plan: Plan) -> LabelMap:
        """The reference as a label map on the prepared grid."""
        organs = tuple(plan.organs)
        annotated = frozenset(organ for organ, known in zip(organs, self.annotated, strict=True) if known)
        affine = np.diag([*self.spacing, 1.0])
        return LabelMap(self.labels.cpu().numpy(), affine, organs, plan.overlapping, annotated)


@dataclass(frozen=True)
class Batch:
    """A batch on the device.

    Attributes:
        images: ``(B, C, *patch)`` float32.
        labels: ``(B, *patch)`` integers in the reading of a label map.
        annotated: ``(B, K)`` boolean, on the CPU.
        scans: Names of the scans that the patches are from.
    """

    images: Tensor
    labels: Tensor
    annotated: Tensor
    scans: tuple[str, ...]


def load_scans(folder: Path, scan_ids: Sequence[str], plan: Plan, device: torch.device) -> list[PreparedScan]:
    """Open prepared scans: held on the device (or in RAM) if all of them fit, else memory-mapped.

    Raises:
        InputError: A scan is missing in the folder.
    """
    files = [below(folder, f"{scan_id}.image.npy") for scan_id in scan_ids]
    try:
        total = sum(file.stat().st_size for file in files) * 1.5
    except FileNotFoundError:
        raise InputError("a prepared scan is missing", where=str(folder), remedy="Run `organseg preprocess`.") from None
    held = total < HELD_SHARE * _free_memory(device)
    scans = []
    for scan_id, file in zip(scan_ids, files, strict=True):
        facts = read_json(below(folder, f"{scan_id}.json"))
        # Copy-on-write: torch wants memory that it may write to, and nothing writes.
        image, labels = (np.load(path, mmap_mode="c") for path in (file, below(folder, f"{scan_id}.labels.npy")))
        scans.append(
            PreparedScan(
                scan_id,
                _held(image, device) if held else torch.from_numpy(image),
                _held(labels, device) if held else torch.from_numpy(labels),
                tuple(organ in facts["annotated"] for organ in plan.organs),
                np.load(below(folder, f"{scan_id}.places.npy")),
                tuple(facts["spacing"]),
                not held,
            )
        )
    return scans


def _held(array: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(array)).to(device)


def _free_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(free_bytes())


class Batches:
    """The batches of one training.

    Scans are visited in a fresh order each time round, so that all are seen equally often. In each, a patch is cut:
    the whole scan where it fits; else around a voxel of an organ (organs take turns) or anywhere.

    Args:
        scans: Scans to train on.
        plan: Patch, batch, foreground share and seed.
        device: Where batches are wanted.
        rank: Of this process, which takes every ``world``-th patch of a batch.
        world: Processes that share a batch.

    Raises:
        InputError: There are no scans, or a batch cannot be shared evenly.
    """

    def __init__(
        self, scans: Sequence[PreparedScan], plan: Plan, device: torch.device, *, rank: int = 0, world: int = 1
    ) -> None:
        if not scans:
            raise InputError("this fold has no scan to train on", remedy="Add labelled scans, or change the split.")
        if plan.batch % world:
            raise InputError(
                f"a batch of {plan.batch} cannot be shared by {world} processes",
                remedy="Set models.<name>.plan.batch to a multiple of the number of processes.",
            )
        self.scans, self.plan, self.device = list(scans), plan, device
        self.world = world
        self.members = range(rank, plan.batch, world)
        #: Batches are made ahead in a thread where scans have to be fetched from elsewhere.
        self._fetcher = ThreadPoolExecutor(1) if self.scans[0].fetched or self.scans[0].image.device != device else None
        self._ahead: dict[int, Future[Batch]] = {}
        self._orders: dict[int, NDArray[np.int64]] = {}
        patch = list(plan.patch)
        self._across = (2 if plan.slice_axis is None else plan.slice_axis) if plan.spatial_dims == 2 else None
        if self._across is not None:
            patch.insert(self._across, 1)
        self._patch = (patch[0], patch[1], patch[2])
        # Torch knows next to no arithmetic of wider unsigned integers.
        self._label_dtype = torch.uint8 if self.scans[0].labels.dtype == torch.uint8 else torch.int64

    def scan_at(self, position: int) -> PreparedScan:
        """The scan at a position of the endless sequence of visits."""
        lap, place = divmod(position, len(self.scans))
        if lap not in self._orders:
            order = np.random.default_rng([self.plan.seed, ORDER_STREAM, lap]).permutation(len(self.scans))
            self._orders = {key: value for key, value in self._orders.items() if key >= lap - 2} | {lap: order}
        return self.scans[int(self._orders[lap][place])]

    def at(self, step: int) -> Batch:
        """The batch of a step (0 is the first): this process's share of it."""
        if self._fetcher is None:
            return self._made(step)
        wanted = self._ahead.get(step) or self._fetcher.submit(self._made, step)
        self._ahead = {step + 1: self._fetcher.submit(self._made, step + 1)}
        return wanted.result()

    def _made(self, step: int) -> Batch:
        count, device = len(self.members), self.scans[0].image.device
        images = torch.zeros((count, self.plan.in_channels, *self._patch), device=device)
        labels = torch.zeros((count, *self._patch), dtype=self._label_dtype, device=device)
        chosen = []
        for index, member in enumerate(self.members):
            scan = self.scan_at(step * self.plan.batch + member)
            draw = np.random.default_rng([self.plan.seed, WINDOW_STREAM, step, member])
            source, target = self._window(scan, draw)
            images[index][(slice(None), *target)] = scan.image[(slice(None), *source)].float()
            labels[index][target] = scan.labels[source].to(self._label_dtype)
            chosen.append(scan)
        if self._across is not None:
            images, labels = images.squeeze(2 + self._across), labels.squeeze(1 + self._across)
        known = torch.tensor([scan.annotated for scan in chosen])
        return Batch(images.to(self.device), labels.to(self.device), known, tuple(scan.scan_id for scan in chosen))

    def _window(self, scan: PreparedScan, draw: np.random.Generator) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where a patch is cut from the scan, and where it lies in the batch; what hangs over stays zero."""
        centre = self._organ_voxel(scan, draw) if draw.random() < self.plan.foreground_share else None
        source, target = [], []
        for axis, (size, side) in enumerate(zip(scan.size, self._patch, strict=True)):
            if size <= side:
                # The same margins as in the sliding window.
                before = (side - size) // 2
                source.append(slice(0, size))
                target.append(slice(before, before + size))
                continue
            free = int(draw.integers(size - side + 1))
            start = free if centre is None else int(np.clip(centre[axis] - side // 2, 0, size - side))
            source.append(slice(start, start + side))
            target.append(slice(0, side))
        return tuple(source), tuple(target)

    def _organ_voxel(self, scan: PreparedScan, draw: np.random.Generator) -> NDArray[np.int32] | None:
        present = np.flatnonzero(scan.places[:, 0, 0] >= 0)
        if present.size == 0:
            return None
        places = scan.places[draw.choice(present)]
        voxel: NDArray[np.int32] = places[draw.integers(len(places))]
        return voxel
