"""From RGB pixels to the tensor an image encoder reads: the one place that does it.

Training, export and the device all call this class, so they cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["Preprocess"]

Mode = Literal["stretch", "crop"]
Interpolation = Literal["bicubic", "bilinear"]

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_MAX_SIDE = 4096


@dataclass(frozen=True)
class Preprocess:
    """Resize, then normalise.

    Attributes:
        height: Rows of the encoder's input, in pixels.
        width: Columns of the encoder's input, in pixels.
        mode: ``"stretch"`` resizes to (height, width) whatever the shape of the photo, so that
            nothing is cut off; ``"crop"`` resizes until the photo just covers (height, width)
            and takes the centre, as CLIP does.
        interpolation: The resampling kernel; both are antialiased (Pillow's).
        mean: Per channel (red, green, blue), of pixel values scaled to 0..1.
        std: Per channel, positive.
        crop_fraction: Above 0, at most 1: below 1 the photo is resized to that much more than
            (height, width), and the centre is taken; 0.875 is "resize to 256, crop 224".

    Raises:
        ValueError: A field is outside its range.
    """

    height: int
    width: int
    mode: Mode
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("height", "width"):
            side = getattr(self, name)
            if type(side) is not int or not 1 <= side <= _MAX_SIDE:
                raise ValueError(f"{name} must be an integer in 1..{_MAX_SIDE}, not {side!r}")
        if self.mode not in ("stretch", "crop"):
            raise ValueError(f"mode must be 'stretch' or 'crop', not {self.mode!r}")
        if self.interpolation not in _FILTERS:
            raise ValueError(
                f"interpolation must be 'bicubic' or 'bilinear', not {self.interpolation!r}"
            )
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not all(_finite(value) for value in values):
                raise ValueError(f"{name} must be three finite numbers, not {values!r}")
        if min(self.std) < 1e-6:
            raise ValueError(f"std must be positive, not {self.std!r}")
        if not _finite(self.crop_fraction) or not 0.1 <= self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction must be in 0.1..1, not {self.crop_fraction!r}")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocess:
        """Build from the plain form of :meth:`to_dict`.

        Raises:
            ValueError: A field is missing, unknown, or outside its range.
        """
        names = set(cls.__dataclass_fields__) - {"crop_fraction"}
        if set(fields) - {"crop_fraction"} != names:
            wrong = sorted(names ^ (set(fields) - {"crop_fraction"}))
            raise ValueError(f"preprocess needs exactly {sorted(names)}; wrong: {wrong}")
        plain = dict(fields)
        for name in ("mean", "std"):
            if not isinstance(plain[name], (list, tuple)):
                raise ValueError(f"{name} must be a list of three numbers, not {plain[name]!r}")
            plain[name] = tuple(plain[name])
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        cropped = {"crop_fraction": self.crop_fraction} if self.crop_fraction != 1 else {}
        return {
            "height": self.height,
            "width": self.width,
            "mode": self.mode,
            "interpolation": self.interpolation,
            "mean": [float(value) for value in self.mean],
            "std": [float(value) for value in self.std],
            **cropped,
        }

    def resize(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize uint8 (H, W, 3) to uint8 (height, width, 3)."""
        rows, columns = rgb.shape[:2]
        if (rows, columns) == (self.height, self.width) and self.crop_fraction == 1:
            return rgb
        kernel = _FILTERS[self.interpolation]
        image = Image.fromarray(np.ascontiguousarray(rgb))
        size = self._enlarged() if self.mode == "stretch" else self._covering(rows, columns)
        image = image.resize(size, kernel)
        if size == (self.width, self.height):
            return np.asarray(image)
        left = round((size[0] - self.width) / 2)
        top = round((size[1] - self.height) / 2)
        return np.asarray(image.crop((left, top, left + self.width, top + self.height)))

    def normalize(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn uint8 (..., H, W, 3) into float32 (..., 3, H, W): ``(v / 255 - mean) / std``."""
        std = np.asarray(self.std, dtype=np.float64)
        scale = (1.0 / (255.0 * std)).astype(np.float32)
        shift = (-np.asarray(self.mean, dtype=np.float64) / std).astype(np.float32)
        # Channels first before the arithmetic: it then runs over contiguous planes.
        planes = np.moveaxis(pixels, -1, -3).astype(np.float32, order="C")
        planes *= scale[:, None, None]
        planes += shift[:, None, None]
        return planes

    def __call__(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn a photo, uint8 (H, W, 3) RGB, into float32 (3, height, width)."""
        return self.normalize(self.resize(rgb))

    def _enlarged(self) -> tuple[int, int]:
        """Return the (width, height) of which the centre is taken."""
        return round(self.width / self.crop_fraction), round(self.height / self.crop_fraction)

    def _covering(self, rows: int, columns: int) -> tuple[int, int]:
        """Return the (width, height) that just covers it, rounded as torchvision does."""
        width, height = self._enlarged()
        if height * columns >= width * rows:
            return max(width, int(height * columns / rows)), height
        return width, max(height, int(width * rows / columns))


def _finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
