"""Promptable segmentation of 2D medical image slices, without 3D Slicer.

Import what you need from its own file: ``from SAMMed2DLib.inference.prompts import Prompts``. This one imports
nothing, so that the package opens before torch is installed.
"""

__version__ = "0.1.0"
