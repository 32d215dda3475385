"""Volumes and pictures with their segmentations -> 2D training data in the published layout."""
