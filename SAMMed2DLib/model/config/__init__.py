"""Sizes of networks, from files or from the shapes of weights, without PyTorch."""
