"""From line integrals to the picture a reader sees: scatter, quantum noise, grey scale, marker, wires and borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.demo.chest import METAL, Chest
from pipeline.demo.rays import Array, Beam, Scene

#: Letters of lead markers, five columns and seven rows, as one hexadecimal number a row.
GLYPHS = {
    "A": "0E11111F111111",
    "E": "1F10101E10101F",
    "I": "0E04040404040E",
    "L": "1010101010101F",
    "N": "11191513111111",
    "P": "1E11111E101010",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "U": "1111111111110E",
    " ": "00000000000000",
}


@dataclass(frozen=True)
class Technique:
    """How a radiograph was taken and shown.

    Attributes:
        photons: Quanta per pixel in free air; fewer give a grainier picture.
        scatter: Scattered over primary quanta behind the thickest part.
        gamma: Steepness of the grey scale.
        brightness: Shift of the grey scale, in parts of its range.
        marker: Letter on the patient's side that it names: ``R`` stands at the left of the picture.
        text: Words beside the marker, or nothing.
        border: Pixels of unexposed border left by the collimator: top, right, bottom, left.
    """

    photons: float
    scatter: float
    gamma: float
    brightness: float
    marker: str
    text: str
    border: tuple[int, int, int, int]


def glyphs(text: str, scale: int) -> NDArray[np.bool_]:
    """Draw capital letters as a ``(7 * scale, 6 * scale * len(text))`` stencil."""
    blocks = []
    for letter in text:
        rows = [int(GLYPHS[letter][i : i + 2], 16) for i in range(0, 14, 2)]
        blocks.append([[bool(row >> bit & 1) for bit in (4, 3, 2, 1, 0)] + [False] for row in rows])
    return np.concatenate([np.array(block) for block in blocks], 1).repeat(scale, 0).repeat(scale, 1)


def devices(chest: Chest, beam: Beam, kind: str, rng: np.random.Generator) -> Array:
    """Line integral of attenuation by what is stuck to, or sits in, the patient.

    ``kind`` is ``none``, ``pacemaker``, ``electrodes``, ``line`` or ``wires``.
    """
    scene = Scene(beam)
    t = np.linspace(0, 1, 160)[:, None]
    path = np.zeros(beam.shape)
    if kind == "pacemaker":
        case = np.array(chest.scale(98, -80, 92))
        path += scene.ellipsoid(case, [21, 4, 17]).length * 0.8
        bend = np.array(chest.scale(-12, -20, 70))
        tip = np.array(chest.scale(48, -40, -86))
        lead = (1 - t) ** 2 * case + 2 * t * (1 - t) * (2 * bend - (case + tip) / 2 + [0, 0, 30]) + t**2 * tip
        path += scene.tube(lead, 1.1) * 1.3
    elif kind == "electrodes":
        for x, z in ((-104, 96), (106, 92), (-110, -70), (112, -88)):
            place = np.array(chest.scale(x, -106, z)) + rng.normal(0, 6, 3)
            path += scene.ellipsoid(place, [7, 2, 7]).length * 0.45
            sag = np.sin(np.pi * t) * [0, 0, -28]
            path += scene.tube(place + t * [-x * 0.8, 0, 210 - z] + sag, 0.8) * 0.6
    elif kind == "line":
        start, end = np.array(chest.scale(-46, 0, 178)), np.array(chest.scale(-14, -8, 22))
        path += scene.tube(start + (end - start) * t + np.sin(np.pi * t) * [11, 0, 0], 1.2) * 0.7
    elif kind == "wires":
        angle = np.linspace(0, 2 * np.pi, 60)[:, None]
        for z in (74, 44, 14, -16, -46):
            ring = (
                np.array(chest.scale(rng.normal(0, 1.5), -88, z))
                + np.cos(angle) * [7, 0, 0]
                + np.sin(angle) * [0, 0, 5]
            )
            path += scene.tube(ring, 0.8) * 0.9
    return METAL * path


def develop(attenuation: Array, technique: Technique, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Turn line integrals into a picture.

    Primary quanta follow Beer and Lambert; scatter is a blurred share of them; the detector blurs a little and counts
    with Poisson noise; the logarithm of the counts goes through an S-shaped grey scale.

    Args:
        attenuation: ``(rows, columns)`` line integrals, without unit.
        technique: How it was taken.
        rng: Draws the noise.

    Returns:
        ``(rows, columns)`` 12-bit grey values; bone is bright.
    """
    primary = np.exp(-attenuation)
    haze = ndimage.gaussian_filter(primary, 24, mode="nearest")
    typical = np.exp(-np.percentile(attenuation, 90))
    scattered = technique.scatter * (0.55 * haze * typical / (haze + typical) + 0.45 * typical)
    seen = ndimage.gaussian_filter(primary + scattered, 0.45)
    counts = rng.poisson(np.minimum(seen * technique.photons, 1e9)).astype(float)
    density = -np.log((counts + 1) / technique.photons)
    low, high = np.percentile(density, [10, 99.3])
    middle = low + (high - low) * (0.53 - technique.brightness)
    grey = 1 / (1 + np.exp(-technique.gamma * 2.6 * (density - middle) / (high - low)))
    dark, bright = 1 / (1 + np.exp(technique.gamma * 1.6)), 1 / (1 + np.exp(-technique.gamma * 1.6))
    picture = np.clip((grey - dark) / (bright - dark), 0, 1)
    _stamp(picture, technique)
    return np.round(picture * 4095).astype(np.uint16)


def _stamp(picture: Array, technique: Technique) -> None:
    """Put the lead marker and the shadow of the collimator on a picture, in place."""
    rows, columns = picture.shape
    top, right, bottom, left = technique.border
    stencil = glyphs(technique.marker, max(2, rows // 110))
    high, wide = stencil.shape
    row = top + rows // 16
    column = left + columns // 22 if technique.marker == "R" else columns - right - columns // 22 - wide
    picture[row : row + high, column : column + wide][stencil] = 0.97
    if technique.text:
        words = glyphs(technique.text, 1)
        start = column if technique.marker == "R" else columns - right - columns // 22 - words.shape[1]
        picture[row + high + 4 : row + high + 4 + words.shape[0], start : start + words.shape[1]][words] = 0.92
    frame = np.ones(picture.shape, bool)
    frame[top : rows - bottom, left : columns - right] = False
    picture[frame] = 0.015
