"""Pictures of slices with their masks and prompts, in numpy alone."""
