"""slicer.qMRML…: Qt widgets over the real MRML scene, with the properties, signals and slots of Slicer's headers."""

from . import base, node_selector, numbers, segment_selector, segments_table


def exported():
    """Every stand-in by its Slicer name."""
    sources = (base, node_selector, numbers, segment_selector, segments_table)
    return {n: v for source in sources for n, v in vars(source).items() if n.startswith(("qMRML", "qSlicer"))}
