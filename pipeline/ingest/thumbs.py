"""Small pictures of scans, to find the same image under two patients."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.scan import Scan

#: Side of the thumbnail of a picture, and of a volume.
_SIDE, _SIDE_3D = 32, 12
#: Thumbnails correlate at least this much for the same image saved anew, brightened, scaled or recompressed.
_SAME = 0.995
_BLOCK = 512


def thumb(scan: Scan) -> str:
    """The first channel averaged down to a small grid of ranks, as base64 text of bytes."""
    voxels = scan.voxels[0]
    sides = (_SIDE, _SIDE, 1) if scan.is_flat else (_SIDE_3D,) * 3
    small = voxels
    for axis, side in enumerate(sides):
        edges = np.linspace(0, voxels.shape[axis], side + 1)
        starts = np.minimum(edges[:-1].astype(int), voxels.shape[axis] - 1)
        counts = np.maximum(np.diff(np.append(starts, voxels.shape[axis])), 1)
        shape = [1, 1, 1]
        shape[axis] = -1
        small = np.add.reduceat(small.astype(np.float64), starts, axis=axis) / counts.reshape(shape)
    # Ranks instead of grey values: brightness, contrast and gamma change between copies.
    order = np.argsort(np.argsort(small.ravel(), kind="stable"), kind="stable")
    return base64.b64encode((order * 255 // max(order.size - 1, 1)).astype(np.uint8).tobytes()).decode()


def near_duplicates(thumbs: Sequence[str], patients: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Pairs of scans of different patients whose thumbnails are the same.

    Args:
        thumbs: From :func:`thumb`, of pictures and volumes alike.
        patients: Whose each is.

    Yields:
        Two numbers, the smaller first, and their correlation.
    """
    lengths = {len(text) for text in thumbs}
    for length in sorted(lengths):
        members = [i for i, text in enumerate(thumbs) if len(text) == length]
        blocks = [members[start : start + _BLOCK] for start in range(0, len(members), _BLOCK)]
        for number, block in enumerate(blocks):
            vectors = _standardised([thumbs[i] for i in block])
            for further in blocks[number:]:
                alike = vectors @ _standardised([thumbs[i] for i in further]).T
                for row, column in np.argwhere(alike >= _SAME):
                    one, other = block[row], further[column]
                    if one < other and patients[one] != patients[other]:
                        yield one, other, float(alike[row, column])


def _standardised(texts: Sequence[str]) -> NDArray[np.float32]:
    raw = np.frombuffer(b"".join(map(base64.b64decode, texts)), np.uint8).reshape(len(texts), -1).astype(np.float32)
    raw -= raw.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    return raw / np.maximum(norms, 1e-6)
