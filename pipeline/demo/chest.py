"""A chest in three dimensions, and its radiograph: organs as solids, line integrals of attenuation, and true masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.demo.rays import Array, Beam, Chord, Scene, common, length_without, smooth_noise, turn, union_length

ORGANS = ("left_lung", "right_lung", "heart")

#: Linear attenuation per mm near 60 keV, and what bone and metal have more than soft tissue (after NIST XCOM).
SOFT, LUNG, AIR, BONE, METAL = 0.0205, 0.0060, 0.0, 0.034, 0.30


#: Where the lungs begin beside the spine, and where they have their full depth, mm from the midline.
MEDIAL_MM = (4.0, 34.0)


@dataclass(frozen=True)
class Build:
    """How one person's chest differs from the average, as factors of 1 or as mm.

    Attributes:
        width: Of the rib cage.
        height: Of the rib cage.
        depth: Of the rib cage.
        fat: Of the soft tissue around the cage.
        heart: Size of the heart.
        heart_turn: Degrees that the heart's axis points down.
        breath: mm that the diaphragm stands lower than on average (a deep breath is positive).
        breasts: Size, 0 for none.
        sway: mm that the spine bends sideways.
        effusion: mm of fluid that blunts a costophrenic angle, 0 for none.
        wet: The side of the fluid, +1 for the left.
    """

    width: float
    height: float
    depth: float
    fat: float
    heart: float
    heart_turn: float
    breath: float
    breasts: float
    sway: float
    effusion: float
    wet: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """Draw a person."""
        size = rng.normal(1, 0.05)
        return cls(
            width=float(np.clip(size * rng.normal(1, 0.05), 0.84, 1.16)),
            height=float(np.clip(size * rng.normal(1, 0.05), 0.85, 1.13)),
            depth=float(np.clip(rng.normal(1, 0.07), 0.85, 1.2)),
            fat=float(np.clip(rng.gamma(8, 0.125), 0.45, 1.9)),
            heart=float(np.clip(rng.normal(1.03, 0.10), 0.85, 1.30)),
            heart_turn=float(rng.normal(36, 7)),
            breath=float(np.clip(rng.normal(0, 12), -28, 20)),
            breasts=float(rng.uniform(0.75, 1.2)) if rng.random() < 0.45 else 0.0,
            sway=float(rng.normal(0, 5)),
            effusion=float(rng.uniform(14, 38)) if rng.random() < 0.25 else 0.0,
            wet=int(rng.choice([-1, 1])),
        )


@dataclass(frozen=True)
class Shadow:
    """A cloudy patch of lung whose air has given way to fluid.

    Attributes:
        side: +1 for the left lung.
        centre: ``(3,)`` in the average cage, mm.
        spread: Standard deviation across and along the body, mm.
        filled: Share of the air that is gone in its middle.
        texture: Seed of its ragged edge.
    """

    side: int
    centre: tuple[float, float, float]
    spread: tuple[float, float]
    filled: float
    texture: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Shadow:
        """Draw a patch anywhere in a lung, more often low."""
        side = int(rng.choice([-1, 1]))
        centre = (side * rng.uniform(50, 115), rng.uniform(-40, 50), 75 - 200 * rng.uniform() ** 0.7)
        spread = (rng.uniform(13, 34), rng.uniform(13, 38))
        return cls(side, centre, spread, float(rng.uniform(0.35, 0.9)), int(rng.integers(2**31)))

    def cast(self, scene: Scene, scale: Callable[[float, float, float], list[float]]) -> Array:
        """``(rows, columns)`` share of the air that is gone along each ray."""
        place = scale(*self.centre)
        row, column, magnification = scene.beam.shadow(np.array([place]))
        rows, columns = np.indices(scene.beam.shape, dtype=np.float32)
        mm = float(np.linalg.norm(scene.beam.right) / magnification[0])
        ragged = smooth_noise(np.random.default_rng(self.texture), scene.beam.shape, 6.0)
        away = ((columns - column[0]) * mm / self.spread[0]) ** 2 + ((rows - row[0]) * mm / self.spread[1]) ** 2
        return np.asarray(self.filled * np.clip(np.exp(-away / 2) * (1 + 0.35 * ragged), 0, 1))


class Chest:
    """A person's chest, fixed in the patient's coordinates, so that a second visit shows the same person."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.build = Build.draw(rng)
        self._vessels = {side: self._grow_vessels(rng, side) for side in (1, -1)}
        self._rib_jitter = rng.normal(0, 1.5, (2, 13))
        self._texture = rng.integers(2**63)
        self._gas = rng.random() < 0.7
        self._shadows = [Shadow.draw(rng) for _ in range(int(rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])))]

    def scale(self, x: float, y: float, z: float) -> list[float]:
        """Bring a place of the average cage to this person's."""
        return [x * self.build.width, y * self.build.depth, z * self.build.height]

    def cage(self, side: int, grow: float = 0.0) -> list[tuple[list[float], list[float]]]:
        """Centres and half axes of the two ellipsoids whose common part holds one lung; ``side`` is +1 for the left."""
        tall = self.build.height
        outer = ([0.0, 0.0, -70 * tall], [a + grow for a in self.scale(145, 94, 258)])
        apex = (self.scale(side * 66, 5, -46), [a + grow for a in self.scale(83, 92, 184)])
        return [outer, apex]

    def dome(self, side: int) -> tuple[list[float], list[float]]:
        """Centre and half axes of one half of the diaphragm; the right one stands higher."""
        top = (-95 if side < 0 else -109) * self.build.height - self.build.breath
        radius = 92 * self.build.height
        return [side * 73 * self.build.width, 2.0, top - radius], [
            90 * self.build.width,
            112 * self.build.depth,
            radius,
        ]

    def _grow_vessels(self, rng: np.random.Generator, side: int) -> list[tuple[Array, Array]]:
        """Grow a tree of vessels from the hilum: per generation ``(N, 3)`` points and their radii, mm."""
        count = 13
        spread = np.linspace(-1.25, 1.35, count) + rng.normal(0, 0.09, count)
        start = np.array(self.scale(side * 34, 8, 2)) + rng.normal(0, [3, 7, 9], (count, 3))
        heading = np.stack([side * np.cos(spread), rng.normal(0, 0.45, count), np.sin(spread) - 0.12], axis=1)
        radius = rng.uniform(3.2, 5.6, count)
        tree = []
        for generation in range(6):
            heading /= np.linalg.norm(heading, axis=1, keepdims=True)
            reach = rng.uniform(15, 30, len(start)) * self.build.width * 0.93**generation
            bend = rng.normal(0, 0.13, (len(start), 3))
            along = np.linspace(0, 1, 14)[None, :, None]
            points = start[:, None] + reach[:, None, None] * (heading[:, None] * along + bend[:, None] * along**2)
            taper = radius[:, None] * (1 - 0.18 * along[..., 0])
            inside = self._inside_lung(points, side)
            tree.append((points[inside], taper[inside] * np.sqrt((reach / 13)[:, None].repeat(14, 1)[inside])))
            ends = points[:, -1]
            angle = rng.uniform(0.22, 0.55, (2, len(start), 1)) * np.array([1, -1])[:, None, None]
            across = np.cross(heading, rng.normal(0, [0.3, 1, 0.3], (len(start), 3)))
            across /= np.linalg.norm(across, axis=1, keepdims=True)
            heading = (heading + 2 * bend + angle * across).reshape(-1, 3)
            start = np.tile(ends, (2, 1))
            radius = np.tile(radius, 2) * rng.uniform(0.62, 0.80, len(start))
        return tree

    def _inside_lung(self, points: Array, side: int) -> NDArray[np.bool_]:
        inside = np.ones(points.shape[:-1], bool)
        for centre, axes in self.cage(side, grow=-4):
            inside &= (((points - centre) / axes) ** 2).sum(-1) < 1
        centre, axes = self.dome(side)
        return np.asarray(inside & ((((points - centre) / axes) ** 2).sum(-1) > 1) & (points[..., 2] > centre[2]))

    def heart_parts(self) -> list[tuple[list[float], list[float], Array]]:
        """Centres, half axes and rotations of left ventricle, right atrium, and the root of the great vessels."""
        b = self.build
        low = -b.breath * 0.45
        axis = turn(1, b.heart_turn)
        s = b.heart
        return [
            ([*self.scale(36 * s, -34, 0)[:2], -70 * b.height + low], [61 * s, 44 * s, 44 * s], axis),
            ([*self.scale(-9 * s, -22, 0)[:2], -60 * b.height + low], [35 * s, 38 * s, 47 * s], turn(1, 12.0)),
            ([*self.scale(11 * s, -22, 0)[:2], -22 * b.height + low * 0.5], [29 * s, 27 * s, 42 * s], turn(1, -12.0)),
        ]

    def spine(self, count: int = 60) -> Array:
        """``(count, 3)`` points down the front of the spinal column."""
        z = np.linspace(260, -260, count)
        x = self.build.sway * np.sin((z + 40) / 110)
        y = self.build.depth * (52 + 12 * np.cos(z / 120))
        return np.stack([x, y, z], axis=1)

    def expose(self, beam: Beam) -> tuple[Array, dict[str, NDArray[np.bool_]]]:
        """Make the radiograph.

        Returns:
            ``(rows, columns)`` line integral of attenuation, and one true silhouette ``(rows, columns)`` an organ. The
            lungs' silhouettes end at the outline of the diaphragm, as readers draw them, and go on behind the heart.
        """
        scene = Scene(beam)
        lungs, masks = self._lungs(scene)
        attenuation = SOFT * self._body(scene)
        for path in lungs.values():
            attenuation -= (SOFT - LUNG) * path
        attenuation -= (SOFT - AIR) * self._airways(scene)
        attenuation += BONE * self._bones(scene)
        for side in (1, -1):
            for points, radius in self._vessels[side]:
                if len(points):
                    attenuation += (SOFT - LUNG) * scene.deposit(
                        points, np.pi * radius**2, float(np.sqrt(np.mean(radius**2))) * 0.8
                    )
        rng = np.random.default_rng(self._texture)
        aerated = sum(lungs.values())
        attenuation += 0.0004 * smooth_noise(rng, beam.shape, 1.6) * aerated
        attenuation += 0.0007 * smooth_noise(rng, beam.shape, 9.0) * aerated
        return np.maximum(attenuation, 0), masks

    def _lungs(self, scene: Scene) -> tuple[dict[str, Array], dict[str, NDArray[np.bool_]]]:
        b = self.build
        hearts = [scene.ellipsoid(*part) for part in self.heart_parts()]
        inlet = scene.ellipsoid([b.sway * 0.5, 18, 118 * b.height], [30 * b.width, 72, 84])
        beside = scene.crossing(40 * b.depth) - b.sway * 0.5
        knob = scene.ellipsoid(self.scale(17, 14, 54), [21, 32, 30], turn(1, 12.0))
        vena_cava = scene.ellipsoid(self.scale(-11, -10, 40), [16, 14, 80])
        paths, masks = {}, {}
        for name, side in (("left_lung", 1), ("right_lung", -1)):
            centre, axes = self.dome(side)
            cavity = common(
                *(scene.ellipsoid(*part) for part in self.cage(side)),
                scene.half_space([0, 0, centre[2]], [0, 0, 1]),
                scene.half_space([side * 5 * b.width, 0, 0], [side, 0, 0]),
            )
            dome = scene.ellipsoid(centre, axes)
            great = knob if side > 0 else vena_cava
            paths[name] = length_without(cavity, [*hearts, inlet, great, dome])
            # The lung thins out against the spine and the vessels before it; half of it is taken as its border.
            share = np.clip((side * beside / b.width - MEDIAL_MM[0]) / (MEDIAL_MM[1] - MEDIAL_MM[0]), 0, 1)
            share = share**2 * (3 - 2 * share)
            paths[name] *= share
            outline = cavity.hit & (share > 0.5) & ~inlet.hit & ~great.hit & ~dome.hit
            for shadow in self._shadows:
                if shadow.side == side:
                    paths[name] *= 1 - shadow.cast(scene, self.scale)
            if side == b.wet and b.effusion:
                fluid = self._effusion(scene, side)
                paths[name] -= np.minimum(common(cavity, fluid).length, paths[name])
                outline &= ~common(cavity, fluid).hit
            masks[name] = outline
        masks["heart"] = np.logical_or.reduce([part.hit for part in hearts])
        return paths, masks

    def _effusion(self, scene: Scene, side: int) -> Chord:
        centre, _ = self.dome(side)
        return scene.ellipsoid([side * 150 * self.build.width, 0, centre[2] + 25], [62, 200, 30 + self.build.effusion])

    def _body(self, scene: Scene) -> Array:
        b = self.build
        fat = 26 * b.fat
        wide, deep, _ = self.scale(152, 98, 0)
        torso = scene.ellipsoid([0, 0, -130], [wide + fat, deep + fat * 0.85, 430])
        yoke = scene.ellipsoid([0, 12, 128 * b.height], [wide + 62 + fat, 62 + fat * 0.4, 68 + fat * 0.3], None)
        slope = scene.ellipsoid([0, 14, 150 * b.height], [112 * b.width, 55, 88])
        neck = common(
            scene.ellipsoid([b.sway * 0.3, 8, 0], [52 + fat * 0.25, 56 + fat * 0.2, np.inf]),
            scene.half_space([0, 0, 60], [0, 0, 1]),
        )
        parts = [torso, yoke, slope, neck]
        path = union_length(parts)
        for side in (1, -1):
            arm = scene.ellipsoid([side * (wide + 58 + fat), 10, 10], [50 + fat * 0.3, 52, 150], turn(1, side * 12.0))
            path += 0.8 * length_without(arm, [torso, yoke])
            if b.breasts:
                breast = scene.ellipsoid(
                    [side * 84 * b.width, -deep * 0.62 - fat * 0.6, -66 * b.height],
                    [76 * b.breasts, 66 * b.breasts, 68 * b.breasts],
                )
                path += 0.6 * length_without(breast, [torso])
        return path

    def _airways(self, scene: Scene) -> Array:
        t = np.linspace(0, 1, 50)[:, None]
        carina = np.array(self.scale(-3, 22, 42))
        top = np.array([self.build.sway * 0.3, 2, 230])
        path = scene.tube(top + (carina - top) * t, 8.2)
        for side, drop in ((1, -26), (-1, -34)):
            end = carina + np.array([side * (40 if side > 0 else 30), 4, drop])
            path += scene.tube(carina + (end - carina) * t[:30] / t[29], 5.6)
        if self._gas:
            centre, axes = self.dome(1)
            top_of_dome = centre[2] + axes[2]
            bubble = scene.ellipsoid([66 * self.build.width, -20, top_of_dome - 30], [30, 26, 17], turn(1, -14.0))
            path += bubble.length * 0.75
        return path

    def _bones(self, scene: Scene) -> Array:
        path = self._ribs(scene) + self._vertebrae(scene)
        b = self.build
        t = np.linspace(0, 1, 90)
        for side in (1, -1):
            x = side * (16 + 150 * t) * b.width
            z = (110 + 32 * t + 9 * np.sin(2 * np.pi * t)) * b.height
            y = -62 * b.depth + 55 * t**1.4
            path += 0.95 * scene.tube(np.stack([x, y, z], 1), 6.2, wall_mm=2.2)
            head = np.array([side * (172 * b.width + 14), 8, 118 * b.height])
            path += 0.35 * scene.ellipsoid(head, [24, 24, 26]).length
            shaft = head + np.outer(t, [side * 34, 0, -190])
            path += 0.6 * scene.tube(shaft, 12.5, wall_mm=4.0)
            blade = scene.ellipsoid(
                [side * 148 * b.width, 74 * b.depth, 62 * b.height],
                [36, 4.5, 78],
                turn(1, side * 14.0) @ turn(2, side * -32.0),
            )
            path += 0.28 * blade.length
            edge = np.array([side * 128 * b.width, 72, -14]) + np.outer(t, [side * 34, -26, 118])
            path += 0.45 * scene.tube(edge, 4.2, wall_mm=1.6)
        return path

    def _ribs(self, scene: Scene) -> Array:
        """Twelve pairs; each runs round the cage and down, and turns into cartilage in front."""
        b = self.build
        points, weights = [], []
        for column, side in enumerate((1, -1)):
            for rib in range(1, 13):
                last = 0.86 if rib < 10 else (0.62, 0.45, 0.3)[rib - 10]
                phi = np.linspace(0.07, last, 130) * np.pi
                fall = (52 + 7.0 * min(rib, 8)) * b.height + self._rib_jitter[column, rib]
                z = (140 - 22.5 * rib) * b.height + self._rib_jitter[column, rib] * 0.6 - fall * (1 - np.cos(phi)) / 2
                z = z + 9 * np.exp(-(((phi - 0.45) / 0.4) ** 2))
                girth = np.sqrt(np.maximum(1 - ((z + 70 * b.height) / (240 * b.height)) ** 2, 0.10))
                x = side * 151 * b.width * girth * np.sin(phi) ** 0.8
                y = 98 * b.depth * girth * np.cos(phi)
                points.append(np.stack([x, y, z], 1))
                weights.append(1 / (1 + np.exp((phi / np.pi - 0.70) / 0.018)) * (0.8 if rib == 1 else 1.0))
        path = np.zeros(scene.beam.shape)
        stacked, weight = np.concatenate(points), np.concatenate(weights)
        steps = np.concatenate([np.linalg.norm(np.gradient(p, axis=0), axis=1) for p in points]) * weight
        for lift, radius, wall in ((-2.3, 4.3, 1.5), (2.3, 4.3, 1.5)):
            # Two tubes, one above the other, make the flat section of a rib with its dense upper and lower margin.
            shifted = stacked + np.array([0, 0, lift])
            path += scene.deposit(shifted, steps * np.pi * radius**2, radius)
            path -= 0.85 * scene.deposit(shifted, steps * np.pi * (radius - wall) ** 2, radius - wall)
        return 0.62 * path

    def _vertebrae(self, scene: Scene) -> Array:
        column = self.spine(400)
        tops = np.concatenate([[0.0], np.cumsum(np.linspace(18, 31, 20))])
        discs: list[tuple[Array, Array]] = []
        pedicles: list[Array] = []
        spines: list[Array] = []
        for index, top in enumerate(tops[:-1]):
            height = tops[index + 1] - top
            level = 245 - top - height / 2
            middle = np.array([np.interp(level, column[::-1, 2], column[::-1, axis]) for axis in range(3)])
            half = 13 + 0.75 * index
            across, up = np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 26))
            waist = half * (1 - 0.10 * (1 - up**2))
            body = np.stack([across * waist, np.zeros_like(up), up * height * 0.41], -1).reshape(-1, 3) + middle
            rim = 1 + 0.5 * (np.abs(up) > 0.84) + 0.35 * (np.abs(across) > 0.88)
            piece = 4 * half * height * 0.41 / up.size
            discs.append((body, (rim * piece * 15).ravel()))
            depth = np.linspace(8, 26, 8)[:, None] * [0, 1, 0]
            pedicles.extend(depth + middle + np.array([side * half * 0.66, 0, height * 0.14]) for side in (1, -1))
            spines.append(middle + np.linspace(0, 1, 20)[:, None] * [0, 24, -16] + np.array([0, 28, -3]))
        bodies = scene.deposit(np.concatenate([d[0] for d in discs]), np.concatenate([d[1] for d in discs]), 1.6)
        rings, dense = np.concatenate(pedicles), np.concatenate(spines)
        path = bodies * 0.26
        path += 0.5 * (
            scene.deposit(rings, 2.6 * np.pi * 4.4**2, 4.4) - scene.deposit(rings, 2.6 * np.pi * 3.2**2, 3.2)
        )
        path += 0.5 * scene.deposit(dense, 1.5 * np.pi * 3.0**2, 3.0)
        return path
