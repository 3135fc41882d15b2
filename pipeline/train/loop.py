"""The course of one training: steps, journal, validations, checkpoints; stopped and resumed at any moment."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from pipeline.core.errors import InputError
from pipeline.core.files import write_bytes
from pipeline.core.journal import Journal, read_journal
from pipeline.core.say import Say
from pipeline.train.checkpoint import JOURNAL, Progress, read_checkpoint, write_checkpoint
from pipeline.train.data import PreparedScan
from pipeline.train.device import World
from pipeline.train.engine import Engine, NotFiniteError
from pipeline.train.figure import draw_scan
from pipeline.train.schedule import validation_steps
from pipeline.train.validation import means, score_scan, segment_scan, spread

#: Scans that a validation on the way looks at; the last one looks at all.
SCANS_ON_THE_WAY = 16
#: Scans of these that each validation draws, always the same.
PICTURED = 3
#: Seconds between two checkpoints.
CHECKPOINT_EVERY = 60.0


@dataclass(frozen=True)
class Status:
    """What a progress bar shows.

    Attributes:
        step: Steps taken.
        steps: Steps of the whole training.
        loss: Mean loss lately.
        images_per_s: Patches a second lately.
        dice: Organ → Dice at the last validation.
    """

    step: int
    steps: int
    loss: float
    images_per_s: float
    dice: dict[str, float | None] = field(default_factory=dict)


class Stopped(SystemExit):
    """A training that was asked to stop, and did after writing a checkpoint; exit code 128 + 15."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Stop:
    """Notices SIGTERM while it is entered, in the main thread: Python tells no other thread of signals."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


@dataclass
class Loop:
    """Runs a training from its checkpoint to its last step.

    Attributes:
        engine: The state and its step.
        validation: Scans of the validation fold.
        folder: Folder of the checkpoint.
        colors: Organ → ``#rrggbb``, for pictures.
        world: The processes of the training.
        say: Takes plain lines.
        progress: Takes a status every few steps.
        journal: Where events go; ``None`` in processes that do not lead.
        at: Where the training stands.
        dice: Organ → Dice at the last validation.
    """

    engine: Engine
    validation: Sequence[PreparedScan]
    folder: Path
    colors: Mapping[str, str]
    world: World
    say: Say
    progress: Callable[[Status], None]
    journal: Journal | None = None
    at: Progress = field(default_factory=Progress)
    dice: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pictured = {scan.scan_id for scan in spread(spread(self.validation, SCANS_ON_THE_WAY), PICTURED)}
        self.steps = self.engine.settings.steps
        self.every = max(min(20, self.steps // 50), 1)
        self._saved = 0.0

    def resume(self) -> int:
        """Take over the folder's checkpoint, if there is one; gives the steps taken so far."""
        found = read_checkpoint(self.folder)
        if found is not None:
            tensors, self.at = found
            self.engine.restore(tensors)
        return self.at.step

    def run(self, stop: Stop) -> None:
        """Take all steps that are left.

        Raises:
            Stopped: SIGTERM came; a checkpoint was written.
            InputError: The loss is no longer finite.
        """
        due = set(validation_steps(self.steps, self.engine.plan.validate_every))
        if self.at.step in due and not self._validated(self.at.step):
            self.validate(self.at.step)
        started, began = time.perf_counter(), self.at
        mark, self._saved = time.perf_counter(), time.perf_counter()
        loss_sum, loss_count = self.at.loss_sum, self.at.loss_count
        for step in range(self.at.step, self.steps):
            try:
                loss_sum += self.engine.step(step)
            except NotFiniteError as error:
                self._give_up(error)
            loss_count += 1
            done = step + 1
            if done % self.every == 0 or done == self.steps:
                now = time.perf_counter()
                self._report(done, loss_sum / loss_count, loss_count, now - mark)
                mark, loss_sum, loss_count = now, 0.0, 0
            if done in due:
                # The last weights are safe before they are measured.
                self._save(Progress(done, began.seconds + time.perf_counter() - started, loss_sum, loss_count))
                self.validate(done)
                mark = time.perf_counter()
            self.at = Progress(done, began.seconds + time.perf_counter() - started, loss_sum, loss_count)
            if self._asked(stop):
                self._save(self.at)
                self._write("note", text=f"stopped at step {done} on request")
                self.say(f"stopped at step {done} of {self.steps}; the same command goes on from here")
                raise Stopped
            if time.perf_counter() - self._saved > CHECKPOINT_EVERY:
                self._save(self.at)

    def validate(self, step: int) -> None:
        """Measure Dice on the validation fold with the mean of weights, scans spread over the processes."""
        final = step == self.steps
        scans = list(self.validation) if final else spread(self.validation, SCANS_ON_THE_WAY)
        if not scans:
            return
        own = {
            index: self._measure(scans[index], step) for index in range(self.world.rank, len(scans), self.world.size)
        }
        rows: list[Any] = [own]
        if self.world.size > 1:
            rows = [None] * self.world.size
            torch.distributed.all_gather_object(rows, own)
        merged = {index: measured for part in rows for index, measured in part.items()}
        for index in sorted(merged):
            self._keep_picture(scans[index].scan_id, step, merged[index][1])
        organs = self.engine.plan.organs
        self.dice, mean = means([merged[index][0] for index in sorted(merged)], organs)
        self._write("validation", step=step, dice=self.dice, mean=mean, scans=len(scans))
        each = ", ".join(f"{organ} {'–' if value is None else f'{value:.3f}'}" for organ, value in self.dice.items())
        self.say(f"step {step} of {self.steps}: validation Dice of {len(scans)} scans: {each}")

    def _measure(self, scan: PreparedScan, step: int) -> tuple[list[float], bytes | None]:
        """Dice of each organ on one scan, and its picture where it is one of those that are drawn."""
        engine = self.engine
        plan = engine.plan
        found = segment_scan(engine.mean, scan, plan, engine.device, engine.settings.precision)
        scores = score_scan(found, scan, plan)
        if scan.scan_id not in self.pictured:
            return scores, None
        _, mean = means([scores], plan.organs)
        title = f"step {step}" + ("" if mean is None else f", mean Dice {mean:.3f}")
        return scores, draw_scan(scan, found, plan, self.colors, title)

    def _keep_picture(self, scan_id: str, step: int, picture: bytes | None) -> None:
        if picture is not None and self.journal is not None:
            file = f"pictures/{scan_id}-{step:06d}.png"
            write_bytes(self.folder / file, picture)
            self._write("picture", step=step, name=f"validation scans/{scan_id}", file=file)

    def _validated(self, step: int) -> bool:
        """Whether an earlier attempt, stopped right after its checkpoint, measured this step already."""
        events = read_journal(self.folder / JOURNAL)
        return any(event["kind"] == "validation" and event["step"] == step for event in events)

    def _report(self, done: int, loss: float, count: int, lately: float) -> None:
        rate = count * self.engine.plan.batch / max(lately, 1e-9)
        left = (self.steps - done) * lately / count
        learning_rate = self.engine.optimiser.param_groups[0]["lr"]
        self._write("step", step=done, loss=round(loss, 6), learning_rate=learning_rate, images_per_s=round(rate, 2))
        self.progress(Status(done, self.steps, loss, rate, self.dice))
        if done % max(self.steps // 20 // self.every * self.every, self.every) == 0:
            self.say(f"step {done} of {self.steps}: loss {loss:.4f}, {rate:.1f} images/s, {left:.0f} s left")

    def _asked(self, stop: Stop) -> bool:
        if self.world.size == 1:
            return stop.asked
        asked = torch.tensor([float(stop.asked)], device=self.engine.device)
        torch.distributed.all_reduce(asked)
        return bool(asked.item() > 0)

    def _save(self, progress: Progress) -> None:
        if self.world.leads:
            write_checkpoint(self.folder, self.engine.state(), progress)
        self._saved = time.perf_counter()

    def _write(self, kind: str, **fields: Any) -> None:
        if self.journal is not None:
            self.journal.write(kind, **fields)

    def _give_up(self, error: NotFiniteError) -> None:
        self._save(self.at)
        place = f"step {error.step}, scans {', '.join(error.scans)}"
        self._write("note", text=f"{error.what} is not finite at {place}")
        self._write("end", step=error.step, seconds=round(self.at.seconds, 1), reason="not finite")
        raise InputError(
            f"{error.what} is not finite",
            where=place,
            remedy=f"The last good checkpoint, of step {self.at.step}, is {self.folder}. Look at these scans, or lower "
            "optimiser.learning_rate in models.<name>.plan.",
        )
