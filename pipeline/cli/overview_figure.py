"""The command that draws a study's overview figure: images, segmentations and outlines as montages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import StudyName


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=None)(overview)


def overview(
    study: StudyName,
    out: Annotated[
        Path | None, typer.Option(help="PNG file to write.", show_default="results/NAME/overview.png")
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(help="champion or reference.", show_default="the champion's, where it predicted"),
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=100, help="Scans to show.")] = 16,
) -> None:
    """Draw a study's scans, their segmentations and the outlines on the scans, in one picture."""
    from pipeline.cli.console import say
    from pipeline.core.paths import StudyPaths
    from pipeline.core.study import load_study
    from pipeline.report.montage import overview as draw

    if masks not in {None, "champion", "reference"}:
        raise typer.BadParameter(f"{masks!r} is neither champion nor reference", param_hint="--masks")
    config, paths = load_study(study), StudyPaths(study)
    place = out or paths.results / "overview.png"
    shown = draw(config, paths, place, masks=masks, most=most)  # type: ignore[arg-type]
    say(f"{place}: {len(shown)} scans")
