"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyName = Annotated[str, typer.Option("--study", help="Name of the study.", show_default=False)]
OptionalStudy = Annotated[str | None, typer.Option("--study", help="Name of the study.", show_default=False)]
Shard = Annotated[int | None, typer.Option(help="Only this shard of the scans.", show_default=False)]
Gather = Annotated[bool, typer.Option("--gather", help="Only bring the shards' results together.")]
Model = Annotated[str | None, typer.Option("--model", help="Only this model.", show_default=False)]
Fold = Annotated[int | None, typer.Option(help="Only this fold.", show_default=False)]
Formats = Annotated[str, typer.Option(help="Forms to write, separated by commas, without a study.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads to use.", show_default="all there are")]
Out = Annotated[Path | None, typer.Option(help="Folder to write to, without a study.")]
Organs = Annotated[str | None, typer.Option(help="Organs by value, as 1=liver,2=spleen.")]
