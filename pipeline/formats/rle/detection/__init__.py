"""Which dialect a file is in, by evidence that is shown; where the evidence does not decide, no dialect."""

from pipeline.formats.rle.detection.verdict import Detection, Scored, detect

__all__ = ["Detection", "Scored", "detect"]
