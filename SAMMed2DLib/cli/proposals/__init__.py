"""Commands that propose objects: more like those of a segmentation, or all of a slice."""
