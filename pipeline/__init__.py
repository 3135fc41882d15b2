"""organseg: from raw X-rays and MRI to a trained, measured, reviewable segmentation model."""

from pipeline.core.quiet import silence

__version__ = "0.1.0"

silence()
