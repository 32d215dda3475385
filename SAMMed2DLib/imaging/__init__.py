"""Slices in volumes: geometry, planes, grids, grey values, components of masks, and how well two masks agree."""
