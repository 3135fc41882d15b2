"""Prediction by a sliding window: one implementation in NumPy for every backend that runs the network.

A backend is a function from a batch of windows ``(B, C, *patch)`` to probabilities ``(B, K, *patch)``. So the same
positions, weights and sums serve PyTorch, ONNX Runtime and OpenVINO, and a command that predicts with an exported
network need not import PyTorch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.core.arrays import ROOM, zeros
from pipeline.core.errors import InputError
from pipeline.core.plan import Plan
from pipeline.core.scan import Array
from pipeline.inference.agreement import Passes

if TYPE_CHECKING:
    import torch

Forward = Callable[[Array], Array]

SIGMA = 0.125  # of the patch, as in nnU-Net and MONAI
LEAST_WEIGHT = 1e-3  # least weight of a voxel in a window, so that corners seen once are not divided by almost nothing


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis, as MONAI's ``sliding_window_inference`` places them.

    Args:
        size: Voxels along the axis, at least ``patch``.
        patch: Voxels of a window.
        overlap: Share of a window that its neighbour covers too, in [0, 1).
    """
    step = max(int(patch * (1 - overlap)), 1)
    count = max(-(-(size - patch) // step), 0) + 1
    return [min(index * step, size - patch) for index in range(count)]


def gaussian_weights(patch: Sequence[int]) -> Array:
    """Weight of each voxel of a window, float32 of shape ``patch``: a Gaussian, 1 in the middle, σ ⅛ of the side.

    Source: Isensee et al., nnU-Net, Nature Methods 18 (2021).
    """
    weights = np.ones((), np.float32)
    for size in patch:
        apart = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
        weights = weights[..., None] * np.exp(-(apart**2) / np.float32(2 * (SIGMA * size) ** 2))
    return np.maximum(weights, max(float(weights.min()), LEAST_WEIGHT)).astype(np.float32)


def flip_sets(plan: Plan) -> list[tuple[tuple[int, ...], bool]]:
    """Every combination of the plan's mirror axes: (network axes to reverse, whether that swaps left and right)."""
    lateral = _lateral_network_axis(plan)
    combinations = itertools.chain.from_iterable(
        itertools.combinations(plan.mirror_axes, count) for count in range(len(plan.mirror_axes) + 1)
    )
    return [(axes, lateral in axes) for axes in combinations]


def _lateral_network_axis(plan: Plan) -> int | None:
    """The network axis that runs from one side of the patient to the other: canonical axis 0, unless sliced across."""
    return None if plan.slice_axis == 0 and plan.spatial_dims == 2 else 0


def swapped_channels(plan: Plan) -> list[int]:
    """Order of output channels after which each organ stands where its mirror organ was."""
    first = 0 if plan.overlapping else 1
    order = list(range(plan.out_channels))
    for left, right in plan.mirror_pairs:
        i, j = plan.organs.index(left) + first, plan.organs.index(right) + first
        order[i], order[j] = j, i
    return order


def mirrored(forward: Forward, plan: Plan, passes: Passes | None = None, weights: Array | None = None) -> Forward:
    """The mean of ``forward`` over all combinations of the plan's mirror axes, left and right organs swapped back.

    Args:
        forward: Batch of windows → probabilities.
        plan: Mirror axes and organs.
        passes: Told what each pass decides.
        weights: With ``passes``: weight of each voxel of a window, 0 outside the image.
    """
    flips = flip_sets(plan)
    swap = swapped_channels(plan)

    def mean(batch: Array) -> Array:
        total = forward(batch).astype(np.float32)
        plain = passes.decided(total) if passes is not None else None
        for number, (axes, swaps) in enumerate(flips[1:]):
            spatial = tuple(2 + axis for axis in axes)
            turned = forward(np.ascontiguousarray(np.flip(batch, spatial)))
            back = np.flip(turned[:, swap] if swaps else turned, spatial)
            if passes is not None and plain is not None and weights is not None:
                passes.add(number, plain, passes.decided(back), weights)
            total += back
        return total / np.float32(len(flips))

    return mean if len(flips) > 1 else forward


def slide(
    forward: Forward,
    image: Array,
    plan: Plan,
    *,
    mirror: bool = False,
    batch: int = 4,
    passes: Passes | None = None,
    room: int = ROOM,
) -> Array:
    """Predict a whole image.

    Args:
        forward: Batch ``(B, C, *patch)`` float32 → probabilities ``(B, K, *patch)``.
        image: ``(C, X, Y, Z)`` float32 on the plan's grid; it may be memory-mapped. A picture has ``Z == 1``;
            two-dimensional networks see volumes slice by slice across ``plan.slice_axis``.
        plan: Patch, overlap, mirror axes and organs.
        mirror: Average over mirrored windows too.
        batch: Windows a call of ``forward``.
        passes: Where given, compares each window with its mirror images.
        room: Bytes beyond which the result lies in a file.

    Returns:
        ``(K, X, Y, Z)`` float32 probabilities: an organ each, behind the background where organs are exclusive.
    """
    result = zeros((plan.out_channels, *image.shape[1:]), room)
    for axis, start, slab in slabs(forward, image, plan, mirror=mirror, batch=batch, passes=passes):
        place = [slice(None)] * 4
        place[1 + axis] = slice(start, start + slab.shape[1 + axis])
        result[tuple(place)] = slab
    return result


def slabs(
    forward: Forward,
    image: Array,
    plan: Plan,
    *,
    mirror: bool = False,
    batch: int = 4,
    passes: Passes | None = None,
) -> Iterator[tuple[int, int, Array]]:
    """Predict an image slab by slab, in memory that depends on the patch and two sides of the image, not on the third.

    Arguments are those of :func:`slide`.

    Yields:
        ``(axis, start, probabilities)``: the array axis that slabs follow each other along, the slab's first voxel on
        it, and its ``(K, …)`` float32 probabilities. Slabs are in order and do not overlap.
    """
    patch, squeeze = _patch_in_space(plan)
    size = image.shape[1:]
    before = [max(w - s, 0) // 2 for s, w in zip(size, patch, strict=True)]
    padded = [max(w, s) for s, w in zip(size, patch, strict=True)]
    starts = [window_starts(s, w, plan.overlap) for s, w in zip(padded, patch, strict=True)]
    # Slabs run along the longest side, so that what is held at once is smallest; slices are slabs by themselves.
    axis = squeeze if squeeze is not None and size[squeeze] > 1 else int(np.argmax(padded))
    # Several slices make up a batch; of windows that overlap, those that begin at one place do.
    group = batch if squeeze == axis else 1
    blocks = [starts[axis][index : index + group] for index in range(0, len(starts[axis]), group)]
    held = [min(patch[i] + group - 1, n) if i == axis else n for i, n in enumerate(padded)]
    weights = gaussian_weights(patch) if any(len(s) > 1 for s in starts) else np.ones(patch, np.float32)
    call = mirrored(forward, plan, passes, _inside_image(weights, before, size)) if mirror else forward
    total = np.zeros((plan.out_channels, *held), np.float32)
    count = np.zeros(held, np.float32)
    for block, following in zip(blocks, [*(b[0] for b in blocks[1:]), padded[axis]], strict=True):
        along = block[0]
        for places in _batched(itertools.product(*(block if i == axis else s for i, s in enumerate(starts))), batch):
            windows = np.stack([_window(image, np.subtract(place, before), patch) for place in places])
            answer = np.asarray(call(windows if squeeze is None else windows.squeeze(2 + squeeze)))
            for place, part in zip(places, answer, strict=True):
                local = (p - along if i == axis else p for i, p in enumerate(place))
                at = tuple(slice(p, p + w) for p, w in zip(local, patch, strict=True))
                total[(slice(None), *at)] += (part if squeeze is None else np.expand_dims(part, 1 + squeeze)) * weights
                count[at] += weights
        # Rows in front of the next windows are complete; of these, the rows of padding are not the image's.
        low = max(along, before[axis])
        high = min(following, before[axis] + size[axis])
        if high > low:
            inside = [slice(b, b + s) for b, s in zip(before, size, strict=True)]
            inside[axis] = slice(low - along, high - along)
            yield axis, low - before[axis], total[(slice(None), *inside)] / count[tuple(inside)]
        _advance(total, 1 + axis, following - along)
        _advance(count, axis, following - along)


def _batched(places: Iterable[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    """Lists of up to ``size`` places."""
    source = iter(places)
    while chosen := list(itertools.islice(source, size)):
        yield chosen


def _patch_in_space(plan: Plan) -> tuple[tuple[int, int, int], int | None]:
    """The patch along the three array axes, and the axis that a two-dimensional network does not have."""
    if plan.spatial_dims == 3:
        return (plan.patch[0], plan.patch[1], plan.patch[2]), None
    across = 2 if plan.slice_axis is None else plan.slice_axis
    patch = list(plan.patch)
    patch.insert(across, 1)
    return (patch[0], patch[1], patch[2]), across


def _inside_image(weights: Array, before: Sequence[int], size: Sequence[int]) -> Array:
    """Weights of a window with 0 where it reaches beyond the image, which all windows of a scan do at one place."""
    ends = [(b, b + s) if s < w else (0, w) for b, s, w in zip(before, size, weights.shape, strict=True)]
    inside = tuple(slice(low, high) for low, high in ends)
    only = np.zeros_like(weights)
    only[inside] = weights[inside]
    return only


def _window(image: Array, start: Array, patch: tuple[int, int, int]) -> Array:
    """Cut ``(C, *patch)`` out of the image; where it reaches beyond the image it is 0."""
    stop = start + patch
    size = np.array(image.shape[1:])
    inside = tuple(slice(int(a), int(b)) for a, b in zip(np.maximum(start, 0), np.minimum(stop, size), strict=True))
    part = np.asarray(image[(slice(None), *inside)], np.float32)
    if part.shape[1:] == patch:
        return part
    pad = [(0, 0), *((int(a), int(b)) for a, b in zip(np.maximum(-start, 0), np.maximum(stop - size, 0), strict=True))]
    return np.pad(part, pad)


def _advance(array: Array, axis: int, by: int) -> None:
    """Move the content ``by`` voxels towards the front of an axis and clear what comes free."""
    moved = np.moveaxis(array, axis, 0)
    keep = moved.shape[0] - by
    for row in range(keep):
        moved[row] = moved[row + by]
    moved[max(keep, 0) :] = 0


def torch_forward(network: torch.nn.Module, overlapping: bool, device: Any = "cpu", precision: str = "fp32") -> Forward:
    """Make a forward function of a PyTorch network that returns logits.

    Args:
        network: Logits ``(B, K, *patch)`` from ``(B, C, *patch)``; it is used in the mode that it is in.
        overlapping: Sigmoid rather than softmax.
        device: Where the network is.
        precision: ``fp32``, or ``bf16`` for autocast.

    Returns:
        The function; where memory runs out, it sees a batch in smaller parts. If a single window is more than the
        memory holds, it raises an :class:`~pipeline.core.errors.InputError`.
    """
    import torch

    from pipeline.inference.memory import out_of_memory

    where = torch.device(device)

    def forward(batch: Array) -> Array:
        try:
            return whole(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        if len(batch) == 1:
            raise InputError(
                "one window is more than the memory of the device holds",
                where=f"{where}, window {' × '.join(str(side) for side in batch.shape[2:])}",
                remedy="Free memory there, or predict on another device.",
            )
        if where.type == "cuda":
            torch.cuda.empty_cache()
        return np.concatenate([forward(part) for part in np.array_split(batch, 2)])

    def whole(batch: Array) -> Array:
        with torch.inference_mode(), torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(torch.from_numpy(batch).to(where)).float()
            probabilities = torch.sigmoid(logits) if overlapping else torch.softmax(logits, 1)
        answer: Array = probabilities.float().cpu().numpy()
        return answer

    return forward


def predict_probabilities(
    network: torch.nn.Module,
    image: torch.Tensor,
    plan: Plan,
    *,
    mirror: bool = False,
    device: Any = "cpu",
    batch: int = 4,
    precision: str = "fp32",
) -> torch.Tensor:
    """Predict a whole image with a PyTorch network; see :func:`slide`.

    The network is put into evaluation mode for the time of the call.

    Args:
        network: Logits ``(B, K, *patch)`` from ``(B, C, *patch)``, on ``device``.
        image: ``(C, X, Y, Z)`` on the plan's grid.
        plan: Patch, overlap, mirror axes and organs.
        mirror: Average over mirrored windows too.
        device: Where the network is.
        batch: Windows a call of the network.
        precision: ``fp32``, or ``bf16`` for autocast.

    Returns:
        ``(K, X, Y, Z)`` float32 probabilities on the CPU.
    """
    import torch

    training = network.training
    network.eval()
    try:
        forward = torch_forward(network, plan.overlapping, device, precision)
        return torch.from_numpy(slide(forward, image.float().cpu().numpy(), plan, mirror=mirror, batch=batch))
    finally:
        network.train(training)
