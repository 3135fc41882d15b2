"""The arithmetic under the stages: metrics, surfaces, components, resampling, augmentation, sliding window."""
