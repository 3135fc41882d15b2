"""Augmentation: transforms of whole batches, presets that say how far they go, and their seeded draws."""
