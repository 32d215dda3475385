"""What joins 3D Slicer and SAMMed2DLib: scenes to arrays, prompts to markups, masks to segments, one worker thread."""
