"""The built-in model's network on NumPy alone: for inference where PyTorch is not installed."""
