"""Stage ``train``: one model on one fold, from preprocessed scans to weights; stopped and resumed at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pipeline.core.errors import InputError
from pipeline.core.files import digest_of, read_json, read_table, sha256_of
from pipeline.core.journal import Journal
from pipeline.core.paths import StudyPaths
from pipeline.core.plan import Plan, read_plan
from pipeline.core.say import Say, quiet
from pipeline.core.splits import fold_sides, read_splits
from pipeline.core.study import Study
from pipeline.inference.champion import Reading
from pipeline.inference.model_files import WEIGHTS, build_for
from pipeline.tracking import follow
from pipeline.train import device as machine
from pipeline.train.checkpoint import JOURNAL, read_settings, write_settings
from pipeline.train.data import Batches, PreparedScan, load_scans
from pipeline.train.engine import Engine, Settings, drawn_network
from pipeline.train.loop import SCANS_ON_THE_WAY, Loop, Status, Stop, Stopped
from pipeline.train.results import versions, write_results
from pipeline.train.schedule import validation_steps
from pipeline.train.transfer import earlier_model, start_from
from pipeline.train.validation import score_scan, segment_scan, spread

__all__ = ["Status", "Stopped", "run"]

#: Changes whenever the same inputs would be trained on in another way.
VERSION = 3


@dataclass(frozen=True)
class Task:
    """What is to be trained, read from the study's files.

    Attributes:
        plan: The plan.
        fold: The validation fold.
        training: Scans to train on.
        validation: Scans to validate on.
        prepared: Folder of the prepared scans.
        init_from: Folder of the model to start from, or ``None``.
        key: Hash of all that the weights depend on.
    """

    plan: Plan
    fold: int
    training: tuple[str, ...]
    validation: tuple[str, ...]
    prepared: Path
    init_from: Path | None
    key: str


def run(
    study: Study,
    paths: StudyPaths,
    model: str,
    fold: int,
    *,
    threads: int | None = None,
    device: str | None = None,
    deterministic: bool = False,
    compiled: bool = False,
    say: Say = quiet,
    progress: Callable[[Status], None] = lambda status: None,
) -> None:
    """Train a model on one fold and write ``models/<model>/fold<k>/``.

    Killed at any moment and called again, it goes on from its last checkpoint and ends with the same weights (bit for
    bit on the same kind of CPU with the same threads). Started by ``torchrun``, its processes share each batch.

    Args:
        study: The study.
        paths: Its places.
        model: A model of the study.
        fold: The fold that validates.
        threads: CPU threads granted; by default all that this process may use.
        device: ``cpu``, ``cuda``, ``cuda:1`` …; by default a GPU if there is one.
        deterministic: Allow only deterministic kernels on a GPU, whatever the plan says.
        compiled: Compile the network first, whatever the plan says; it pays in long trainings on a GPU.
        say: Takes plain lines about progress.
        progress: Takes a status every few steps.

    Raises:
        InputError: An earlier stage's files are missing, the loss is not finite, or one patch exceeds the memory.
        Stopped: SIGTERM came; a checkpoint was written.
    """
    world = machine.join_world(device)
    say = say if world.leads else quiet  # one process speaks for all
    granted = machine.use_threads(threads)
    task = read_task(paths, model, fold)
    folder = paths.checkpoints(task.key)
    kept = machine.agreed(read_settings(folder), world)
    wanted = _wanted(task, kept, compiled, deterministic, say)
    with ExitStack() as stack:
        where = stack.enter_context(machine.chosen_device(world, device, say))
        began = time.perf_counter()  # waiting for a card is no part of the budget
        stop = stack.enter_context(Stop())
        training = load_scans(task.prepared, task.training, task.plan, where)
        validation = load_scans(task.prepared, task.validation, task.plan, torch.device("cpu"))
        batches = Batches(training, task.plan, where, rank=world.rank, world=world.size)

        def make(settings: Settings, alone: bool = False) -> Engine:
            return _engine(task, batches, settings, machine.World() if alone else world, say)

        stack.callback(machine.leave_world, world)
        settings = kept or _settle(task, make, validation, world, where, began, say, wanted)
        if world.leads and kept is None:
            write_settings(folder, settings)
        engine = make(settings)
        loop = Loop(engine, validation, folder, study.colors(), world, say, progress)
        _go(loop, stop, study, paths, task, where, granted)


def _wanted(task: Task, kept: Settings | None, compiled: bool, deterministic: bool, say: Say) -> Settings:
    """Settings that an earlier start kept, else those of the plan and the call; kernels are chosen accordingly."""
    plan = task.plan
    wanted = kept or Settings(0, compiled=compiled or plan.compile, deterministic=deterministic or plan.deterministic)
    if deterministic and not wanted.deterministic:
        say(f"{plan.model}, fold {task.fold} began without --deterministic, and goes on so")
    machine.use_determinism(wanted.deterministic)
    return wanted


def _go(loop: Loop, stop: Stop, study: Study, paths: StudyPaths, task: Task, where: torch.device, granted: int) -> None:
    """Take the steps that are left, and write what came of them; processes that do not lead write nothing."""
    settings, say, path = loop.engine.settings, loop.say, loop.folder / JOURNAL
    name = f"{task.plan.model}, fold {task.fold}"
    resumed = loop.resume()
    say(
        f"{name}: {len(task.training)} scans to train on, {len(task.validation)} to validate, on {where}, "
        f"{granted} threads, {settings.precision}, step {resumed} of {settings.steps}"
    )
    if taken := getattr(loop.engine.network, "taken", []):
        folded = ", the first convolution folded to the scans' channels" if any(one.folded for one in taken) else ""
        say(f"{name}: {len(taken)} tensors of the encoder from weights: {task.plan.network['weights']}{folded}")
    if not loop.world.leads:
        loop.run(stop)
        return
    # The journal is delivered to MLflow while it is written.
    with Journal(path) as loop.journal, follow(study, paths, task.plan.model, task.fold, path, say):
        loop.journal.write("start", **_start(task, loop.engine, granted, resumed))
        loop.run(stop)
        loop.journal.write("end", step=settings.steps, seconds=round(loop.at.seconds, 1), reason="finished")
        facts = {**task_facts(task, settings), "ingest": Reading.of(study.ingest).model_dump(mode="json")}
        write_results(paths.model(task.plan.model, task.fold), facts, loop.engine, study.colors(), loop.folder)
    say(f"{name}: {settings.steps} steps in {loop.at.seconds:.0f} s")


def read_task(paths: StudyPaths, model: str, fold: int) -> Task:
    """Read what is to be trained.

    Raises:
        InputError: A file of an earlier stage is missing, the fold does not exist, or it has no scan to train on.
    """
    plan = read_plan(paths.plan(model))
    made = read_json(paths.preprocessed_for(model))
    if made["recipe"] != plan.recipe_hash():
        raise InputError(
            "the scans were prepared for another plan",
            where=str(paths.preprocessed_for(model)),
            remedy=f"Run `organseg preprocess --study {paths.study} --model {model}`.",
        )
    splits = read_splits(paths.splits)
    folds = sorted({place.fold for place in splits.values() if place.fold is not None})
    if fold not in folds:
        raise InputError(f"there is no fold {fold}", where=str(paths.splits), remedy=f"Folds: {folds}.")
    ready = set(made["scans"])
    rows = read_table(paths.scans_csv)
    training, validation = (
        tuple(sorted(row["scan_id"] for row in side if row["scan_id"] in ready))
        for side in fold_sides(rows, splits, fold)
    )
    init_from = earlier_model(paths.root / plan.init_from, plan) if plan.init_from else None
    start = given_weights(plan) if init_from is None else sha256_of(init_from / WEIGHTS)
    key = digest_of([VERSION, plan.digest(), made["digest"], training, validation, fold, start])
    return Task(plan, fold, training, validation, paths.preprocessed(made["recipe"]), init_from, key)


def given_weights(plan: Plan) -> str | None:
    """Hash of the file of weights that the plan's network names, if it names one that is there."""
    weights = plan.network.get("weights")
    path = Path(weights).expanduser() if isinstance(weights, str) else None
    return sha256_of(path) if path is not None and path.is_file() else None


def _engine(task: Task, batches: Batches, settings: Settings, world: machine.World, say: Say) -> Engine:
    plan = task.plan
    network = drawn_network(plan, lambda: build_for(plan, pretrained=task.init_from is None))
    if task.init_from is not None:
        start_from(network, plan, task.init_from, say)
    network.to(batches.device)
    if world.size == 1:
        return Engine(plan, network, batches, settings, say=say)
    ids = [batches.device.index] if batches.device.type == "cuda" else None
    parallel = torch.nn.parallel.DistributedDataParallel
    return Engine(plan, network, batches, settings, wrap=lambda module: parallel(module, device_ids=ids), say=say)


def _settle(
    task: Task,
    make: Callable[..., Engine],
    validation: list[PreparedScan],
    world: machine.World,
    where: torch.device,
    began: float,
    say: Say,
    wanted: Settings,
) -> Settings:
    """Measure what is to be measured before the first step; all processes settle on the same."""
    plan = task.plan
    patches = -(-plan.batch // world.size)
    steps = plan.steps or 1_000_000
    settings = replace(wanted, steps=steps, micro_batch=patches)
    settings, seconds = machine.settle(plan, make, settings, where, say, world)
    if plan.minutes is not None and seconds is not None:
        each = _validation_seconds(make(settings), validation[0]) if validation else 0.0
        # Validation times are of all scans at the end, and of a few on the way.
        most = len(validation) + 7 * len(spread(validation, SCANS_ON_THE_WAY))
        steps = machine.steps_in(plan.minutes, time.perf_counter() - began, seconds, each * most / world.size)
        rounds = len(validation_steps(steps, plan.validate_every)) - 1
        looked_at = len(validation) + rounds * len(spread(validation, SCANS_ON_THE_WAY))
        steps = machine.steps_in(plan.minutes, time.perf_counter() - began, seconds, each * looked_at / world.size)
        say(f"{plan.minutes:g} minutes: {seconds:.3f} s a step, so {steps} steps")
        settings = replace(settings, steps=steps)
    return machine.agreed(settings, world)


def _validation_seconds(engine: Engine, scan: PreparedScan) -> float:
    """Seconds to validate one scan, after a first time that warms up."""
    for _ in range(2):
        start = time.perf_counter()
        found = segment_scan(engine.mean, scan, engine.plan, engine.device, engine.settings.precision)
        score_scan(found, scan, engine.plan)
    return time.perf_counter() - start


def _start(task: Task, engine: Engine, threads: int, resumed: int) -> dict[str, Any]:
    where, settings = engine.device, engine.settings
    return {
        "model": task.plan.model,
        "fold": task.fold,
        "plan_digest": task.plan.digest(),
        "seed": task.plan.seed,
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
        "threads": threads,
        "steps": settings.steps,
        "precision": settings.precision,
        "parameters": sum(p.numel() for p in engine.network.parameters()),
        "versions": versions(),
        "resumed_at": resumed,
    }


def task_facts(task: Task, settings: Settings) -> Mapping[str, Any]:
    """Facts about a training that a model carries with it; none of them depends on the time or the machine."""
    return {
        "plan": task.plan,
        "fold": task.fold,
        "seed": task.plan.seed,
        "steps": settings.steps,
        "precision": settings.precision,
        "training_scans": list(task.training),
        "validation_scans": list(task.validation),
        "inputs": task.key,
        "versions": versions(),
    }
