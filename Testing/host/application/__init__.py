"""``slicer.app``, ``slicer.modules`` and what scripts reach through them."""
