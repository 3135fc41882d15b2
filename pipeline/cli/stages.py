"""The stages as commands: each for a study, and some also for single scans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pipeline.cli.options import Fold, Formats, Gather, Model, OptionalStudy, Organs, Out, Shard, StudyName, Threads

if TYPE_CHECKING:
    from pipeline.core.paths import StudyPaths
    from pipeline.core.splits import Part
    from pipeline.core.study import Study

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the commands in the order of the workflow."""
    for command in (demo, ingest, plan, preprocess, train, predict, evaluate, select, export, report):
        app.command(rich_help_panel=None)(command)


@contextmanager
def opened(name: str, *lock: object) -> Iterator[tuple[Study, StudyPaths]]:
    """Read a study and hold a lock on one piece of its work.

    A job may be started again while one that outlived its killed workflow is still at the same work: the second waits.
    The processes of one distributed training are at it together: each after the first holds a lock of its own.
    """
    import os

    from pipeline.cli.console import say
    from pipeline.core.form import mark_results
    from pipeline.core.locks import hold
    from pipeline.core.paths import StudyPaths
    from pipeline.core.private import protect
    from pipeline.core.study import load_study

    study = load_study(name)
    paths = StudyPaths(name)
    for folder in (paths.results.parent, paths.results):
        protect(folder, study.group, say)
    mark_results(paths)
    rank = os.environ.get("RANK", "0")
    lock = lock if rank == "0" else (*lock, f"rank{rank}")
    with hold(paths.lock(*lock), say):
        yield study, paths


def demo(study: StudyName) -> None:
    """Make the scans and the manifest of a built-in demo study."""
    from pipeline import demo as stage
    from pipeline.cli.console import say
    from pipeline.core.errors import InputError
    from pipeline.core.manifest import load_manifest, manifest_path
    from pipeline.core.shards import write_shards
    from pipeline.core.study import data_root

    with opened(study, "demo") as (config, paths):
        if config.demo is None:
            raise InputError(f"{study} is not a demo study", remedy="Its config has no section demo.")
        data = data_root(config)
        stage.make(study, manifest_path(study), data, config.demo.seed, config.demo.count, say=say)
        write_shards(paths, config, load_manifest(manifest_path(study), config), data)


def ingest(
    scans: Annotated[list[Path] | None, typer.Argument(help="Files and folders, without a study.")] = None,
    study: OptionalStudy = None,
    shard: Shard = None,
    gather: Gather = False,
    out: Out = None,
    modality: Annotated[str | None, typer.Option(help="xray, mri, ct or photo, without a study.")] = None,
) -> None:
    """Read scans and masks in any form; list what was refused, and why."""
    from pipeline.cli.console import say

    if study is None:
        from pipeline.cli.ingest import ingest_files

        raise typer.Exit(ingest_files(_needed(scans, "SCANS"), _needed(out, "--out"), modality))
    _alone(scans, out, modality)
    from pipeline import ingest as stage
    from pipeline.core.manifest import load_manifest, manifest_path
    from pipeline.core.shards import check_data, data_folder, write_shards

    if shard is None and not gather:
        from pipeline.core.study import load_study
        from pipeline.early import check_study

        check_study(load_study(study))
    with opened(study, "ingest", "gather" if gather else shard) as (config, paths):
        if shard is None and not gather:
            manifest = load_manifest(manifest_path(study), config)
            for note in manifest.notes:
                say(note)
            write_shards(paths, config, manifest, check_data(paths, config, manifest))
        if not gather:
            data_folder(config)
            for number in range(config.ingest.shards) if shard is None else [shard]:
                stage.run_shard(config, paths, number, say=say)
        if shard is None:
            stage.gather(config, paths, say=say)


def plan(study: StudyName) -> None:
    """Measure the development patients' scans, split the patients, and plan each model."""
    from pipeline import plan as stage
    from pipeline.cli.console import say

    with opened(study, "plan") as (config, paths):
        stage.run(config, paths, say=say)


def preprocess(study: StudyName, model: Model = None) -> None:
    """Bring scans into the form that a model reads."""
    from pipeline import preprocess as stage
    from pipeline.cli.console import say

    with opened(study, "preprocess", model) as (config, paths):
        for name in _models(config, model):
            stage.run(config, paths, name, say=say)


def train(
    study: StudyName,
    model: Model = None,
    fold: Fold = None,
    threads: Threads = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 …", show_default="a free GPU if there is one, else cpu")
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="Only deterministic kernels on a GPU; slower. The plan can say so too."),
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the network first; pays in long trainings on a GPU. The plan can say so too."
        ),
    ] = False,
) -> None:
    """Train a model; started again after a kill, it goes on where it was."""
    from pipeline import train as stage
    from pipeline.cli.console import training_bar

    with opened(study, "train", model, fold) as (config, paths):
        for name in _models(config, model):
            for number in range(config.split.folds) if fold is None else [fold]:
                with training_bar() as (say, progress):
                    stage.run(
                        config,
                        paths,
                        name,
                        number,
                        threads=threads,
                        device=device,
                        deterministic=deterministic,
                        compiled=compiled,
                        say=say,
                        progress=progress,
                    )


def predict(
    scans: Annotated[list[Path] | None, typer.Argument(help="Files and folders, without a study.")] = None,
    study: OptionalStudy = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the study, or without a study its folder or models:/NAME@alias.")
    ] = None,
    part: Annotated[str, typer.Option(help="oof or test patients of the study.")] = "test",
    out: Out = None,
    threads: Threads = None,
    formats: Formats = "nifti,overlays",
    backend: Annotated[str | None, typer.Option(help="onnxruntime, openvino or torch; by default the model's.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write probability maps too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON, without a study.")] = False,
) -> None:
    """Segment scans: single ones with a trained model, or a study's."""
    from pipeline.cli.console import say

    if study is None:
        from pipeline.cli.predict import predict_files

        raise typer.Exit(
            predict_files(
                _needed(scans, "SCANS"),
                _needed(model, "--model"),
                _needed(out, "--out"),
                threads,
                as_json,
                formats=formats.split(","),
                backend=backend,
                probabilities=probabilities,
            )
        )
    _alone(scans, out)
    from pipeline import predict as stage

    with opened(study, "predict", part, model) as (config, paths):
        for name in _models(config, model):
            stage.run(config, paths, _part(part), name, threads=threads, say=say)


def evaluate(
    masks: Annotated[
        list[Path] | None, typer.Argument(help="PRED and REF: two files or two folders, without a study.")
    ] = None,
    study: OptionalStudy = None,
    part: Annotated[str | None, typer.Option(help="oof or test patients of the study.")] = None,
    shard: Shard = None,
    gather: Gather = False,
    organs: Organs = None,
    spacing: Annotated[str | None, typer.Option(help="mm along each axis, for files that hold none.")] = None,
    convention: Annotated[
        str, typer.Option(help="Rule for empty masks: organseg, nnunet, monai, smp, metrics-reloaded.")
    ] = "organseg",
    dialect: Annotated[str | None, typer.Option(help="Dialect of RLE CSV files that do not name theirs.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="What paths in folders say, if not to be told: scan, scan/organ or organ/scan.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="File for the table of scans and organs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Measure predictions against references, per scan and organ, with intervals over patients."""
    from pipeline.cli.console import say

    if study is None:
        from pipeline.cli.evaluate import evaluate_files

        pair = _needed(masks, "PRED REF")
        if len(pair) != 2:
            raise typer.BadParameter("give two: predictions and references", param_hint="PRED REF")
        raise typer.Exit(
            evaluate_files(
                pair[0],
                pair[1],
                organs=organs,
                spacing=spacing,
                convention=convention,
                dialect=dialect,
                layout=layout,
                csv=csv,
                as_json=as_json,
            )
        )
    _alone(masks, csv, organs, spacing, dialect)
    from pipeline import evaluate as stage

    with opened(study, "evaluate", part, "gather" if gather else shard) as (config, paths):
        for name in [_part(part)] if part else [_part("oof"), _part("test")]:
            if not gather:
                for number in range(config.ingest.shards) if shard is None else [shard]:
                    stage.run_shard(config, paths, name, number, say=say)
            if shard is None:
                stage.gather(config, paths, name, say=say)


def select(study: StudyName, threads: Threads = None) -> None:
    """Choose the champion from out-of-fold results alone."""
    from pipeline import select as stage
    from pipeline.cli.console import say

    with opened(study, "select") as (config, paths):
        stage.run(config, paths, threads=threads, say=say)


def export(
    pair: Annotated[
        list[Path] | None, typer.Argument(metavar="SCAN MASK", help="One scan and its mask, without a study.")
    ] = None,
    study: OptionalStudy = None,
    out: Out = None,
    formats: Formats = "nifti,rle,dicom_seg,overlays",
    organs: Organs = None,
    overlapping: Annotated[bool, typer.Option("--overlapping", help="Keep overlaps, without a study.")] = False,
    dialect: Annotated[str, typer.Option(help="Dialect of run lengths, without a study.")] = "organseg",
) -> None:
    """Write predictions as NIfTI, RLE CSV, DICOM SEG and pictures, and read each back."""
    from pipeline.cli.console import say

    if study is None:
        from pipeline.cli.export import export_files

        files = _needed(pair, "SCAN MASK")
        if len(files) != 2:
            raise typer.BadParameter("give two: a scan and its mask", param_hint="SCAN MASK")
        raise typer.Exit(
            export_files(
                files[0],
                files[1],
                _needed(out, "--out"),
                formats=formats.split(","),
                organs=organs,
                overlapping=overlapping,
                dialect=dialect,
            )
        )
    _alone(pair, out, organs)
    from pipeline import export as stage

    with opened(study, "export") as (config, paths):
        stage.run(config, paths, say=say)


def report(study: StudyName) -> None:
    """Write report.html, one file that opens anywhere."""
    from pipeline import report as stage
    from pipeline.cli.console import say

    with opened(study, "report") as (config, paths):
        stage.run(config, paths, say=say)


def _models(config: Study, model: str | None) -> list[str]:
    import difflib

    from pipeline.core.errors import InputError

    if model is None:
        return list(config.models)
    if model != "champion" and model not in config.models:
        near = difflib.get_close_matches(model, config.models, 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"the study has no model {model!r}", remedy=f"{hint}Its models are {', '.join(config.models)}."
        )
    return [model]


def _part(name: str) -> Part:
    if name == "oof":
        return "oof"
    if name == "test":
        return "test"
    raise typer.BadParameter(f"{name!r} is neither oof nor test", param_hint="--part")


def _needed(value: T | None, name: str) -> T:
    if not value:
        raise typer.BadParameter(f"give {name}, or --study NAME", param_hint=name)
    return value


def _alone(*values: object) -> None:
    if any(values):
        raise typer.BadParameter("files and --study do not go together")
