"""What an evaluation asks of the model: kinds of prompts, how they are disturbed, and what is measured besides Dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ProtocolName = Literal["careful", "published"]
SIMULATED_USER: ProtocolName = "careful"
REFERENCE: ProtocolName = "published"
PROTOCOLS: tuple[ProtocolName, ...] = (SIMULATED_USER, REFERENCE)
CLICKS = (1, 3, 5)
FILLED_BOX, BOX, CLICK_ANYWHERE = "filled box", "box", "1 click anywhere"
# Baselines without a network; of these the first three are given boxes, the last the first click.
BASELINES = FILLED, ELLIPSE, ELLIPSE_FIT, DISC_FIT = "filled", "ellipse", "ellipse + fit", "disc + fit"
# Dice that a user may be content with.
TARGETS = (0.8, 0.9)
# The surface distance is counted in px of a frame whose longer side has this many: images of all sizes are compared.
FRAME_PX = 256


class EvaluationError(ValueError):
    """An evaluation that cannot be done as it was asked for; the message says why and what to do."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How objects are prompted and scored; the defaults cost no more than they must.

    Attributes:
        protocol: "careful" is the simulated user, who clicks in the middle of the object and then of the largest error,
            and who has all of the product; "published" is the reference protocol, that of the paper.
        clicks: numbers of clicks to score.
        zoom: predict on crops around the prompts; None does what the weights were trained for.
        box_jitters: also score boxes whose edges are moved by up to this share of the side, 0.1 as "box ±10 %".
        click_jitters: also score one click that is off the middle by up to this share of the object's width and
            height, and one anywhere on the object; for the simulated user only.
        most_clicks: also note the Dice after each click up to this number; 0 does not.
        tolerance_px: of the surface distance, px of a frame of 256; 0 does not measure it.
        baselines: also score what needs no network: the filled boxes, ellipses in them, a disc around the first click.
        seed: of all random draws.
    """

    protocol: ProtocolName = SIMULATED_USER
    clicks: tuple[int, ...] = CLICKS
    zoom: bool | None = None
    box_jitters: tuple[float, ...] = ()
    click_jitters: tuple[float, ...] = ()
    most_clicks: int = 0
    tolerance_px: float = 0.0
    baselines: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            EvaluationError: with the reason.
        """
        if self.protocol not in PROTOCOLS:
            raise EvaluationError(f"unknown protocol {self.protocol!r}; choose one of {', '.join(PROTOCOLS)}")
        if not self.clicks or min(self.clicks) < 1:
            raise EvaluationError(f"clicks are counted from 1, not {self.clicks}; give for example 1, 3, 5")
        if any(not 0 < share < 1 for share in self.box_jitters + self.click_jitters):
            raise EvaluationError("a jitter is a share between 0 and 1, for example 0.1; leave 0 out")
        if self.most_clicks < 0 or not self.tolerance_px >= 0:
            raise EvaluationError("most clicks and the tolerance are 0 or more")
        if self.protocol == REFERENCE and (self.zoom or self.click_jitters):
            raise EvaluationError("the reference protocol has neither zoom nor moved first clicks; leave them out")

    @property
    def last_click(self) -> int:
        """How many clicks each object gets."""
        return max(*self.clicks, self.most_clicks)

    def kinds(self, peers: Sequence[str] = (), compared: Sequence[str] = ()) -> list[str]:
        """The prompts that are scored, in the order of results.

        Args:
            peers: names of other models that are given the boxes.
            compared: names of other models that are given boxes and clicks.
        """
        boxes = [BOX, *(jittered_name(BOX, share) for share in self.box_jitters)]
        moved = [jittered_name(clicks_name(1), share) for share in self.click_jitters]
        moved += [CLICK_ANYWHERE] if self.click_jitters else []
        given_boxes = [*(BASELINES[:3] if self.baselines else ()), *peers]
        of_others = [f"{name} {kind}" for name in given_boxes for kind in boxes]
        of_others += [f"{DISC_FIT} {clicks_name(1)}"] if self.baselines else []
        clicked = [clicks_name(count) for count in sorted(set(self.clicks))]
        of_others += [f"{name} {kind}" for name in compared for kind in (*boxes, *clicked)]
        return list(dict.fromkeys([FILLED_BOX, *boxes, *of_others, *clicked, *moved]))


def clicks_name(count: int) -> str:
    """For example "3 clicks"."""
    return f"{count} click{'s' if count > 1 else ''}"


def jittered_name(kind: str, share: float) -> str:
    """For example "box ±10 %"; the kind itself for 0."""
    return f"{kind} ±{100 * share:g} %" if share else kind
