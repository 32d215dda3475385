"""What prompts are made of: checked numbers, and strokes that are painted on a slice."""
