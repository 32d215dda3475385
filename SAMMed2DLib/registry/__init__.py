"""Known models, the models on this computer, and downloads."""
