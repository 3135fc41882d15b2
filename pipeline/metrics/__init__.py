"""Figures of segmentations against their references, and statistics over patients."""
