"""Commands about a study as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import OptionalStudy, StudyName


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (info, schema, clean, forget):
        app.command(rich_help_panel=None)(command)


def info(
    study: OptionalStudy = None,
    scan: Annotated[Path | None, typer.Argument(help="A scan's file or folder, without a study.")] = None,
) -> None:
    """Say what a study holds and how far it is, or what a scan is."""
    if study is not None:
        from pipeline.cli.overview import describe_study

        describe_study(study)
    elif scan is not None:
        from pipeline.cli.overview import describe_scan

        describe_scan(scan)
    else:
        raise typer.BadParameter("give a scan or --study NAME")


def schema() -> None:
    """Print the JSON Schema of configs/<study>.yaml, for editors."""
    import json

    from pipeline.core.study import Study

    print(json.dumps(Study.model_json_schema(), indent=2))


def clean(
    study: StudyName,
    everything: Annotated[
        bool, typer.Option("--all", help="All of results/<study>, not only what can be made again from it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what takes disk and is made again where needed: prepared scans, checkpoints, out-of-fold probabilities."""
    import shutil

    from pipeline.core.disk import say_size
    from pipeline.core.paths import StudyPaths
    from pipeline.core.study import load_study

    load_study(study)
    results = StudyPaths(study).results
    # Whole rules' outputs: what a rule made is made again by it, what is missing from the inside of one is not.
    spare = [results / "preprocessed", results / "checkpoints", results / "predictions" / "oof"]
    folders = [results] if everything else spare
    folders = [folder for folder in folders if folder.exists()]
    size = sum(p.stat().st_size for folder in folders for p in folder.rglob("*") if p.is_file())
    if not folders:
        print(f"{study}: nothing to remove")
        return
    names = ", ".join(str(folder) for folder in folders)
    if not yes and not typer.confirm(f"Remove {names} ({say_size(size)})?"):
        raise typer.Exit(1)
    for folder in folders:
        shutil.rmtree(folder)
    print(f"{study}: removed {names} ({say_size(size)})")


def forget(
    patient: Annotated[str, typer.Argument(help="The patient's id in the manifest.")],
    study: Annotated[str, typer.Option("--study", help="Name of the study.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what was found; else it is only listed.")] = False,
) -> None:
    """Say where all of a patient lies in a study and which models were trained on it; with --yes, remove it."""
    from pipeline.core.errors import TryAgainError
    from pipeline.core.locks import hold_if_free
    from pipeline.core.paths import StudyPaths
    from pipeline.core.study import load_study
    from pipeline.tracking import forget

    config, paths = load_study(study), StudyPaths(study)
    with hold_if_free(paths.lock("workflow")) as free:
        if not free:
            raise TryAgainError(f"the study {study} is being worked on", remedy="Wait for it to end.")
        found = forget.find_traces(paths, patient)
        print(f"{patient}: {len(found.scans)} scans ({', '.join(found.scans)})")
        for what, places in (
            ("its own files", found.files),
            ("made again by the next run", found.derived),
            ("tables with its rows", found.tables),
            ("facts of models that name it", found.facts),
            ("models trained on it", found.models),
        ):
            print(f"{what}: {len(places)}")
            for place in places:
                print(f"  {place}")
        for source in found.sources:
            print(f"under the data root, which is yours to clear: {source}")
        if config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI"):
            print("An MLflow server's artefacts lie with the server, and are not looked through.")
        if not yes:
            print("Nothing was removed; --yes does it.")
            return
        forget.remove(paths, found)
        print(f"{paths.results / forget.RECORD}: noted, without a name. The next run trains without these scans.")
