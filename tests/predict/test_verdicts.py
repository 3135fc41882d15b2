"""Verdicts on volumes as a trained network segments them: wrong ones are found, and good ones let pass.

Two small U-Nets, a fold each, learn ventricles and cerebellum from the demo's heads; ``predict`` and ``select``
calibrate the verdicts; heads of other people are then judged as they are, and turned, inverted and cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from pipeline import predict, select
from pipeline.core.files import write_table
from pipeline.core.labels import LabelMap
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan
from pipeline.core.scan import Array, Scan
from pipeline.core.study import Study
from pipeline.demo.head import Acquisition, Head
from pipeline.demo.rays import turn
from pipeline.formats.store import write_labels, write_scan
from pipeline.imaging.preprocessing import prepare
from pipeline.inference.model_files import build_for, save_model
from pipeline.inference.predictor import Predictor, open_champion
from pipeline.metrics.overlap import dice
from pipeline.quality.judge import Judge, open_judge
from tests.predict.plans import make_plan
from tests.predict.studies import SCAN_COLUMNS, make_study

ORGANS = ("ventricles", "cerebellum")
SHAPE, SPACING = (24, 28, 12), np.array([7.4, 7.6, 12.0])
DEVELOPMENT, HELD_OUT, WRONG = 36, 40, 12
STEPS = 120


@cache
def head(seed: int) -> tuple[Scan, LabelMap]:
    """A person's head, not quite straight in the coil."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = turn(0, rng.normal(0, 4)) @ turn(1, rng.normal(0, 3)) @ turn(2, rng.normal(0, 4))
    affine[:3, :3] @= np.diag(SPACING)
    affine[:3, 3] = rng.normal([0, 0, -3], [3, 4, 2]) - affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    noise, bias, gain = rng.uniform(0.02, 0.045), rng.uniform(0.12, 0.4), rng.uniform(500, 2400)
    acquisition = Acquisition(SHAPE, affine, "T1", noise, bias, gain)
    voxels, labels = Head(rng, tumour=False).acquire(acquisition, rng)
    scan = Scan(voxels.astype(np.float32)[None], affine, "mri", "patient")
    return scan, LabelMap(labels, affine, ORGANS, False, frozenset(ORGANS))


def plan_of(study: Study) -> Plan:
    return make_plan(
        organs=list(study.organs),
        mirror_pairs=study.mirror_pairs(),
        mirror_axes=[0],
        patch=list(SHAPE),
        network={"name": "unet", "features": [8, 16, 32], "encoder_convs": 1, "decoder_convs": 1},
    )


def trained(plan: Plan, seeds: list[int], seed: int) -> torch.nn.Module:
    """A network that saw some heads and their mirror images."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = build_for(plan).train()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, STEPS)
    images = torch.from_numpy(np.stack([prepare(head(number)[0], plan).image for number in seeds]))
    targets = torch.from_numpy(np.stack([head(number)[1].data.astype(np.int64) for number in seeds]))
    generator = np.random.default_rng(seed)
    for step in range(STEPS):
        chosen = generator.integers(0, len(seeds), 4)
        x, y = images[chosen], targets[chosen]
        if step % 2:
            x, y = x.flip(2), y.flip(1)
        logits = network(x)
        logits = logits[0] if isinstance(logits, list) else logits
        p = torch.softmax(logits, 1)
        organs = torch.nn.functional.one_hot(y, 3).movedim(-1, 1).float()
        both, size = (p * organs).sum((0, 2, 3, 4)), (p + organs).sum((0, 2, 3, 4))
        loss = torch.nn.functional.cross_entropy(logits, y) + 1 - (2 * both / size)[1:].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Judge]:
    """What ``predict`` and ``select`` make of two folds."""
    study = make_study(
        organs={organ: {"mirror": organ} for organ in ORGANS}, split={"folds": 2}, evaluate={"dice_limit": 0.7}
    )
    paths = StudyPaths("heads", tmp_path_factory.mktemp("heads"))
    rows, splits = [], []
    for number in range(DEVELOPMENT):
        scan, labels = head(number)
        write_scan(paths.scan(0, f"s{number}"), scan)
        write_labels(paths.mask(0, f"s{number}"), labels)
        rows.append(
            {"scan_id": f"s{number}", "patient_id": f"p{number}", "shard": 0, "labelled": 1, "modality": "mri",
             "spacing_source": "patient"}
        )  # fmt: skip
        splits.append({"patient_id": f"p{number}", "split": "development", "fold": number % 2, "origin": "drawn"})
    write_table(paths.scans_csv, rows, SCAN_COLUMNS)
    write_table(paths.splits, splits, ("patient_id", "split", "fold", "origin"))
    plan = plan_of(study)
    for fold in range(2):
        network = trained(plan, [number for number in range(DEVELOPMENT) if number % 2 != fold], fold)
        save_model(paths.model("unet", fold), network, plan, {"fold": fold})
    predict.run(study, paths, "oof", "unet", threads=1)
    select.run(study, paths, threads=1)
    judge = open_judge(paths.champion)
    assert judge is not None
    return open_champion(paths.champion, threads=1)[0], judge


def judged(champion: tuple[Predictor, Judge], seed: int, wrong: Callable[[Array], Array]) -> tuple[set[str], float]:
    """The verdicts on a head that took no part, and how far mirrored passes agree on the cerebellum."""
    predictor, judge = champion
    scan = head(seed)[0]
    scan = replace(scan, voxels=np.ascontiguousarray(wrong(scan.voxels)))
    prediction = predictor.predict(scan)
    verdicts = judge(scan.canonical(), prediction)
    return {verdict.verdict for verdict in verdicts.values()}, prediction.agreement["passes"]["cerebellum"]


def test_good_volumes_raise_few_alarms(champion: tuple[Predictor, Judge]) -> None:
    """Of 40 people who took no part one in ten at most; their organs were found."""
    found = [judged(champion, seed, lambda voxels: voxels)[0] != {"good"} for seed in range(1000, 1000 + HELD_OUT)]
    assert sum(found) <= HELD_OUT // 10
    scores = []
    for seed in range(1000, 1010):
        scan, reference = head(seed)
        labels = champion[0].predict(scan).labels
        scores.append([dice(labels.mask(organ), reference.mask(organ)) for organ in ORGANS])
    assert np.min(np.mean(scores, axis=0)) > 0.75


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v: v[..., ::-1],
        lambda v: v[:, :, ::-1, ::-1],
        lambda v: v[:, ::-1, :, ::-1],
        lambda v: v[:, ::-1, ::-1],
        lambda v: np.rot90(v, 1, (1, 2)),
        lambda v: np.rot90(v, 1, (2, 3)),
        lambda v: np.rot90(v, 1, (1, 3)),
        lambda v: v.max() - v,
        lambda v: v[:, : SHAPE[0] // 2],
        lambda v: v[:, :, SHAPE[1] // 2 :],
        lambda v: v[..., SHAPE[2] // 2 :],
        lambda v: v[..., : SHAPE[2] // 2],
    ],
    ids=[
        "slices in reverse", "turned about x", "turned about y", "turned about z", "a quarter about z",
        "a quarter about x", "a quarter about y", "inverted", "left half", "front half", "upper half", "lower half",
    ],
)  # fmt: skip
def test_wrong_volumes_are_found(champion: tuple[Predictor, Judge], wrong: Callable[[Array], Array]) -> None:
    """Each of 12, as ``look`` or ``fail`` of one organ at least."""
    for seed in range(1000, 1000 + WRONG):
        assert judged(champion, seed, wrong)[0] & {"look", "fail"}


def test_mirrored_passes_agree_less_on_wrong_volumes(champion: tuple[Predictor, Judge]) -> None:
    """And their limit comes of out-of-fold predictions."""
    usual = champion[1].reference.organs["cerebellum"].intervals["passes"]
    plain, turned = (
        [judged(champion, seed, wrong)[1] for seed in range(1000, 1000 + WRONG)]
        for wrong in (lambda v: v, lambda v: v[..., ::-1])
    )
    assert min(plain) > np.mean(turned) + 0.05
    assert usual.middle == pytest.approx(np.mean(plain), abs=0.05)
