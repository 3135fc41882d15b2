"""organseg: from raw X-rays and MRI to a trained, measured, reviewable segmentation model."""

from pipeline.core.quiet import silence

__version__ = "0.2.0"

silence()
