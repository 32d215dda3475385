"""Slice views, the 3D view and the layout: Slicer's logics and displayable managers in off-screen render windows."""

from . import layout, slice_view, three_d_view


def exported():
    """Every stand-in by its Slicer name."""
    sources = (layout, slice_view, three_d_view)
    return {n: v for source in sources for n, v in vars(source).items() if n.startswith(("qMRML", "qSlicer"))}
