"""Simulated users who finish objects with this product's tools and with Slicer's own; see bench_annotating.py."""
