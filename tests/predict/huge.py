"""A volume of 1024 × 1024 × 600 voxels, a champion that segments it by its brightness, and a watch on memory."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pipeline.core.files import write_json
from pipeline.core.plan import Plan
from pipeline.formats.nifti.writer import nifti_parts
from pipeline.inference.backends import INPUT, OUTPUT
from pipeline.inference.champion import ONNX, QUALITY, Champion, Member
from pipeline.inference.postprocessing import OrganSteps
from tests.predict.plans import make_plan

SHAPE = (1024, 1024, 600)
SPACING = 0.5  # mm
ORGANS = ("body", "core")
#: Organ → first and last voxel of its box, on canonical axes. The body is 45 % of all voxels.
BOXES = {"body": ((50, 50, 50), (950, 950, 450)), "core": ((300, 300, 100), (700, 600, 400))}
#: Values inside; outside is a ramp of 0 to 99. The window of the plan below ends at 1000.
VALUES = {"body": 500, "core": 1000}
#: Specks of the body at two corners, so that its box before the clean-up is the whole volume.
SPECKS = ((2, 2, 2), (1016, 1016, 592))
SPECK = 6


def write_volume(path: Path, slope: float = 1.0) -> None:
    """Write the volume as int16 NIfTI, in the axis order of its file, with a slope that divides 1 if asked."""
    affine = np.array([[0, 0, -SPACING, 0], [-SPACING, 0, 0, 0], [0, SPACING, 0, 0], [0, 0, 0, 1]], float)
    x, y, z = SHAPE
    voxels = np.empty((y, z, x), np.int16, order="F")
    voxels[:] = (np.arange(y) % 100)[:, None, None]
    view = canonical_view(voxels)
    for organ, (low, high) in BOXES.items():
        view[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = VALUES[organ]
    for at in SPECKS:
        view[tuple(slice(a, a + SPECK) for a in at)] = VALUES["body"]
    voxels *= round(1 / slope)
    parts = list(nifti_parts(voxels, affine, "mm"))
    header = bytearray(bytes(parts[0]))
    header[112:116] = np.float32(slope).tobytes()
    with gzip.open(path, "wb", 1) if path.name.endswith(".gz") else open(path, "wb") as stream:
        stream.write(bytes(header))
        for part in parts[1:]:
            stream.write(part)


def canonical_view(stored: np.ndarray) -> np.ndarray:
    """``(P, S, L)`` of the file as ``(R, A, S)``."""
    return stored.transpose(2, 0, 1)[::-1, ::-1]


def expected(organ: str) -> np.ndarray:
    """The mask that the champion finds, on canonical axes: the largest component, minus what lies inside it."""
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(*BOXES[organ], strict=True))] = True
    if organ == "body":
        mask[tuple(slice(a, b) for a, b in zip(*BOXES["core"], strict=True))] = False
    return mask


def write_champion(folder: Path, members: int = 1, *, clean: bool = True, **plan: object) -> None:
    """Write a champion whose networks tell the organs by their brightness, with a judge; ``clean`` takes all steps."""
    made = plan_of(**plan)
    names = [f"unet_fold{number}" for number in range(members)]
    for name in names:
        write_json(folder / name / "model.json", {"plan": made.model_dump(mode="json")})
        write_network(folder / name / ONNX, made)
    steps = OrganSteps(largest_component=True, fill_holes=True, smallest=10.0)
    champion = Champion(
        name="unet",
        study="huge",
        modality="ct",
        organs=list(ORGANS),
        overlapping=False,
        colors={"body": "#e6194b", "core": "#3cb44b"},
        members=[Member(model="unet", fold=number, folder=name) for number, name in enumerate(names)],
        postprocessing=dict.fromkeys(ORGANS, steps) if clean else {},
    )
    usual = {"middle": 0.0, "half": 1.0}
    scan = ("likeness", "handedness", "darks", "middles", "brights", "log_spacing", "log_extent")
    organ = {"intervals": {"log_size": usual, "whole": usual, "place_x": usual}, "present": 1.0}
    reference = {
        "scan": dict.fromkeys(scan, usual),
        "coarse": [0.0] * 511 + [1.0],
        "sides": [0.0] * 512,
        "organs": dict.fromkeys(ORGANS, organ),
        "limit": 0.7,
    }
    write_json(folder / QUALITY, reference)
    champion.sealed(folder).write(folder / "champion.yaml")


def plan_of(**changes: object) -> Plan:
    """The plan of the networks: values of 0 to 1 inside a window of 0 to 1000."""
    rule = {"name": "ct_window", "low": 0, "high": 1000, "mean": 0, "deviation": 1000}
    values = {
        "modality": "ct",
        "organs": list(ORGANS),
        "mirror_pairs": [],
        "normalisation": rule,
        "patch": [128, 128, 128],
        "overlap": 0.25,
    }
    return make_plan(**{**values, **changes})


def write_network(path: Path, plan: Plan) -> None:
    """Background, body and core win at values of 0, 0.5 and 1: a convolution of one voxel, and softmax."""
    weights = np.array([0, 20, 40], np.float32).reshape(3, 1, 1, 1, 1)
    offsets = np.array([0, -5, -20], np.float32)
    sides = [*plan.patch]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [INPUT, "weights", "offsets"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1),
        ],
        "brightness",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["batch", 1, *sides])],
        [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["batch", 3, *sides])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(offsets, "offsets")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))


def watched(command: Sequence[str], **options: object) -> tuple[int, str, float, float]:
    """Run a command; its exit code, what it said, and the peak GiB of anonymous memory of it and its children.

    Memory is that of ``RssAnon``: pages that no file is behind, which the system cannot take back.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_anonymous, _family(process.pid))))
        time.sleep(0.02)
    said, _ = process.communicate()
    return process.returncode, said, peak / 2**20, time.perf_counter() - start


def _family(process: int) -> list[int]:
    """A process and all that descend from it."""
    family = [process]
    for one in family:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                family += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return family


def _anonymous(process: int) -> int:
    """kB of a process's memory without a file behind it."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def predict_command(*arguments: object) -> list[str]:
    """``organseg predict`` as this test's interpreter runs it."""
    return [sys.executable, "-m", "pipeline", "predict", *map(str, arguments)]
