"""The options of the effect: its widgets, what they say, its help."""
