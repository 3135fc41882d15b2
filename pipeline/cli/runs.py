"""``organseg runs``: the leaderboard in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.tracking.leaderboard import Board


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=None)(runs)


def runs(
    study: Annotated[str | None, typer.Option("--study", help="Only this study.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List what was trained, best first: Dice with its interval, and which model is in use."""
    from pipeline.tracking.leaderboard import boards

    found, how = boards(study, Path(), lambda line: typer.echo(line, err=True))
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(board) for board in found], indent=2, default=str, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=160)
    for board in found:
        console.print(_table(board))
        console.print(f"Page of its runs: {board.link}\n", highlight=False, markup=False)
    console.print(f"Review: {how}", highlight=False, markup=False, soft_wrap=True)


def _table(board: Board) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    organs = list(dict.fromkeys(organ for line in board.lines for organ in line.organs))
    title = board.study if board.title in {"", board.study} else f"{board.study}: {board.title}"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    # The interval stands below its figure, so that the table fits 80 columns.
    table.add_column("model", min_width=12, overflow="fold")
    table.add_column("Dice, test", min_width=11)
    table.add_column("out of fold", min_width=11)
    for organ in organs:
        table.add_column(escape(organ), justify="right")
    table.add_column("folds", justify="right")
    table.add_column("state")
    table.add_column("begun, UTC")
    for line in board.lines:
        when = line.started.strftime("%Y-%m-%d %H:%M") if line.started else ""
        cells = [f"{line.organs[organ]:.3f}" if organ in line.organs else "" for organ in organs]
        table.add_row(escape(line.name), _figure(line.test), _figure(line.oof), *cells, line.folds, line.status, when)
    return table


def _figure(value: tuple[Any, Any, Any] | None) -> str:
    if value is None:
        return ""
    mean, low, high = value
    return f"{mean:.3f}" + (f"\n{low:.3f}–{high:.3f}" if low is not None and high is not None else "")
