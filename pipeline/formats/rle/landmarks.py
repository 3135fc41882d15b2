"""Landmarks beside masks: the width of a picture that a file of CheXmask does not say, from the outlines they show."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.formats.rle.edges import Ints
from pipeline.formats.rle.numbers import parse_tokens, says_nothing

Points = NDArray[np.float64]

#: CheXmask's preprocessed pictures have this height and width (its description on PhysioNet).
PREPROCESSED = 1024
_NEAR = 2
_SHOWN, _ELSEWHERE = 0.8, 0.5
_FEWEST_POINTS = 8


def landmark_points(text: str) -> Points:
    """``(N, 2)`` x and y in pixels, of a cell of numbers with whatever between them; none where their count is odd."""
    numbers = [float(number) for number in re.findall(r"-?[0-9]+(?:\.[0-9]+)?", text)]
    return np.array(numbers if len(numbers) % 2 == 0 else [], float).reshape(-1, 2)


def implied_size(texts: Sequence[str], landmarks: str) -> tuple[int | None, int | None]:
    """Height and width of the picture that masks and landmarks of one row agree on.

    Runs by rows, whose first pixel is 1, say where a mask begins and ends only together with the width; the landmarks
    say it in rows and columns. There is one width at which they lie on the outlines. Nothing says how far the picture
    goes on below, so the height is known only where the width is that of CheXmask's preprocessed pictures.

    Args:
        texts: The masks of the row.
        landmarks: The cell of landmarks.

    Returns:
        ``None`` for what is not known.
    """
    points = landmark_points(landmarks)
    try:
        pairs = [parse_tokens(text)[0] for text in texts if not says_nothing(text.strip())]
    except InputError:
        return None, None
    if len(points) < _FEWEST_POINTS or not pairs or any(one.size % 2 or one[1::2].min() < 1 for one in pairs):
        return None, None
    masks = [(one[0::2] - 1, one[0::2] - 1 + one[1::2]) for one in pairs]
    width = _width(masks, np.round(points).astype(np.int64))
    last = max(int(stops[-1]) for _, stops in masks)
    whole = width == PREPROCESSED and last <= PREPROCESSED**2 and points.max() < PREPROCESSED
    return PREPROCESSED if whole else None, width


def _width(masks: Sequence[tuple[Ints, Ints]], points: Ints) -> int | None:
    """The one width at which points lie on outlines."""
    top, bottom = points[points[:, 1].argmin()], points[points[:, 1].argmax()]
    rows = int(bottom[1] - top[1])
    first, last = min(int(starts[0]) for starts, _ in masks), max(int(stops[-1]) for _, stops in masks)
    if rows < 8:
        return None
    # The outline may begin and end a row or two beside the landmarks.
    about = (last - first - int(bottom[0] - top[0])) / rows
    slack = math.ceil(4 * about / rows) + 2
    least = max(int(points[:, 0].max()) + 1, math.floor(about) - slack)
    widths = range(least, math.ceil(about) + slack + 1)
    if not widths:
        return None
    shown = np.array([_share_on_outlines(masks, points, width) for width in widths])
    best = int(shown.argmax())
    others = np.delete(shown, best)
    if shown[best] < _SHOWN or (others.size and others.max() > _ELSEWHERE):
        return None
    return widths[best]


def _share_on_outlines(masks: Sequence[tuple[Ints, Ints]], points: Ints, width: int) -> float:
    """Share of points with pixels both of a mask and of none within two pixels of them."""
    step = np.arange(-_NEAR, _NEAR + 1)
    rows = (points[:, 1, None, None] + step[:, None]).clip(0)
    columns = (points[:, 0, None, None] + step).clip(0, width - 1)
    flat = (rows * width + columns).reshape(len(points), -1)
    on = np.zeros(len(points), np.bool_)
    for starts, stops in masks:
        run = np.searchsorted(starts, flat, side="right") - 1
        inside = (run >= 0) & (flat < stops[run])
        on |= inside.any(axis=1) & ~inside.all(axis=1)
    return float(on.mean())
