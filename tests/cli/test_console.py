"""What a training prints: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys

import pytest
import rich.console

from pipeline.cli import console
from pipeline.train.loop import Status

STATUS = Status(40, 100, 0.123, 8.5, {"heart": 0.912, "aorta": None})


def test_on_a_terminal_the_bar_shows_loss_dice_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    honest = rich.console.Console
    wide = lambda stderr: honest(file=sys.stderr, force_terminal=True, width=160)  # noqa: E731
    monkeypatch.setattr(rich.console, "Console", wide)
    with console.training_bar() as (say, progress):
        say("unet, fold 0: 8 scans to train on")
        say("step 20 of 100: loss 0.2, 8.5 images/s, 70 s left")
        say("step 25 of 100: validation Dice of 2 scans: heart 0.912")
        progress(STATUS)
    shown = capsys.readouterr().err
    assert "8 scans to train on" in shown
    assert "validation Dice" in shown
    # What the bar shows is not said a second time.
    assert "70 s left" not in shown
    for part in ("40/100", "loss 0.123", "8.5 images/s", "heart 0.912"):
        assert part in shown
    assert "aorta" not in shown


def test_in_a_log_every_line_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    with console.training_bar() as (say, progress):
        say("step 20 of 100: loss 0.2, 8.5 images/s, 70 s left")
        progress(STATUS)
    printed = capsys.readouterr()
    assert printed.out == "step 20 of 100: loss 0.2, 8.5 images/s, 70 s left\n"
    assert printed.err == ""
