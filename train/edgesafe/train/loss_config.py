"""Weights of the terms of each method: tables ``[loss]`` (HySAC), ``[safeclip]`` and ``[clip]``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgesafe.train.fields import require

__all__ = ["ClipConfig", "LossConfig", "SafeClipConfig"]


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, table ``[loss]``; T, I are the safe text and image, T*, I* the unsafe.

    Attributes:
        text_image: Contrastive term of (T, I).
        unsafe_text_unsafe_image: Contrastive term of (T*, I*).
        text_unsafe_image: Contrastive term of (T, I*).
        unsafe_text_image: Contrastive term of (T*, I).
        entail_safe: T entails I.
        entail_unsafe: T* entails I*.
        entail_safety: I entails T*.
        aperture_scale: eta, multiplier of the half aperture. The paper found a sharp optimum at 1.
        paper_eps: Whether the cones take the released code's offsets of 1e-5, which also bound
            the slope of the aperture near its saturation (2900 without them, in float32).
        normalise: ``sum`` adds the weighted terms, as the paper writes it. ``released`` divides
            that by the sum of the seven weights and again by 7, as the released code does; AdamW
            barely notices a constant factor, so this matters only beside the shell term.
        shell_weight: Weight of the shell term, which is edgesafe's and not the paper's: a smooth
            ranking loss on the distance from the root, within each modality. 0 leaves it out.
        shell_image: Share of the shell term that images get.
        shell_text: Share of the shell term that texts get.
        shell_margin: Margin by which unsafe items should lie further out than safe ones.
        shell_temperature: Softness of the hinge.
        place_weight: Weight of the place term, which is edgesafe's too: where the pixels of the
            safe image and of its unsafe twin differ, there the hazard is, and the tower's
            evidence maps should say so. For twins made by compositing; the augmentation must then
            leave the colours alone. 0 leaves it out.
        place_difference: Mean absolute difference of the channels, of the pixel range, from which
            two pixels count as different.
    """

    text_image: float = 1.0
    unsafe_text_unsafe_image: float = 1.0
    text_unsafe_image: float = 1.0
    unsafe_text_image: float = 1.0
    entail_safe: float = 1.0
    entail_unsafe: float = 1.0
    entail_safety: float = 1.0
    aperture_scale: float = 1.0
    paper_eps: bool = False
    normalise: str = "sum"
    shell_weight: float = 0.0
    shell_image: float = 1.0
    shell_text: float = 1.0
    shell_margin: float = 0.1
    shell_temperature: float = 0.05
    place_weight: float = 0.0
    place_difference: float = 0.12

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, float):
                require(value >= 0, f"loss.{f.name}", "must not be negative")
        require(self.normalise in ("sum", "released"), "loss.normalise", "must be sum or released")
        require(self.shell_temperature > 0, "loss.shell_temperature", "must be above 0")


@dataclass(frozen=True)
class SafeClipConfig:
    """Weights of Safe-CLIP's eight terms, table ``[safeclip]``.

    T(.) and V(.) are the trained towers, R(.) the frozen reference; t, v are the safe text and
    image, t*, v* the unsafe ones. The defaults are the released code's.

    Attributes:
        keep_text: 1 - cos(T(t), R(t)).
        redirect_text: 1 - cos(T(t*), R(t)).
        keep_image: 1 - cos(V(v), R(v)).
        redirect_image: 1 - cos(V(v*), R(v)).
        match_text: Contrastive term of T(t) and R(v).
        redirect_text_to_image: Contrastive term of T(t*) and R(v).
        match_image: Contrastive term of V(v) and R(t).
        redirect_image_to_text: Contrastive term of V(v*) and R(t).
        temperature: Of the contrastive terms; it does not learn.
        normalise: ``sum`` adds the weighted terms. ``released`` divides that by the sum of the
            eight weights and again by 8, as the released code does; Adam barely notices.
    """

    keep_text: float = 0.1
    redirect_text: float = 0.1
    keep_image: float = 0.1
    redirect_image: float = 0.2
    match_text: float = 0.25
    redirect_text_to_image: float = 0.25
    match_image: float = 0.25
    redirect_image_to_text: float = 0.5
    temperature: float = 0.01
    normalise: str = "sum"

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, float):
                require(value >= 0, f"safeclip.{f.name}", "must not be negative")
        require(0.01 <= self.temperature <= 1, "safeclip.temperature", "must lie in 0.01..1")
        require(
            self.normalise in ("sum", "released"), "safeclip.normalise", "must be sum or released"
        )


@dataclass(frozen=True)
class ClipConfig:
    """CLIP's contrastive loss on both sides of the quadruplets, table ``[clip]``: a baseline.

    Attributes:
        text_image: Weight of the term of the safe text and image.
        unsafe_text_unsafe_image: Weight of the term of the unsafe ones.
        temperature: Initial temperature.
        learn_temperature: Whether it learns.
    """

    text_image: float = 1.0
    unsafe_text_unsafe_image: float = 1.0
    temperature: float = 0.07
    learn_temperature: bool = True

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("text_image", "unsafe_text_unsafe_image"):
            require(getattr(self, name) >= 0, f"clip.{name}", "must not be negative")
        require(0.01 <= self.temperature <= 1, "clip.temperature", "must lie in 0.01..1")
