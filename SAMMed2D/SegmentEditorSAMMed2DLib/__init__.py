"""The Segment Editor effect, in a folder of its own: Slicer names its Python module after the folder."""
