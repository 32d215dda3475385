"""Interactive training: images with several objects, prompts that answer the model's own errors.

`loop.train` is the whole of it: `config` says what a run is, `items` and `views` what it sees, `training_prompts` how
the objects are asked for, `steps` what is done with one batch, `run` what is left on disk.
"""

from SAMMed2DLib.training.config import TrainingConfig, TrainingError
from SAMMed2DLib.training.items import (
    LabelMaps,
    LayoutImages,
    SkippedImageWarning,
    TrainingImages,
    TrainingItems,
    usable,
)
from SAMMed2DLib.training.loop import TrainingResult, train
from SAMMed2DLib.training.optimisers import (
    PUBLISHED_ORPHANS,
    choose_trained,
    make_optimiser,
    published_optimiser,
    start_from_identity,
)
from SAMMed2DLib.training.parallel import ShardedBatches, Team, team
from SAMMed2DLib.training.run.run_folder import Intervals, Progress
from SAMMed2DLib.training.run.training_state import Origin, RunState, resume_run, save_run
from SAMMed2DLib.training.start import PUBLISHED_WIDTH, SIZES, StartingPoint, fresh_start, known_start
from SAMMed2DLib.training.steps import (
    Batch,
    Interaction,
    NotFiniteError,
    PublishedPass,
    train_batch,
    train_batch_published,
)
from SAMMed2DLib.training.training_prompts import (
    AccumulatedClicks,
    PromptSource,
    PublishedPrompts,
    RoundPrompts,
    boxes_of,
    error_clicks,
    neighbours_of,
    user_clicks,
)
from SAMMed2DLib.training.views import make_framed_item, make_masked_item, make_published_item, make_training_item

Pictures = TrainingImages  # its former name

__all__ = [
    "PUBLISHED_ORPHANS",
    "PUBLISHED_WIDTH",
    "SIZES",
    "AccumulatedClicks",
    "Batch",
    "Interaction",
    "Intervals",
    "LabelMaps",
    "LayoutImages",
    "NotFiniteError",
    "Origin",
    "Pictures",
    "Progress",
    "PromptSource",
    "PublishedPass",
    "PublishedPrompts",
    "RoundPrompts",
    "RunState",
    "ShardedBatches",
    "SkippedImageWarning",
    "StartingPoint",
    "Team",
    "TrainingConfig",
    "TrainingError",
    "TrainingImages",
    "TrainingItems",
    "TrainingResult",
    "boxes_of",
    "choose_trained",
    "error_clicks",
    "fresh_start",
    "known_start",
    "make_framed_item",
    "make_masked_item",
    "make_optimiser",
    "make_published_item",
    "make_training_item",
    "neighbours_of",
    "published_optimiser",
    "resume_run",
    "save_run",
    "start_from_identity",
    "team",
    "train",
    "train_batch",
    "train_batch_published",
    "usable",
    "user_clicks",
]
