"""The configuration of a training run: one frozen dataclass per table of a TOML or JSON file.

Every key has a default here, so a file holds only what differs. The defaults are HySAC's
(arXiv 2503.12127) where the paper or its code state one; `METHOD_DEFAULTS` has those of Safe-CLIP
(arXiv 2311.16254) and of plain CLIP where they are others. An unknown key is an error that names
the nearest known one: a misspelt option must not train a model with the default instead.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import UsageError
from edgesafe.train.encoders.base import LoraSettings, TrainingPlan
from edgesafe.train.fields import read_file, read_table, require
from edgesafe.train.loss_config import ClipConfig, LossConfig, SafeClipConfig


@dataclass(frozen=True)
class LiftConfig:
    """The four scalars of the lift, table ``[lift]``.

    Attributes:
        curvature: Initial c, in 0.1..10.
        temperature: Initial temperature of the contrastive terms, in 0.01..0.07.
        visual_scale: Initial scale of image features, at most 1; None for ``dim ** -0.5``.
        textual_scale: The same for text features.
        min_radius: K of the half aperture.
        learn_curvature: Whether c learns.
        learn_scales: Whether the two scales learn.
        learn_temperature: Whether the temperature learns.
        lr_scale: Multiplier of the learning rate for the four scalars.
    """

    curvature: float = 1.0
    temperature: float = 0.07
    visual_scale: float | None = None
    textual_scale: float | None = None
    min_radius: float = 0.1
    learn_curvature: bool = True
    learn_scales: bool = True
    learn_temperature: bool = True
    lr_scale: float = 1.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(0.1 <= self.curvature <= 10, "lift.curvature", "must lie in 0.1..10")
        require(0.01 <= self.temperature <= 0.07, "lift.temperature", "must lie in 0.01..0.07")
        for name in ("visual_scale", "textual_scale"):
            value = getattr(self, name)
            require(value is None or 0 < value <= 1, f"lift.{name}", "must lie in 0..1, above 0")
        require(self.min_radius > 0, "lift.min_radius", "must be above 0")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW and the learning rate, table ``[optimiser]``.

    Attributes:
        lr: Base learning rate.
        betas: AdamW's two decay rates.
        eps: AdamW's epsilon.
        weight_decay: On matrices; biases, norms and the lift's scalars have none.
        clip_norm: Largest norm of the gradient; 0 leaves it as it is.
        schedule: ``constant``, or ``cosine`` with a linear warm-up.
        warmup_steps: Steps of the warm-up; used by both schedules.
        final_lr: Share of ``lr`` that is left at the end of the cosine.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    weight_decay: float = 0.2
    clip_norm: float = 0.0
    schedule: str = "constant"
    warmup_steps: int = 0
    final_lr: float = 0.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.lr > 0, "optimiser.lr", "must be above 0")
        require(
            self.schedule in ("constant", "cosine"),
            "optimiser.schedule",
            "must be constant or cosine",
        )


@dataclass(frozen=True)
class TrainConfig:
    """The loop, table ``[train]``.

    Attributes:
        image: What of the image tower learns: lora, full, frozen, head, from:BLOCK.
        text: The same for the text tower.
        freeze: Last parts of the names of modules that stay as they are all the same, such as
            ``conv_dw``.
        lr_scale: Start of a parameter's name (``image.trunk``) -> multiplier of the rate.
        epochs: At most so many passes over the data.
        steps_per_epoch: Optimiser steps after which an epoch ends, drawn anew from the whole
            data each time; 0 for one pass.
        batch_size: Quadruplets per process and forward pass. Negatives are global: they come
            from all processes.
        accumulate: Forward passes per optimiser step. Each has its own negatives.
        precision: ``auto`` (bf16 towers where the accelerator has it), ``fp32`` or ``bf16``. The
            geometry is float32 in each.
        channels_last: Memory format of the image tower.
        ema: Decay of the running mean of the weights, which is then what is measured and kept; 0
            keeps the weights themselves.
        distinct: Keeps quadruplets that share a photo or a text out of the same batch as far as
            the data allows, for they would be each other's false negatives.
        patience: Epochs without a better selection metric before the run ends; 0 never ends it.
        selection: ``recall_sum``, ``auc`` or ``loss``: what picks the kept epoch.
        save_minutes: The place is saved for ``--resume`` after so many minutes, and each epoch.
        max_minutes: The run stops cleanly so many minutes after its (new) start; 0 for no limit.
        log_every: Optimiser steps between two lines of the log.
        tensorboard: Whether to write TensorBoard events.
        cache_frozen_text: Encode the texts of a frozen tower once instead of in each step.
        bounds_records: Training records that the bounds of the four classes are taken from, drawn
            with the run's seed; 0 for all.
    """

    image: str = "lora"
    text: str = "lora"
    freeze: tuple[str, ...] = ()
    lr_scale: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 20
    steps_per_epoch: int = 0
    batch_size: int = 256
    accumulate: int = 1
    precision: str = "auto"
    channels_last: bool = False
    ema: float = 0.0
    distinct: bool = True
    patience: int = 5
    selection: str = "recall_sum"
    save_minutes: float = 10.0
    max_minutes: float = 0.0
    log_every: int = 10
    tensorboard: bool = True
    cache_frozen_text: bool = True
    bounds_records: int = 2000

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("epochs", "batch_size", "accumulate", "log_every"):
            require(getattr(self, name) >= 1, f"train.{name}", "must be at least 1")
        require(self.batch_size >= 2, "train.batch_size", "must be at least 2")
        require(0 <= self.ema < 1, "train.ema", "must lie in 0..1, below 1")
        require(
            self.selection in ("recall_sum", "auc", "loss"),
            "train.selection",
            "must be recall_sum, auc or loss",
        )
        require(
            self.precision in ("auto", "fp32", "bf16"),
            "train.precision",
            "must be auto, fp32 or bf16",
        )


@dataclass(frozen=True)
class DataConfig:
    """Where the images are and how they are read, table ``[data]``.

    Attributes:
        safe_images: Templates of the paths of safe images for records that name no file, such as
            ``coco/train2017/{coco_id}.jpg``; the first that exists counts.
        unsafe_images: The same for unsafe images, such as ``unsafe/{incremental_id}.png``.
        check_images: Whether every image is decoded before training starts.
        workers: Processes that read and augment images; 0 does it in the training process.
        validation: Records for validation; `--val` on the command line comes first.
    """

    safe_images: tuple[str, ...] = ()
    unsafe_images: tuple[str, ...] = ()
    check_images: bool = True
    workers: int = 2
    validation: str | None = None


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training images, table ``[augment]``; probabilities and strengths.

    The crop and the flip are the same for the safe image and its unsafe counterpart, the rest is
    drawn anew for each image.

    Attributes:
        size: Pixels of a side of the training images, for towers that take any size; 0 for the
            encoder's.
        focus: Probability that a crop is a region about what the twins differ in.
        focus_side: Smallest and largest share of the image's sides that such a region keeps.
        flip: Probability of a horizontal flip.
        crop_scale: Least share of the area that the crop keeps; 1 does not crop.
        crop_ratio: Largest change of the aspect ratio of the crop; 1 keeps it.
        brightness: Largest relative change.
        contrast: Largest relative change.
        saturation: Largest relative change.
        hue: Largest shift as a share of the colour circle, at most 0.5.
        grey: Probability of losing all colour.
        jpeg: Probability of a JPEG re-compression.
        jpeg_quality: Lowest and highest quality of it.
        blur: Probability of a Gaussian blur.
        blur_radius: Largest radius in pixels of the encoder's input.
        noise: Largest standard deviation of Gaussian noise, of 255.
    """

    size: int = 0
    focus: float = 0.0
    focus_side: tuple[float, float] = (0.5, 0.75)
    flip: float = 0.5
    crop_scale: float = 0.8
    crop_ratio: float = 1.1
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    grey: float = 0.0
    jpeg: float = 0.3
    jpeg_quality: tuple[int, int] = (40, 95)
    blur: float = 0.1
    blur_radius: float = 1.5
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.size == 0 or self.size >= 32, "augment.size", "must be 0 or at least 32")
        least, most = self.focus_side
        require(
            0 < least <= most <= 1,
            "augment.focus_side",
            "must be two numbers in 0..1, above 0, the smaller one first",
        )
        for name in ("focus", "flip", "grey", "jpeg", "blur"):
            require(0 <= getattr(self, name) <= 1, f"augment.{name}", "must lie in 0..1")
        require(0 < self.crop_scale <= 1, "augment.crop_scale", "must lie in 0..1, above 0")
        require(self.crop_ratio >= 1, "augment.crop_ratio", "must be at least 1")
        require(0 <= self.hue <= 0.5, "augment.hue", "must lie in 0..0.5")
        low, high = self.jpeg_quality
        require(1 <= low <= high <= 100, "augment.jpeg_quality", "must be two numbers in 1..100")


@dataclass(frozen=True)
class Concept:
    """A concept of the policy, an entry of ``[[concepts]]``; the export embeds its prompts.

    Attributes:
        name: Shown to people.
        tag: Tag of the records it stands for.
        prompts: Texts whose mean embedding is the concept.
        safe: Whether the concept is a safe one.
    """

    name: str
    tag: str
    prompts: tuple[str, ...]
    safe: bool = False


METHOD_TABLES = {"hysac": ("lift", "loss"), "safeclip": ("safeclip",), "clip": ("clip",)}
"""Method -> the tables that belong to it alone."""

METHOD_DEFAULTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "hysac": {},
    "safeclip": {
        "optimiser": {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.0},
        "train": {"batch_size": 128, "epochs": 50},
    },
    "clip": {},
}
"""Method -> table -> key -> default where it is not HySAC's."""


@dataclass(frozen=True)
class RunConfig:
    """The whole file.

    Attributes:
        method: ``hysac``, ``safeclip`` or ``clip``.
        seed: Seed of everything drawn at random.
        architecture: ``name`` and the arguments of the encoder's builder; not checked here but
            by that builder.
    """

    method: str = "hysac"
    seed: int = 42
    architecture: Mapping[str, Any] = field(default_factory=dict)
    lift: LiftConfig = LiftConfig()
    lora: LoraSettings = LoraSettings()
    loss: LossConfig = LossConfig()
    safeclip: SafeClipConfig = SafeClipConfig()
    clip: ClipConfig = ClipConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    concepts: tuple[Concept, ...] = ()

    def __post_init__(self) -> None:
        """Checks what concerns the whole file."""
        require(self.method in METHOD_TABLES, "method", f"must be {_or(METHOD_TABLES)}")
        for owner, names in METHOD_TABLES.items():
            for name in names:
                # A weight that no term of this method has must not look as if it counted.
                given = getattr(self, name) != type(getattr(self, name))()
                require(
                    owner == self.method or not given,
                    name,
                    f"is a table of {owner}; the method is {self.method}",
                )
        require(
            self.method == "hysac" or self.train.selection != "auc",
            "train.selection",
            f"must be recall_sum or loss: {self.method} has no distance from a root",
        )
        require(
            "name" in self.architecture,
            "architecture.name",
            'is missing: write name = "edge" or name = "open_clip:ViT-B-32" under [architecture], '
            "or start from a checkpoint with --init",
        )

    @property
    def plan(self) -> TrainingPlan:
        """What of the towers learns."""
        train = self.train
        return TrainingPlan(train.image, train.text, train.freeze, self.lora, train.lr_scale)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `read_config` of it gives an equal configuration."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def read_config(data: Mapping[str, Any], where: str = "configuration") -> RunConfig:
    """Turns the parsed content of a file into a `RunConfig`.

    Raises:
        UsageError: A key is unknown, or a value has the wrong type or range.
    """
    defaults = METHOD_DEFAULTS.get(str(data.get("method", "hysac")), {})
    filled = dict(data)
    for name, table in defaults.items():
        own = filled.get(name, {})
        if isinstance(own, Mapping):
            filled[name] = {**table, **own}
    try:
        return read_table(RunConfig, filled)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def load_config(
    path: Path | str,
    method: str | None = None,
    architecture: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Reads a ``.toml`` or ``.json`` file.

    Args:
        path: The file.
        method: What the file must be for; it is also what a file that names no method is for.
        architecture: Of the checkpoint that the run starts from; it is also that of a file that
            names none.

    Raises:
        UsageError: The file is missing, is not of its format, or holds a bad key.
    """
    data = read_file(path)
    if method is not None and data.setdefault("method", method) != method:
        raise UsageError(
            f"{path} is for the method {data['method']!r}: run `edgesafe train {data['method']}`, "
            f"or name a configuration of {method}."
        )
    own = data.get("architecture", {})
    if architecture is not None and isinstance(own, Mapping) and "name" not in own:
        data["architecture"] = {**architecture, **own}
    return read_config(data, str(path))


def _or(names: Iterable[str]) -> str:
    return " or ".join(names)
