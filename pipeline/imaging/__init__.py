"""What is done to voxels: normalisation, resampling, preparation for a network, components, surfaces, pictures."""
