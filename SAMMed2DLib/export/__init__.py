"""Models as files that other programs read: ONNX graphs, and checkpoints in the published layout."""
