"""Which dialect a file is in, by evidence that is shown; where the evidence does not decide, no dialect."""

from pipeline.formats.rle.detection.decision import Detection, Scored, detect, given_or_detected

__all__ = ["Detection", "Scored", "detect", "given_or_detected"]
