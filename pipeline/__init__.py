"""organseg: from raw X-rays and MRI to a trained, measured, reviewable segmentation model."""

__version__ = "0.1.0"
