"""``organseg ui``: review in MLflow's UI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=None)(ui)


def ui(
    study: Annotated[str | None, typer.Option("--study", help="Open this study.", show_default="all")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port on this machine.", show_default="5000 or above")
    ] = None,
) -> None:
    """Open MLflow's UI on this machine, to review runs and registered models. Ctrl-C ends it."""
    from pipeline.tracking.ui import serve_ui

    for page in serve_ui(study, Path(), port, lambda line: typer.echo(line, err=True)):
        typer.echo(f"Open {page}")
