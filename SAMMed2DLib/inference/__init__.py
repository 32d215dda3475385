"""From prompts to masks: prompts, the predictor, local zoom, refinement, the session."""
