"""From logits to the mask of a crop: its outline, the sides of a box, points that hold."""
