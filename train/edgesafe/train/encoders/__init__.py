"""Image-text towers behind one interface (`base.DualEncoder`), built by name."""

from __future__ import annotations

from edgesafe.train.encoders.base import (
    DualEncoder,
    LoraSettings,
    ParameterGroup,
    TrainingPlan,
    build_encoder,
)

__all__ = ["DualEncoder", "LoraSettings", "ParameterGroup", "TrainingPlan", "build_encoder"]
