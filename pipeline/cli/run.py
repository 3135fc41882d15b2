"""``organseg run``: Snakemake with the workflow that travels in the package."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    # What follows `--` is Snakemake's; words before it that are no options of ours are mistakes.
    app.command(rich_help_panel=None)(run)


def run(
    study: Annotated[str, typer.Option("--study", help="Name of a study, or several separated by commas.")] = "",
    cores: Annotated[
        int | None, typer.Option(min=1, help="Processor cores to use.", show_default="all there are")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- SNAKEMAKE'S OWN]", help="Passed on, as in: -- --dry-run")
    ] = None,
) -> None:
    """Run every stage of a study, as `snakemake` does in a checkout; without a study, of both demos.

    The working folder is the study's: it holds configs/ and data_manifests/, and results/ is made there. The demos need
    nothing.
    """
    import os
    import sys
    from pathlib import Path

    from pipeline.core.paths import shipped

    folder = shipped()
    words = ["--snakefile", str(folder / "Snakefile"), "--workflow-profile", str(folder / "profiles" / "default")]
    words += ["--cores", str(cores or "all"), *(["--config", f"study={study}"] if study else []), *(arguments or [])]
    # The rules call `organseg` by its name: this installation's, also where it was not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # -P: a file `snakemake.py` or `pipeline.py` of the working folder is not meant.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "snakemake", *words], {**os.environ, "PATH": path})
