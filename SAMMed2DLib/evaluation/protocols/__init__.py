"""How objects are asked for: the objects of an image, and prompts by the simulated user or the reference protocol."""
