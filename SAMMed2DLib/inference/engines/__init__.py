"""What computes a network for the predictor: PyTorch, or NumPy alone."""
