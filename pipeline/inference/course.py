"""One scan on its way through a predictor's steps, holding at each point only what the next one needs."""

from __future__ import annotations

from pipeline.core.scan import Scan
from pipeline.inference.predictor import Found, Prediction, Predictor, Ready


class Course:
    """A scan that is predicted step by step, in whichever threads: made, asked, concluded.

    A scan that is to be alone in memory is prepared only when the networks are asked.

    Args:
        predictor: Who predicts.
        scan: The scan.

    Attributes:
        scan: The scan, on canonical axes.
        large: Whether nothing else should be in memory beside it.

    Raises:
        InputError: The scan is not of the kind that the networks were trained on.
    """

    def __init__(self, predictor: Predictor, scan: Scan) -> None:
        self.predictor = predictor
        self.scan = scan.canonical()
        self.large = predictor.is_large(self.scan)
        self._ready: Ready | None = None if self.large else predictor.prepare(self.scan)
        self._found: Found | None = None

    def ask(self) -> None:
        """Run the networks.

        Raises:
            InputError: The scan is not of the kind that the networks were trained on.
        """
        self._found = self.predictor.ask(self._take_ready())

    def conclude(self) -> Prediction:
        """What was found."""
        return self.predictor.conclude(self._take_found())

    # Handed over rather than lent: the callee is then the only one to hold it, and lets go of it early.

    def _take_ready(self) -> Ready:
        ready, self._ready = self._ready, None
        return ready or self.predictor.prepare(self.scan)

    def _take_found(self) -> Found:
        found, self._found = self._found, None
        if found is None:
            raise ValueError("the networks were not asked")
        return found
