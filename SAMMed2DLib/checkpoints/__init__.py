"""Weights on disk: reading, fitting to a network, and writing for inference."""
