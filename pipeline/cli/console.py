"""What commands print: plain lines in a log, bars on a terminal."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(line, flush=True)


def on_terminal() -> bool:
    """Whether a person looks on, so that a bar may move."""
    return sys.stderr.isatty()
