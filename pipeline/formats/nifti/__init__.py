"""NIfTI: volumes and label maps in and out."""
