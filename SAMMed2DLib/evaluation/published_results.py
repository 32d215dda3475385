"""Numbers that SAM-Med2D's authors published, to be read beside one's own."""

from __future__ import annotations

# Dice in per cent, as quoted in the project's README: model, side of the frame, then PROMPTS.
PUBLISHED_DICE: tuple[tuple[str, int, tuple[float, float, float, float]], ...] = (
    ("SAM", 256, (61.63, 18.94, 28.28, 37.47)),
    ("SAM", 1024, (74.49, 36.88, 42.00, 47.57)),
    ("FT-SAM", 256, (73.56, 60.11, 70.95, 75.51)),
    ("SAM-Med2D", 256, (79.30, 70.01, 76.35, 78.68)),
)
PROMPTS = ("box", "1 click", "3 clicks", "5 clicks")
REMARK = (
    "The published numbers are Dice in % on the authors' own test images, means over masks, as their README quotes "
    "them. Those images are other ones than here, so the rows say what to expect, not which model is better."
)
REMARK_ON_CLICKS = (
    "Their clicks are drawn at random where the mask is wrong; those of this run are in the middle of the largest "
    "error. `--protocol published` draws them as they do."
)
