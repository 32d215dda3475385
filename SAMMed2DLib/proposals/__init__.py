"""Objects that the model proposes: found by likeness to others, ranked, each once."""
