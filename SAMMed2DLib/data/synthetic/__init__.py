"""Endless synthetic images with labels."""

from SAMMed2DLib.data.synthetic.synthetic_images import lesions_on, synthetic_item

__all__ = ["lesions_on", "synthetic_item"]
