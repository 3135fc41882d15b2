"""PNG, JPEG and TIFF pictures, as scans one voxel thick and as masks."""
