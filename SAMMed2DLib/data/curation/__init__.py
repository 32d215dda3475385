"""Volumes and 2D images with their segmentations -> 2D training data in the SA-Med2D format."""
