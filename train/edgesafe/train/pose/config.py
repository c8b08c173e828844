"""The configuration of pose training: one frozen dataclass per table of a TOML or JSON file.

Every key has a default, so a file holds only what differs; an unknown key is an error that names
the nearest known one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesafe.runtime.errors import UsageError
from edgesafe.train.fields import read_file, read_table, require
from edgesafe.train.pose.network import PROFILES
from edgesafe.train.pose.trunks import LITE0, PLAIN

__all__ = [
    "ColourConfig",
    "DataConfig",
    "DetectorConfig",
    "FitConfig",
    "PoseConfig",
    "RoiConfig",
    "WeightsConfig",
    "load_pose_config",
    "read_pose_config",
]


@dataclass(frozen=True)
class FitConfig:
    """The loop of one network, tables ``[roi.fit]`` and ``[detector.fit]``.

    Attributes:
        epochs: At most so many passes over the data.
        max_minutes: Budget of training time over all resumptions. The schedule is stretched or
            squeezed to fit it, and ``epochs`` is not looked at; 0 goes by epochs. A run with a
            budget is not repeatable to the bit, for its learning rate follows the clock.
        clock: ``wall``, or ``cpu`` for the seconds that all threads of the process computed.
        batch_size: Samples per process and step.
        lr: Largest learning rate.
        weight_decay: On matrices; biases and norms have none.
        clip_norm: Largest norm of the gradient; 0 leaves it as it is.
        schedule: ``onecycle`` (cosine up, cosine down), or ``cosine`` with a linear warm-up.
        warmup: Share of the run that the rate rises in.
        final_lr: Share of ``lr`` that is left at the end.
        trunk_lr: Multiplier of the rate of a pretrained trunk.
        freeze: Stages of a pretrained trunk that do not learn, from the input, the stem being the
            first: they are the costly ones.
        ema: Decay of the running mean of the weights, which is what is kept; 0 keeps the weights.
        precision: ``auto`` (bf16 convolutions on a GPU that has it), ``fp32`` or ``bf16``.
        channels_last: Memory format.
        validate_minutes: Time between two validations; there is one at the end in any case.
        save_minutes: The place is saved for ``--resume`` and the checkpoint is written after so
            many minutes, and at the end of each epoch that took as long.
        log_every: Steps between two lines of the log.
        tensorboard: Whether to write TensorBoard events, with pictures at each validation.
    """

    epochs: int = 30
    max_minutes: float = 0.0
    clock: str = "wall"
    batch_size: int = 32
    lr: float = 2e-3
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    schedule: str = "onecycle"
    warmup: float = 0.15
    final_lr: float = 0.005
    trunk_lr: float = 0.3
    freeze: int = 0
    ema: float = 0.998
    precision: str = "auto"
    channels_last: bool = False
    validate_minutes: float = 10.0
    save_minutes: float = 5.0
    log_every: int = 20
    tensorboard: bool = True

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("epochs", "log_every"):
            require(getattr(self, name) >= 1, f"fit.{name}", "must be at least 1")
        require(self.batch_size >= 2, "fit.batch_size", "must be at least 2")
        require(self.lr > 0, "fit.lr", "must be above 0")
        require(0 <= self.warmup < 1, "fit.warmup", "must lie in 0..1, below 1")
        require(0 <= self.ema < 1, "fit.ema", "must lie in 0..1, below 1")
        require(0 <= self.freeze <= 6, "fit.freeze", "must lie in 0..6")
        require(self.max_minutes >= 0, "fit.max_minutes", "must not be negative")
        for name, choices in (
            ("clock", ("wall", "cpu")),
            ("schedule", ("onecycle", "cosine")),
            ("precision", ("auto", "fp32", "bf16")),
        ):
            require(
                getattr(self, name) in choices, f"fit.{name}", f"must be {' or '.join(choices)}"
            )


@dataclass(frozen=True)
class RoiConfig:
    """The network of a region of interest, table ``[roi]``.

    Attributes:
        profile: ``tiny``, ``small`` or ``base``: width and side of the input.
        head: ``vote`` (SoftVote-PnP) or ``direct``.
        trunk: ``plain``, or ``efficientnet_lite0`` for small and base.
        size: Side of the input, pixels, a multiple of 32; 0 for the profile's.
        width: Channels of the stem; 0 for the profile's.
        hidden: Channels of the head; 0 for four times the width.
        fine: Whether the pretrained trunk's stage of stride 4 joins the map.
        keypoints: K: the middle of the object and K - 1 points of its surface.
        roi_scale: Side of the square region over the longer side of the box.
        per_object: One network for each object instead of one for all.
        vote_weight: Weight of the single votes.
        nll_weight: Weight of the likelihood of the covariances in the second phase.
        nll_start: Share of the run after which the second phase starts.
        consistency: Weight of the change of the answer when all but the object is replaced by a
            photo of ``--photos`` or, without any, by noise; a second look at each sample.
        reasons: Weight of the squared gradient of the answer on pixels beside the object; twice
            the time of a step.
        symmetry_step: Of a continuous symmetry, the largest step between two turns, as a share of
            the diameter, as in BOP.
        fit: The loop.
    """

    profile: str = "small"
    head: str = "vote"
    trunk: str = PLAIN
    size: int = 0
    width: int = 0
    hidden: int = 0
    fine: bool = True
    keypoints: int = 9
    roi_scale: float = 1.5
    per_object: bool = False
    vote_weight: float = 0.3
    nll_weight: float = 0.05
    nll_start: float = 0.5
    consistency: float = 0.0
    reasons: float = 0.0
    symmetry_step: float = 0.05
    fit: FitConfig = FitConfig()

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.profile in PROFILES, "roi.profile", f"must be {' or '.join(PROFILES)}")
        require(self.head in ("vote", "direct"), "roi.head", "must be vote or direct")
        require(self.trunk in (PLAIN, LITE0), "roi.trunk", f"must be {PLAIN} or {LITE0}")
        require(
            self.trunk == PLAIN or self.profile != "tiny",
            "roi.trunk",
            f"must be {PLAIN} for the tiny profile",
        )
        require(
            self.size % 32 == 0 and 0 <= self.size <= 1024,
            "roi.size",
            "must be a multiple of 32, at most 1024",
        )
        require(5 <= self.keypoints <= 64, "roi.keypoints", "must lie in 5..64")
        require(1 <= self.roi_scale <= 4, "roi.roi_scale", "must lie in 1..4")
        require(0 <= self.nll_start <= 1, "roi.nll_start", "must lie in 0..1")
        require(self.consistency >= 0, "roi.consistency", "must not be negative")
        require(self.reasons >= 0, "roi.reasons", "must not be negative")
        require(0 < self.symmetry_step <= 1, "roi.symmetry_step", "must lie in 0..1, above 0")


@dataclass(frozen=True)
class DetectorConfig:
    """The detector, table ``[detector]``; without the table none is trained.

    Attributes:
        trunk: ``plain`` or ``efficientnet_lite0``.
        width: Channels of the stem of the plain trunk; the map of stride 8 has twice as many.
        width_px: Columns of the input, a multiple of 16.
        height_px: Rows of the input, a multiple of 16.
        hidden: Channels of the head; 0 for twice those of the map.
        box_weight: Weight of the box term.
        max_per_object: Written into the package: at most so many boxes of one object.
        min_score: Written into the package: a box needs this much heat.
        box_sd: Written into the package: standard deviation of the edges of its boxes as a share of
            the longer side, with which they help to find the depth; 0 for boxes that only say
            where to look. Validation measures it as ``edge_sd``.
        zoom: Smallest and largest factor that a frame is scaled by.
        flip: Probability of a horizontal flip.
        fit: The loop.
    """

    trunk: str = PLAIN
    width: int = 24
    width_px: int = 320
    height_px: int = 240
    hidden: int = 0
    box_weight: float = 1.0
    max_per_object: int = 1
    min_score: float = 0.2
    box_sd: float = 0.0
    zoom: tuple[float, float] = (0.7, 1.6)
    flip: float = 0.0
    fit: FitConfig = FitConfig()

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.trunk in (PLAIN, LITE0), "detector.trunk", f"must be {PLAIN} or {LITE0}")
        for name in ("width_px", "height_px"):
            value = getattr(self, name)
            require(
                value % 16 == 0 and 64 <= value <= 2048,
                f"detector.{name}",
                "must be a multiple of 16 in 64..2048",
            )
        require(
            self.box_sd == 0 or 0.001 <= self.box_sd <= 0.5,
            "detector.box_sd",
            "must be 0 or lie in 0.001..0.5",
        )
        low, high = self.zoom
        require(0.1 <= low <= high <= 10, "detector.zoom", "must be two rising factors")
        require(0 <= self.flip <= 1, "detector.flip", "must lie in 0..1")


@dataclass(frozen=True)
class DataConfig:
    """Samples and how they are cut out and disturbed, table ``[data]``.

    Attributes:
        min_visible: Least visible share of an instance that is learnt.
        shift: DZI: largest shift of the region's centre, as a share of the box's longer side.
        scale: DZI: largest change of the region's side, as a share.
        rotation: Largest turn in the image plane, degrees, with the pose; 0 for none.
        background: Probability that a photo of ``--photos`` takes the place of the background.
        alone: Probability that a replaced background takes the neighbouring objects along.
        occlude: Probability that another instance is pasted over a part of the object.
        erase: Probability that a shape, or several small squares, of colour or noise hide a part.
        keep: Least share of the visible object that stays visible under what is pasted over it.
        workers: Processes that make samples; 0 makes them in the training process.
        validation_share: Share of the frames held out for validation, where no ``--val`` is given.
        max_validation: Instances, and frames, that a validation looks at.
        photos: Photos that are kept in memory, at most.
    """

    min_visible: float = 0.1
    shift: float = 0.25
    scale: float = 0.25
    rotation: float = 0.0
    background: float = 0.5
    alone: float = 0.5
    occlude: float = 0.3
    erase: float = 0.2
    keep: float = 0.3
    workers: int = 0
    validation_share: float = 0.03
    max_validation: int = 400
    photos: int = 600

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in (
            "min_visible",
            "background",
            "alone",
            "occlude",
            "erase",
            "keep",
            "validation_share",
        ):
            require(0 <= getattr(self, name) <= 1, f"data.{name}", "must lie in 0..1")
        require(0 <= self.shift <= 0.5, "data.shift", "must lie in 0..0.5")
        require(0 <= self.scale <= 0.5, "data.scale", "must lie in 0..0.5")
        require(0 <= self.rotation <= 180, "data.rotation", "must lie in 0..180")
        require(self.workers >= 0, "data.workers", "must not be negative")


@dataclass(frozen=True)
class ColourConfig:
    """Augmentation of the colours, table ``[colour]``; see `edgesafe.train.pose.colour`.

    Attributes:
        strength: Multiplier of all strengths; 0 switches the augmentation off.
        light: Probability of brightness, contrast and gamma, each.
        hue: Probability of a turn of the hue and a change of the saturation.
        cast: Probability of a factor for each channel.
        grey: Probability of losing all colour.
        blur: Probability of a Gaussian or motion blur.
        sharpen: Probability of sharpening.
        noise: Probability of noise.
        jpeg: Probability of a JPEG re-compression.
        shrink: Probability of being shrunk and enlarged again.
    """

    strength: float = 1.0
    light: float = 0.5
    hue: float = 0.4
    cast: float = 0.4
    grey: float = 0.05
    blur: float = 0.35
    sharpen: float = 0.15
    noise: float = 0.4
    jpeg: float = 0.15
    shrink: float = 0.25

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(0 <= self.strength <= 3, "colour.strength", "must lie in 0..3")
        for f in dataclasses.fields(self):
            if f.name != "strength":
                require(0 <= getattr(self, f.name) <= 1, f"colour.{f.name}", "must lie in 0..1")


@dataclass(frozen=True)
class WeightsConfig:
    """Terms of what is trained, table ``[weights]``; written into checkpoint and package.

    Attributes:
        licence: Of the weights.
        origin: What they were made from, with source and licence of each.
        notice: Attribution that must be passed on.
    """

    licence: str = ""
    origin: tuple[str, ...] = ()
    notice: str = ""


@dataclass(frozen=True)
class PoseConfig:
    """The whole file.

    Attributes:
        method: ``pose``.
        seed: Seed of everything drawn at random.
        objects: Ids to learn; none for all of the data set.
        names: Id -> name of an object, for a person.
    """

    method: str = "pose"
    seed: int = 42
    objects: tuple[int, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    roi: RoiConfig = RoiConfig()
    detector: DetectorConfig | None = None
    data: DataConfig = DataConfig()
    colour: ColourConfig = ColourConfig()
    weights: WeightsConfig = WeightsConfig()

    def __post_init__(self) -> None:
        """Checks what concerns the whole file."""
        require(self.method == "pose", "method", "must be pose")
        require(len(set(self.objects)) == len(self.objects), "objects", "must be different ids")
        for key in self.names:
            require(key.isdecimal(), f"names.{key}", "must be the id of an object")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `read_pose_config` of it gives an equal configuration."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def read_pose_config(data: Mapping[str, Any], where: str = "configuration") -> PoseConfig:
    """Turns the parsed content of a file into a `PoseConfig`.

    Raises:
        UsageError: A key is unknown, or a value has the wrong type or range.
    """
    try:
        return read_table(PoseConfig, data)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def load_pose_config(path: Path | str) -> PoseConfig:
    """Reads a ``.toml`` or ``.json`` file.

    Raises:
        UsageError: The file is missing, is not of its format, or holds a bad key.
    """
    return read_pose_config(read_file(path), str(path))
