"""Settings of the training of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pixelsleuth.core.settings import Count, Natural, NonNegative, OneOf, Positive, Range, fill
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import UsageError
from pixelsleuth.training.run.settings import FREE as ALWAYS_FREE
from pixelsleuth.training.run.settings import RANDOM, RunSettings, ensure_sound, renamed

if TYPE_CHECKING:
    from pixelsleuth.models.baseline import Baseline

FREE = (*ALWAYS_FREE, "minutes")
"""Keys that a resumed training may change."""


@dataclass(frozen=True)
class Optimiser:
    """The optimiser and the schedule of its learning rate.

    Schedules: `constant`; `linear` and `cosine`, to 0 at the last step, all three after `warmup` steps; `step`, the
    rate times `decay` every `decay_every` steps; `plateau`, the rate times `decay` where `patience` validations in a
    row did not raise the score by `least_gain`.
    """

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    """The rule."""
    learning_rate: Positive = 1e-4
    """The peak."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's."""
    momentum: float = 0.9
    """SGD's."""
    weight_decay: NonNegative = 0.0
    """Of the rule."""
    clip: NonNegative = 0.0
    """The largest norm of the gradient; 0: any."""
    schedule: Literal["constant", "linear", "cosine", "step", "plateau"] = "constant"
    """How the rate falls."""
    warmup: Natural = 0
    """Steps of linear warmup."""
    decay: Annotated[float, Range(above=0, most=1)] = 0.1
    """Factor of `step` and `plateau`."""
    decay_every: Count = 1000
    """Steps between two falls of `step`."""
    patience: Count = 5
    """Validations without a gain, after which `plateau` falls."""
    least_gain: float = 1e-3
    """What counts as a gain."""
    floor: float = 0.0
    """A rate below it ends the training."""


@dataclass(frozen=True)
class BaselineSettings(RunSettings):
    """A whole training.

    Without `classes` a detector of synthetic pictures takes what the data have (every fake is fake to it), a localizer
    real and tampered pictures.
    """

    kind: str = "baseline"
    """Names this recipe."""
    baseline: str = ""
    """The name of the detector."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its options, as `--option` takes them."""
    classes: tuple[Annotated[str, OneOf(LABELS)], ...] = ()
    """Classes that are learnt from; empty: those that the detector was made for."""
    start: str = RANDOM
    """`random`, or a file of weights."""
    minutes: NonNegative = 0.0
    """Ends the training after so many minutes; 0: never."""
    batch: Count = 32
    """Pictures of a step."""
    batches: Literal["mixed", "natural"] = "mixed"
    """`mixed`: each class the same share of every batch; `natural`: pictures at their own frequency."""
    optimiser: Optimiser = field(default_factory=Optimiser)

    @property
    def batch_sizes(self) -> tuple[int, int]:
        return self.batch, self.batch

    @property
    def learns_masks(self) -> bool:
        return self.network_class.facts.localizes

    @property
    def network_class(self) -> type[Baseline]:
        """The class that is trained. Raises UsageError for an unknown one."""
        from pixelsleuth.models.baseline import baseline_class

        return baseline_class(self.baseline)

    @property
    def learnt_classes(self) -> tuple[int, ...] | None:
        """The classes that must be there, and no other is learnt from; None: real and whatever fakes there are."""
        network = self.network_class
        if self.classes:
            return tuple(sorted({LABELS.index(name) for name in self.classes}))
        if network.three_classes:
            return (0, 1, 2)
        return (0, LABELS.index(network.facts.made_for)) if network.facts.localizes else None


def from_recipe(content: Mapping[str, Any]) -> BaselineSettings:
    """The settings of a recipe's content. Raises UsageError for what cannot be carried out."""
    settings = fill(BaselineSettings, renamed(content))
    ensure_sound(settings)
    _ = settings.network_class  # refuses an unknown name
    if settings.optimiser.schedule == "plateau" and not settings.validation.every:
        raise UsageError(
            "schedule: plateau looks at validations: give validation.every and validation.hold_out."
        )
    if settings.classes and (LABELS[0] not in settings.classes or len(set(settings.classes)) < 2):
        raise UsageError("classes must hold real and a class of fakes.")
    return settings
