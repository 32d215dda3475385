"""Modules under the names that they had before they lay in folders: scripts that name them go on, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Of modules, and of folders with all that is in them; one former name may lead to another.
MODULES = {
    "batch": "batch_run",
    "catalogue": "registry.known_models",
    "components": "imaging.components",
    "curation": "data.curation",
    "data.curation.cases": "data.curation.sources.cases",
    "data.curation.dataset_layouts": "data.curation.sources.dataset_layouts",
    "data.curation.discovery": "data.curation.sources.discovery",
    "data.curation.label_stack": "data.curation.sources.label_stack",
    "data.curation.resampling": "data.curation.sources.resampling",
    "dataset": "data.dataset",
    "devices": "inference.devices",
    "dicom": "io.dicom",
    "download": "registry.download",
    "geometry": "imaging.geometry",
    "image": "imaging.intensity",
    "losses": "training.losses",
    "markups": "io.markups",
    "metrics": "imaging.metrics",
    "model.shapes": "model.config.shapes",
    "model_store": "registry.store",
    "nifti": "io.nifti",
    "planes": "imaging.planes",
    "predictor": "inference.predictor",
    "prompts": "inference.prompts",
    "published_layout": "data.sa_med2d",
    "segmentation_io": "io.segmentation_io",
    "session": "inference.session",
    "simulation": "data.simulated_user",
    "stack": "propagation.stack",
    "synthetic": "data.synthetic",
    "time_series": "propagation.time_series",
    "volume": "io.volume",
    "volume_io": "io.volume_io",
    "zoom": "inference.zoom",
}
# What is called otherwise in the module of today.
NAMES = {
    "batch": {"Answer": "CaseResult", "Case": "BatchCase", "Outcome": "CaseOutcome"},
    "session": {"Answer": "MaskPrediction"},
}


def _name_today(name: str) -> str:
    """Where a module is, by its dotted name below the package; the name itself where it was never another."""
    for former, today in MODULES.items():
        if name == former or name.startswith(former + "."):
            return _name_today(today + name.removeprefix(former))
    return name


class FormerNames(MetaPathFinder, Loader):
    """Finds the former names, after everything that there is; costs nothing until one is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of a former name; None for any other.

        Args:
            fullname: dotted, with the package.
            path: where Python looks for parts of a package; not used.
            target: a module that is loaded anew; not used.
        """
        package, _, name = fullname.partition(".")
        is_former = package == __package__ and _name_today(name) != name
        return ModuleSpec(fullname, self, is_package=True) if is_former else None

    def exec_module(self, module: ModuleType) -> None:
        """Hand each attribute on to the module of today, and say once where it is."""
        name = module.__name__.partition(".")[2]
        today = import_module(f"{__package__}.{_name_today(name)}")
        others = NAMES.get(name, {})

        def attribute(attr: str) -> Any:
            return getattr(today, others.get(attr, attr))

        vars(module).update({"__getattr__": attribute, "__doc__": today.__doc__})
        warnings.warn(f"{module.__name__} is {today.__name__} now", FutureWarning, stacklevel=2)
