"""Prompts as markups of the scene, and from what scripts say."""
