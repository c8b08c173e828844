"""What linear models read of a package: its embeddings, as vectors of flat space.

Flat embeddings are taken as they are, hyperbolic ones by the logarithm at the root, which keeps
their direction and their distance from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.labelled import Labelled
from edgesafe.runtime import lorentz
from edgesafe.runtime.encoders import Encoded, ImageRunner, TextRunner, open_image, open_text
from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.intake import prepare_image
from edgesafe.runtime.package import Package
from edgesafe.runtime.tokenizer import BadText

__all__ = ["FeatureReader", "Features", "training_rows"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """A record with its rows, (views, d): of an image, or the passages of a text."""

    record: Labelled
    rows: Array = field(repr=False)


class FeatureReader:
    """Reads records with one package; an encoder is opened at the first record that needs it."""

    def __init__(self, package: Package, *, backend: str = "auto") -> None:
        """Take a verified package.

        Raises:
            PackageError: It is a classifier.
        """
        if package.manifest.geometry is None:
            raise PackageError(
                f"{package.path} is a classifier and has no embeddings: choose another package"
            )
        self._package = package
        self._geometry = package.manifest.geometry
        self._golden = read_golden(package)
        self._backend = backend
        self._image: ImageRunner | None = None
        self._text: TextRunner | None = None

    def read(self, records: Sequence[Labelled]) -> list[Features]:
        """Encode records, those left out that cannot be read or answer NaN.

        Raises:
            UsageError: The package has no encoder for a modality of the records.
            PackageError: A model is refused or fails its golden pairs.
        """
        found = []
        for record in records:
            encoded = self._encode(record)
            if encoded is not None and np.isfinite(encoded.embedding).all():
                found.append(Features(record, self._flat(encoded.embedding)))
        return found

    def read_texts(self, texts: Sequence[str]) -> Array:
        """Encode texts, (n, d): of each its first passage.

        Raises:
            UsageError: The package has no text encoder.
        """
        records = [Labelled(text, "text", text, unsafe=False) for text in texts]
        return np.stack([features.rows[0] for features in self.read(records)])

    def _flat(self, embedding: NDArray[np.float32]) -> Array:
        rows = embedding.astype(np.float64)
        if self._geometry.model == "euclidean":
            return rows
        return np.asarray(lorentz.log_map0(rows, self._geometry.curvature), np.float64)

    def _encode(self, record: Labelled) -> Encoded | None:
        if record.modality == "image":
            if self._image is None:
                self._image = open_image(
                    self._package, self._golden, backend=self._backend, threads=None
                )
            pixels = prepare_image(record.content, self._image.preprocess).pixels
            return None if pixels is None else self._image.encode(pixels)
        if self._text is None:
            self._text = open_text(self._package, self._golden, backend=self._backend, threads=None)
        try:
            windows = self._text.tokenizer.windows(str(record.content))
        except BadText:
            return None
        return Encoded.join([self._text.encode([window]) for window in windows])


def training_rows(features: Sequence[Features]) -> tuple[Array, NDArray[np.bool_]]:
    """Return rows and labels to fit a model on.

    Of an unsafe input with several views or passages nobody knows which of them is unsafe: it is
    left out.

    Returns:
        (n, d) and (n,), true for unsafe.
    """
    kept = [one for one in features if len(one.rows) == 1 or not one.record.unsafe]
    rows = [one.rows for one in kept]
    labels = [np.full(len(one.rows), one.record.unsafe) for one in kept]
    if not rows:
        return np.empty((0, 0)), np.empty(0, bool)
    return np.concatenate(rows), np.concatenate(labels)
