"""A study with networks that were trained for a moment, made once for all tests of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import predict, select
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan
from pipeline.core.study import Study
from pipeline.imaging.preprocessing import prepare
from pipeline.inference.model_files import build_for, save_model
from tests.predict.studies import make_study, phantom, plan_for, write_study


@pytest.fixture(autouse=True, scope="session")
def offline() -> Iterator[None]:
    """No tracking store: these tests are about files."""
    before = os.environ.get("ORGANSEG_TRACKING")
    os.environ["ORGANSEG_TRACKING"] = "offline"
    yield
    if before is None:
        del os.environ["ORGANSEG_TRACKING"]
    else:
        os.environ["ORGANSEG_TRACKING"] = before


def trained(plan: Plan, steps: int, seed: int, flat: bool) -> torch.nn.Module:
    """A network that saw a few phantoms."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = build_for(plan).train()
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    generator = np.random.default_rng(seed)
    images, targets = [], []
    for number in range(100, 106):
        scan, masks = phantom(number, flat)
        image = prepare(scan, plan).image
        target = np.stack([masks[organ] for organ in plan.organs])
        images.append(image[..., 0] if flat else image)
        targets.append(target[..., 0] if flat else target)
    for _ in range(steps):
        chosen = generator.integers(0, len(images), 2)
        size = images[0].shape[1:]
        at = [int(generator.integers(0, s - p + 1)) for s, p in zip(size, plan.patch, strict=True)]
        cut = (slice(None), *(slice(a, a + p) for a, p in zip(at, plan.patch, strict=True)))
        x = torch.from_numpy(np.stack([images[i][cut] for i in chosen]))
        y = torch.from_numpy(np.stack([targets[i][cut] for i in chosen]))
        logits = network(x)
        logits = logits[0] if isinstance(logits, list) else logits
        if plan.overlapping:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y.float())
        else:
            loss = torch.nn.functional.cross_entropy(logits, torch.where(y.any(1), y.int().argmax(1) + 1, 0).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def trained_study(root: Path, study: Study, flat: bool, steps: int = 60, **plan_changes: object) -> StudyPaths:
    """A study after ``train``."""
    paths = write_study(root, study, flat=flat)
    for number, model in enumerate(study.models):
        plan = plan_for(study, model, flat, **plan_changes)
        for fold in range(study.split.folds):
            network = trained(plan, steps, 10 * number + fold, flat)
            save_model(paths.model(model, fold), network, plan, {"fold": fold})
    return paths


@pytest.fixture(scope="session")
def volumes_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """Volumes with exclusive organs: two folds of one model."""
    study = make_study(split={"folds": 2})
    root = tmp_path_factory.mktemp("volumes")
    trained_study(root, study, False)
    return study, root


@pytest.fixture(scope="session")
def pictures_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """Radiographs with overlapping organs: two models."""
    study = make_study(modality="xray", overlapping=True, models={"unet": {}, "other": {}})
    root = tmp_path_factory.mktemp("pictures")
    trained_study(root, study, True)
    return study, root


def _chosen(once: tuple[Study, Path]) -> tuple[Study, Path]:
    study, root = once
    paths = StudyPaths("small", root)
    for model in study.models:
        predict.run(study, paths, "oof", model)
    select.run(study, paths)
    predict.run(study, paths, "test", "champion")
    return study, root


@pytest.fixture(scope="session")
def chosen_volumes_once(
    volumes_once: tuple[Study, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, Path]:
    """The study of volumes after ``select`` and the champion's predictions."""
    root = tmp_path_factory.mktemp("chosen")
    return _chosen((volumes_once[0], shutil.copytree(volumes_once[1], root / "volumes")))


@pytest.fixture(scope="session")
def chosen_pictures_once(
    pictures_once: tuple[Study, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, Path]:
    """The study of radiographs after ``select`` and the champion's predictions."""
    root = tmp_path_factory.mktemp("chosen")
    return _chosen((pictures_once[0], shutil.copytree(pictures_once[1], root / "pictures")))


@pytest.fixture
def chosen_volumes(chosen_volumes_once: tuple[Study, Path], tmp_path: Path) -> tuple[Study, StudyPaths]:
    """A copy of the study of volumes after ``select``."""
    return _copy(chosen_volumes_once, tmp_path)


@pytest.fixture
def chosen_pictures(chosen_pictures_once: tuple[Study, Path], tmp_path: Path) -> tuple[Study, StudyPaths]:
    """A copy of the study of radiographs after ``select``."""
    return _copy(chosen_pictures_once, tmp_path)


def _copy(once: tuple[Study, Path], target: Path) -> tuple[Study, StudyPaths]:
    shutil.copytree(once[1], target / "study")
    return once[0], StudyPaths("small", target / "study")


@pytest.fixture
def volumes(volumes_once: tuple[Study, Path], tmp_path: Path) -> tuple[Study, StudyPaths]:
    """A copy of the trained study of volumes."""
    return _copy(volumes_once, tmp_path)


@pytest.fixture
def pictures(pictures_once: tuple[Study, Path], tmp_path: Path) -> tuple[Study, StudyPaths]:
    """A copy of the trained study of radiographs."""
    return _copy(pictures_once, tmp_path)
