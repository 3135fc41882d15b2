"""The course of a training over its steps: learning rate, the mean over weights, when to validate."""

from __future__ import annotations

import math

from pipeline.core.errors import InputError

SCHEDULES = ("cosine", "poly", "constant")


def rate_factor(step: int, steps: int, *, schedule: str = "cosine", warmup: float = 0.05) -> float:
    """Factor on the learning rate at ``step`` (0 is the first) of ``steps``.

    Linear warm-up over the share ``warmup`` of the steps, then ``cosine`` to zero (Loshchilov & Hutter, 2017), ``poly``
    with exponent 0.9 (nnU-Net's), or ``constant``.

    Raises:
        InputError: There is no such schedule.
    """
    if schedule not in SCHEDULES:
        raise InputError(
            f"there is no schedule {schedule!r}", where="optimiser", remedy=f"Schedules: {', '.join(SCHEDULES)}."
        )
    rising = max(round(warmup * steps), 1)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(steps - rising, 1)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return (1 - done) ** 0.9 if schedule == "poly" else 1.0


def ema_decay(step: int, decay: float) -> float:
    """Decay of the exponential mean of weights at ``step`` (0 is the first).

    Early weights are forgotten fast: the mean reaches back over at most a tenth of the steps so far, until ``decay``
    is the tighter bound.
    """
    return min(decay, (1 + step) / (10 + step))


def validation_steps(steps: int, every: int, most: int = 8) -> list[int]:
    """The steps after which to validate: every ``every``, no more than ``most`` times, and always the last."""
    every = max(every, -(-steps // most))
    return [*range(every, steps - every // 2, every), steps]
