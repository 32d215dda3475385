"""From a few slices or frames of an object to all of them."""
