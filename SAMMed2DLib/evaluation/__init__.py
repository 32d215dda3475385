"""How good the masks are: simulated prompts on labelled images, scores for each object.

    evaluation_options  what is asked of the model, and what is measured
    protocols           the objects of an image, and how they are asked for: by the simulated user, who draws exact
                        boxes and clicks on the largest error, or as in the reference protocol, that of the paper
    baselines           masks that need no network: what a model must beat
    image_evaluation    the objects of images, one after another
    scores              the scores of one object
    speed               images encoded and prompts decoded in a second
    prompt_file         boxes and first clicks, drawn once and read again
    saved_masks         the masks that a model found, as PNG files
    result_file         the file of all results, from which a run goes on
    evaluation_run      many images, one after another, whatever happens
    report              means by data set, modality, anatomy and size, tables, charts, the contact sheet
    volumes             propagation on labelled volumes

All draws are fixed by a seed and by the object's name, so two evaluations of the same weights agree to the last digit.
"""

from __future__ import annotations

from SAMMed2DLib.evaluation.evaluation_options import CLICKS, EvaluationError, EvaluationOptions
from SAMMed2DLib.evaluation.image_evaluation import evaluate, evaluate_image
from SAMMed2DLib.evaluation.protocols.objects import jittered_box, single_objects
from SAMMed2DLib.evaluation.report.averages import macro_mean, markdown_table, mean_by_dataset
from SAMMed2DLib.evaluation.scores import ComparedModel, ObjectResult, Peer

Options = EvaluationOptions  # its former name

__all__ = [
    "CLICKS",
    "ComparedModel",
    "EvaluationError",
    "EvaluationOptions",
    "ObjectResult",
    "Peer",
    "evaluate",
    "evaluate_image",
    "jittered_box",
    "macro_mean",
    "markdown_table",
    "mean_by_dataset",
    "single_objects",
]
