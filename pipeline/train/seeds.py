"""Seeds of all random draws of a training: each a function of the run's seed, the purpose and the step."""

from __future__ import annotations

import numpy as np

#: One stream a purpose, so that no two share numbers.
WEIGHTS_STREAM, ORDER_STREAM, WINDOW_STREAM, AUGMENT_STREAM, DROPOUT_STREAM = range(5)


def seed_for(seed: int, stream: int, *more: int) -> int:
    """A 63-bit seed for one purpose and place, independent of all others."""
    return int(np.random.SeedSequence([seed, stream, *more]).generate_state(1, np.uint64)[0] >> np.uint64(1))
