"""Data for training and evaluation: reading, curation, augmentation, synthetic images, the simulated user."""
