"""Masks as pictures: index images, one organ a file with grey borders, and RGB palettes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.labels import OrganMasks
from pipeline.core.organs import organ_values
from pipeline.core.study import Ingest, Organ
from pipeline.formats.pictures.reader import grey, read_pixels

#: Tells organs, and what to ignore, by the numbers of an index image.
ByNumbers = Callable[[NDArray[Any]], tuple[OrganMasks, NDArray[np.bool_] | None]]
#: Grey values from a quarter to three quarters of the range are borders; a mask has few of them.
_MOST_BORDER = 0.25


def read_mask_picture(
    path: Path, organs: Mapping[str, Organ], options: Ingest, by: ByNumbers | None = None
) -> tuple[OrganMasks, NDArray[np.bool_] | None]:
    """All organs of one picture, ``(X, Y, 1)`` each, and the pixels to ignore.

    A palette picture (mode P) counts as colours where every colour in it is one of the study's, else as numbers; one of
    two greys as those greys.

    Args:
        path: The picture.
        organs: The study's organs.
        options: Palette, values and bounds.
        by: Tells organs by numbers ``(X, Y, 1)``; by default :func:`by_values`.

    Raises:
        InputError: A value or colour is not the study's, or the mask may lie in the colours or in the transparency.
    """
    palette = study_palette(organs, options)
    pixels = read_pixels(path, options, palette_as_index=True)
    colours = read_pixels(path, options) if pixels.shape[2] == 1 else pixels
    if palette and colours.shape[2] >= 3 and (pixels is colours or _all_known(colours, palette)):
        masks = by_colour(colours, palette, options)
        return {organ: _upright(mask) for organ, mask in masks.items()}, None
    numbers, how = grey(_shown(pixels, colours))
    if how.startswith("luma"):
        raise InputError(
            "the mask is in colour and the study gives its organs no colours",
            remedy="Set organs.<name>.color or ingest.palette.",
        )
    upright = _upright(numbers[..., 0])
    return by_values(upright, organs, options, picture=True) if by is None else by(upright)


def read_organ_picture(path: Path, options: Ingest) -> NDArray[np.bool_]:
    """The mask of one organ, ``(X, Y, 1)``.

    Raises:
        InputError: The picture is not one organ's mask, or it may lie in the colours or in the transparency.
    """
    return _upright(one_organ(grey(read_mask_samples(path, options))[0][..., 0], options))


def read_mask_samples(path: Path, options: Ingest) -> NDArray[Any]:
    """The samples of a picture that hold its masks, ``(rows, columns, samples)``, without transparency.

    Raises:
        InputError: As in :func:`read_organ_picture`.
    """
    pixels = read_pixels(path, options, palette_as_index=True)
    return _shown(pixels, read_pixels(path, options) if pixels.shape[2] == 1 else pixels)


def _shown(pixels: NDArray[Any], colours: NDArray[Any]) -> NDArray[Any]:
    """The samples of a picture that hold its mask, ``(rows, columns, samples)`` without transparency.

    Evidence is what varies. Colours that are one and the same under a transparency that is not leave the mask to that;
    two colours of a palette are numbers by their places in it only where those agree with what is shown.

    Args:
        pixels: The samples; of a palette picture its numbers.
        colours: The samples; of a palette picture its colours.

    Raises:
        InputError: Colours and transparency both vary, and say different things.
    """
    if colours is not pixels and colours.shape[2] >= 3:
        pixels = _of_palette(pixels, colours)
    if pixels.shape[2] not in (2, 4):
        return pixels
    visible, opaque = pixels[..., :-1], pixels[..., -1:]
    if (opaque == opaque.flat[0]).all():
        return visible
    if (visible == visible[:1, :1]).all():
        return opaque
    hidden = opaque[..., 0] <= _half(opaque)
    painted = visible[~hidden]
    if not visible[hidden].any():
        return visible
    if painted.any() and (painted == painted[:1]).all():
        return opaque  # one colour is shown, and what lies under the transparency is not
    raise InputError(
        "colours and transparency of the mask both vary: the organ may be what has a colour or what is not transparent",
        remedy="Save the mask without transparency.",
    )


def _half(samples: NDArray[Any]) -> int:
    """Half of the range of 8- or 16-bit samples."""
    return 127 if samples.max() <= 255 else 32767


def _of_palette(numbers: NDArray[Any], colours: NDArray[Any]) -> NDArray[Any]:
    """A palette picture as its numbers; as its colours where it has two, greys or one of them black, and not first."""
    used = np.unique(numbers)
    if used.size > 2:
        return numbers
    shown = np.stack([colours[numbers[..., 0] == number][0] for number in used])
    if colours.shape[2] == 4 and (shown[:, :3] == shown[0, :3]).all():
        return colours  # what differs is the transparency
    if used[0] == 0 and not shown[0, :3].any():
        return numbers
    is_grey = (shown[:, :3] == shown[:, :1]).all()
    has_black = not shown[:, :3].any(axis=1).all()
    return colours if is_grey or has_black else numbers


def _upright(pixels: NDArray[Any]) -> NDArray[Any]:
    """``(rows, columns)`` → ``(X, Y, 1)``."""
    return np.ascontiguousarray(pixels.T[..., None])


def by_values(
    data: NDArray[Any], organs: Mapping[str, Organ], options: Ingest, *, picture: bool = False
) -> tuple[OrganMasks, NDArray[np.bool_] | None]:
    """Organs by their values in an index image or label volume of any shape.

    Args:
        data: Values; floats are fine if they lie within 0.001 of whole numbers.
        organs: The study's organs.
        options: Background and ignored values.
        picture: Let a study of one organ have grey masks.

    Raises:
        InputError: A value is not the study's.
    """
    whole = whole_numbers(data)
    values = organ_values(organs)
    present = np.unique(whole)
    known = {*itertools.chain(*values.values()), *options.background, *options.ignore}
    strange = [int(v) for v in present if int(v) not in known]
    if strange and len(organs) == 1:
        only = next(iter(organs))
        if set(present.tolist()) <= {0, 255} or (picture and int(present[-1]) > options.mask_threshold):
            return {only: one_organ(whole, options)}, None
    if strange:
        count = int(np.isin(whole, strange).sum())
        shown = ", ".join(str(v) for v in strange[:8]) + (", …" if len(strange) > 8 else "")
        pairs = ", ".join(f"{name} = {' or '.join(map(str, own))}" for name, own in values.items())
        raise InputError(
            f"the mask holds values that are no organ of the study: {shown} ({count:,} voxels)",
            remedy=f"The study has {pairs}; list values to pass over in ingest.background or ingest.ignore.",
        )
    ignored = np.isin(whole, options.ignore) if options.ignore else None
    return {name: np.isin(whole, own) for name, own in values.items()}, ignored


def whole_numbers(data: NDArray[Any]) -> NDArray[Any]:
    """Labels as integers.

    Raises:
        InputError: A value is not within 0.001 of a whole number, or not finite.
    """
    if data.dtype.kind in "iub":
        return data.astype(np.uint8) if data.dtype.kind == "b" else data
    if not np.isfinite(data).all():
        raise InputError("the mask holds values that are not numbers")
    rounded = np.rint(data)
    off = np.abs(data - rounded) > 1e-3
    if off.any():
        raise InputError(
            f"the mask holds {int(off.sum()):,} values that are not whole, such as {data[off].flat[0]:.4g}"
        )
    return rounded.astype(np.int64)


def one_organ(data: NDArray[Any], options: Ingest) -> NDArray[np.bool_]:
    """The mask of one organ: 0 and one other value, or grey borders around 0 and 255, or a probability.

    Raises:
        InputError: It is none of these.
    """
    if data.dtype.kind == "b":
        return data
    if data.dtype.kind == "f":
        if not np.isfinite(data).all():
            raise InputError("the mask holds values that are not numbers")
        if data.size and data.min() >= 0 and data.max() <= 1.001:
            return data > 0.5
        data = whole_numbers(data)
    present = np.unique(data)
    if present.size and present[0] < 0:
        raise InputError("the mask of one organ holds negative values")
    if present.size <= 2 and (present.size < 2 or present[0] == 0):
        return data != 0
    top = 255 if present[-1] <= 255 else 65535
    threshold = options.mask_threshold if top == 255 or options.mask_threshold > 255 else options.mask_threshold * 257
    if present[-1] <= threshold:
        raise InputError(
            f"the mask of one organ holds {present.size} different values, none above {threshold}",
            remedy="An index image of several organs goes into the column `mask`.",
        )
    between = float(((data > top // 4) & (data < top - top // 4)).mean())
    if between > _MOST_BORDER:
        raise InputError(f"{between:.0%} of the mask is grey: it is a picture, not a mask")
    return data > threshold


def study_palette(organs: Mapping[str, Organ], options: Ingest) -> dict[tuple[int, int, int], list[str]]:
    """Colour → organs; black is background unless it is an organ's. Empty where the study gives no colours."""
    named: dict[tuple[int, int, int], list[str]] = {}
    for text, names in options.palette.items():
        unknown = [name for name in names if name not in organs]
        if unknown:
            raise InputError(f"ingest.palette names {unknown[0]!r}, which is not an organ of the study")
        named[_rgb(text)] = list(names)
    given = set(named)
    for name, organ in organs.items():
        if organ.color is not None and _rgb(organ.color) not in given:
            named.setdefault(_rgb(organ.color), []).append(name)
    if named:
        named.setdefault((0, 0, 0), [])
    return named


def _rgb(text: str) -> tuple[int, int, int]:
    try:
        value = int(text.removeprefix("#"), 16)
    except ValueError:
        raise InputError(f"{text!r} is not a colour", remedy="Write colours as #rrggbb.") from None
    return value >> 16 & 255, value >> 8 & 255, value & 255


def _all_known(colours: NDArray[Any], palette: Mapping[tuple[int, int, int], list[str]]) -> bool:
    """Whether every colour of a picture is exactly one of the study's, and one of them is an organ's."""
    used = {(int(r), int(g), int(b)) for r, g, b in np.unique(colours[..., :3].reshape(-1, 3), axis=0)}
    return used <= set(palette) and any(palette[c] for c in used if c in palette)


def by_colour(pixels: NDArray[Any], palette: Mapping[tuple[int, int, int], list[str]], options: Ingest) -> OrganMasks:
    """Organs by their nearest palette colour, ``(rows, columns)`` each.

    A pixel counts if it lies within ``palette_tolerance`` of a palette colour, or of a mixture of two, as borders
    smoothed by drawing, resizing or JPEG do. All others are strays.

    Raises:
        InputError: More than ``palette_strays`` of the pixels are strays.
    """
    colours = np.array(list(palette), float)
    shown = pixels[..., :3].astype(np.uint32)
    if pixels.shape[2] == 4:
        shown = shown * (pixels[..., 3:] > 127)
    packed = shown[..., 0] << 16 | shown[..., 1] << 8 | shown[..., 2]
    used, index = np.unique(packed, return_inverse=True)
    points = np.stack([used >> 16 & 255, used >> 8 & 255, used & 255], 1).astype(float)
    far = np.linalg.norm(points[:, None] - colours, axis=2)
    nearest = far.argmin(1)
    stray = far.min(1) > options.palette_tolerance
    for i in np.flatnonzero(stray):
        stray[i] = _mixture_distance(points[i], colours) > options.palette_tolerance
    index = index.reshape(packed.shape)
    counts = np.bincount(index.ravel(), minlength=len(used))
    strays = int(counts[stray].sum())
    if strays > options.palette_strays * packed.size:
        worst = points[stray][counts[stray].argmax()].astype(int)
        raise InputError(
            f"{strays:,} pixels of the mask have no colour of the study, most often #{_hex(worst)}",
            remedy="Add the colour to ingest.palette (an empty list means background), or allow ingest.palette_strays.",
        )
    masks: OrganMasks = {}
    for number, names in enumerate(palette.values()):
        for name in names:
            inside = ((nearest == number) & ~stray)[index]
            masks[name] = masks[name] | inside if name in masks else inside
    return masks


def _mixture_distance(point: NDArray[Any], colours: NDArray[Any]) -> float:
    """Distance of a colour from the nearest line between two palette colours."""
    best = np.inf
    for a, b in itertools.combinations(colours, 2):
        along = b - a
        share = np.clip((point - a) @ along / (along @ along), 0, 1)
        best = min(best, float(np.linalg.norm(point - a - share * along)))
    return best


def _hex(colour: NDArray[Any]) -> str:
    return "".join(f"{int(v):02x}" for v in colour)
