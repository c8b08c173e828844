"""From pictures and texts to points and verdicts, with the encoders of a package.

A picture or text is one point. Where it has several views (a transparent picture on black and on
white, a long text in passages) that is the least safe one, so that nothing unsafe hides behind
what is harmless.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesafe.calib.retrieval.index import Index, Origin
from edgesafe.calib.retrieval.vectors import Space
from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import ConceptBank, read_bank
from edgesafe.runtime.encoders import Encoded, ImageRunner, TextRunner, open_image, open_text
from edgesafe.runtime.errors import PackageError, SourceError, UsageError
from edgesafe.runtime.files import canonical_json, sha256_hex
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.intake import Prepared, prepare_image
from edgesafe.runtime.judge import Judge
from edgesafe.runtime.manifest import Manifest
from edgesafe.runtime.package import Package, default_model_path, read_package
from edgesafe.runtime.scorers import make_scorer
from edgesafe.runtime.sessions import check_backend
from edgesafe.runtime.tokenizer import BadText
from edgesafe.runtime.verdict import Modality, Timings, Verdict

__all__ = ["Embedded", "Embedder", "package_of_index", "space_digest"]

_TEXT_BATCH = 8
_IMAGE_BATCH = 8


@dataclass(frozen=True)
class Embedded:
    """One input.

    Attributes:
        point: (d,), space part or flat embedding; None where it could not be computed.
        verdict: With the reason for that.
    """

    point: NDArray[np.float64] | None = field(repr=False)
    verdict: Verdict


class Embedder:
    """Encodes with one package. Encoders are opened at their first input.

    Args:
        package: A verified package with embeddings (not a classifier).
        backend: ``auto``, ``cpu``, ``cuda``, ``trt`` or ``openvino``.
        threads: CPU threads of one inference; None for the default.

    Raises:
        UsageError: ``backend`` is not one.
        PackageError: The package is a classifier, or damaged.
    """

    def __init__(
        self, package: Package, *, backend: str = "auto", threads: int | None = None
    ) -> None:
        """Read what the package has beside its encoders."""
        check_backend(backend)
        geometry = package.manifest.geometry
        if geometry is None:
            raise PackageError(
                f"{package.path} is a classifier: it has no embeddings to compare; use a package "
                "of the method hysac or safeclip"
            )
        flat = geometry.model == "euclidean"
        self.geometry = geometry
        self.space = (
            Space("euclidean", geometry.dim)
            if flat
            else Space("lorentz", geometry.dim, geometry.curvature)
        )
        self._package = package
        self._options: dict[str, Any] = {"backend": backend, "threads": threads}
        self._golden = read_golden(package)
        self._judges = {name: self._judge(name) for name in ("image", "text")}

    @classmethod
    def load(
        cls,
        package: str | os.PathLike[str] | None = None,
        *,
        backend: str = "auto",
        threads: int | None = None,
    ) -> Embedder:
        """Read a package; None takes the sample package.

        Raises:
            EdgesafeError: It cannot be used; as :meth:`edgesafe.runtime.Moderator.load`.
        """
        return cls(read_package(package or default_model_path()), backend=backend, threads=threads)

    @property
    def manifest(self) -> Manifest:
        """What the package says about itself."""
        return self._package.manifest

    @cached_property
    def bank(self) -> ConceptBank:
        """The package's concepts.

        Raises:
            PackageError: Not as the format says.
        """
        return read_bank(self._package)

    @property
    def origin(self) -> Origin:
        """The package as an index names it."""
        manifest = self.manifest
        path = os.path.abspath(self._package.path)
        return Origin(manifest.identity, manifest.digest, space_digest(manifest), path)

    def image(self, image: Any) -> Embedded:
        """Encode one picture: a path, bytes, a PIL image or uint8 (H, W, 3) RGB."""
        return next(self.images([image]))

    def images(self, images: Iterable[Any]) -> Iterator[Embedded]:
        """Encode pictures, a few at a time; one result each, in order.

        Raises:
            UsageError: The package has no image encoder.
            PackageError: The encoder is refused or fails its golden pairs.
        """
        runner = self._images
        items = iter(images)
        while batch := [prepare_image(i, runner.preprocess) for i in islice(items, _IMAGE_BATCH)]:
            yield from self._encode_images(runner, batch)

    def text(self, text: str) -> Embedded:
        """Encode one text.

        Raises:
            UsageError: The package has no text encoder.
            PackageError: The encoder is refused or fails its golden pairs.
        """
        runner, judge = self._texts, self._judges["text"]
        try:
            windows = runner.tokenizer.windows(text)
            starts = range(0, len(windows), _TEXT_BATCH)
            parts = [runner.encode(windows[at : at + _TEXT_BATCH]) for at in starts]
            return self._embedded(judge, Encoded.join(parts))
        except BadText as error:
            return Embedded(None, judge.undecided(error.code, error.detail))
        except Exception as error:  # whatever the backend raises
            return Embedded(None, judge.undecided(*_failure(error)))

    def radius(self, point: NDArray[np.float64]) -> float | None:
        """Distance from the root; None in flat space."""
        if self.space.curvature is None:
            return None
        return float(lorentz.root_distance(point, self.space.curvature))

    def _encode_images(self, runner: ImageRunner, batch: Sequence[Prepared]) -> list[Embedded]:
        judge = self._judges["image"]
        good = [item.pixels for item in batch if item.pixels is not None]
        rows: list[Encoded] | Exception = []
        try:
            if good:
                encoded = runner.encode(np.concatenate(good))
                rows = encoded.split([len(pixels) for pixels in good])
        except Exception as error:  # whatever the backend raises
            rows = error
        parts = iter(rows if isinstance(rows, list) else [])
        found = []
        for item in batch:
            if item.refused is not None:
                refused = judge.undecided(item.refused.code, item.refused.detail)
                found.append(Embedded(None, refused))
            elif isinstance(rows, Exception):
                found.append(Embedded(None, judge.undecided(*_failure(rows))))
            else:
                found.append(self._embedded(judge, next(parts)))
        return found

    def _embedded(self, judge: Judge, encoded: Encoded) -> Embedded:
        if judge.scorer is None:
            verdict = judge.undecided("no_probe", "the package has no probe to judge with")
        else:
            verdict = judge.judge(encoded, Timings())
            if verdict.score is None:
                return Embedded(None, verdict)
        points = encoded.embedding.astype(np.float64)
        if points.shape[1:] != (self.space.dim,) or not np.isfinite(points).all():
            return Embedded(None, judge.undecided("non_finite_output", "no finite embedding"))
        # The farthest view, which in flat space is the first.
        c = self.space.curvature
        radii = np.zeros(len(points)) if c is None else lorentz.root_distance(points, c)
        return Embedded(points[int(np.argmax(radii))], verdict)

    def _judge(self, modality: Modality) -> Judge:
        manifest = self.manifest
        # A flat package without a probe has points, which is enough to compare.
        blind = manifest.method == "safeclip" and manifest.probe is None
        scorer = None if blind else make_scorer(self._package, modality)
        return Judge(modality, manifest.identity, manifest.thresholds.get(modality), scorer)

    @cached_property
    def _images(self) -> ImageRunner:
        return open_image(self._package, self._golden, **self._options)

    @cached_property
    def _texts(self) -> TextRunner:
        return open_text(self._package, self._golden, **self._options)


def space_digest(manifest: Manifest) -> str:
    """Digest of all that decides where a package puts an input: not of its thresholds.

    Two packages of one digest give points that may be compared.
    """
    encoders = [encoder for encoder in (manifest.image, manifest.text) if encoder]
    files = [encoder.file for encoder in encoders]
    files += [manifest.text.tokenizer] if manifest.text else []
    parts = {
        "geometry": manifest.raw.get("geometry"),
        "encoders": manifest.raw.get("encoders"),
        "files": {name: manifest.files[name].sha256 for name in files},
    }
    return sha256_hex(canonical_json(parts))


def package_of_index(index: Index, model: str | None) -> tuple[Package, str | None]:
    """The package to ask an index with, checked to belong to it.

    Args:
        index: The index.
        model: The folder that the user names; None takes where the package was when the index was
            made, or the sample package.

    Returns:
        The package, and a warning where it is not the very one.

    Raises:
        PackageError: It makes other points, or is damaged.
        UsageError: None was named and none of the others belongs.
    """
    origin = index.origin
    if model is not None:
        package = read_package(model)
        if space_digest(package.manifest) != origin.space:
            raise PackageError(
                f"{index.path} was made with {origin.identity}, and {model} is "
                f"{package.manifest.identity}, whose encoders differ: name the package that made "
                "the index, or make the index again"
            )
    else:
        package = _remembered(index)
    if package.manifest.digest == origin.digest:
        return package, None
    return package, (
        f"the verdicts in {index.path} are those of {origin.identity}; {package.path} is "
        f"{package.manifest.identity}, with the same encoders"
    )


def _remembered(index: Index) -> Package:
    places = [index.origin.path]
    with suppress(SourceError):  # an installation may come without the sample package
        places.append(str(default_model_path()))
    for place in places:
        if os.path.isfile(os.path.join(place, "manifest.json")):
            package = read_package(place)
            if space_digest(package.manifest) == index.origin.space:
                return package
    raise UsageError(
        f"{index.path} was made with {index.origin.identity}, which is not at "
        f"{index.origin.path} any more: name it with --model PKG"
    )


def _failure(error: Exception) -> tuple[str, str]:
    if isinstance(error, MemoryError):
        return "out_of_memory", "memory ran out during inference"
    return "inference_failed", f"{type(error).__name__}: {error}"[:500]
