"""Many objects at once: a segment for each, and taking back the last prompt."""
