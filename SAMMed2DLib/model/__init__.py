"""The network: one part per file, sizes in `build`, coordinates in `frame`."""
