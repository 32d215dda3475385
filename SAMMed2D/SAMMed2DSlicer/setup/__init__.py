"""PyTorch and models: whether they are there, and getting them."""
