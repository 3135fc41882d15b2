"""What commands print: plain lines in a log, a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.core.say import Say

if TYPE_CHECKING:
    from pipeline.train.loop import Status


def say(line: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(line, flush=True)


def say_aside(line: str) -> None:
    """Print one line where it is not part of a document."""
    print(line, file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Whether a person looks on, so that a bar may move."""
    return sys.stderr.isatty()


@contextmanager
def training_bar() -> Iterator[tuple[Say, Callable[[Status], None]]]:
    """What a training reports to: on a terminal a bar with loss, Dice and time left; in a log its plain lines.

    Yields:
        Where lines go, and where the status of every few steps goes.
    """
    if not on_terminal():
        yield say, lambda status: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("training", total=None)

        def show(status: Status) -> None:
            dice = " ".join(f"{organ} {value:.3f}" for organ, value in status.dice.items() if value is not None)
            text = f"loss {status.loss:.3f}  {status.images_per_s:.1f} images/s  {dice}"
            progress.update(task, completed=status.step, total=status.steps, description=text)

        def line(text: str) -> None:
            # The bar shows the steps; the lines that say more than a step stand above it.
            if not text.startswith("step ") or "validation" in text:
                progress.console.print(text, highlight=False)

        yield line, show
