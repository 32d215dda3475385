"""What the effect works on: the editor at one moment, its parameters, the prompt groups, and changes in the scene."""
