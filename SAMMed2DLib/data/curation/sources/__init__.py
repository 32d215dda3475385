"""What there is to curate: the cases of a folder or data set, and their label maps on the grid of the image."""
