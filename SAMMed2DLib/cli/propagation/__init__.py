"""What `sammed2d propagate` does along slices and along time."""
