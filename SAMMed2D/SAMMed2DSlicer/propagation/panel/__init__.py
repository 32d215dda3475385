"""The panel of propagation: its widgets, the strip of confidences, what it says."""
