"""One encoder of a package, ready to run: its session, its inputs, its golden pairs.

Opening an encoder runs every golden pair of its modality through the very path that verdicts take,
so an encoder that opened is one that computes here what it computed where it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import PackageError, UsageError
from edgesafe.runtime.gate import Refused, decode_image
from edgesafe.runtime.golden import Answer, Golden
from edgesafe.runtime.manifest import ImageEncoder, TextEncoder
from edgesafe.runtime.package import Package
from edgesafe.runtime.preprocess import Preprocess
from edgesafe.runtime.sessions import Session, open_checked, open_session
from edgesafe.runtime.tokenizer import BadText, TextTokenizer

__all__ = ["Encoded", "ImageRunner", "TextRunner", "open_image", "open_text"]

_MEND = "use the backend 'cpu', update edgesafe, or export the package again on this version"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """Outputs of an encoder.

    Attributes:
        embedding: (batch, d): space parts, flat embeddings, or the scores of labels.
        root_distance: (batch,): distances from the root; None where the model says none.
    """

    embedding: Floats = field(repr=False)
    root_distance: Floats | None = None

    def rows(self) -> Iterator[tuple[Floats, float | None]]:
        """Yield the row of the embedding and the root distance of each input."""
        for index, row in enumerate(self.embedding):
            stated = None if self.root_distance is None else float(self.root_distance[index])
            yield row, stated

    def split(self, counts: Sequence[int]) -> list[Encoded]:
        """Cut the batch into consecutive parts of so many rows."""
        ends = np.cumsum(counts)
        parts = [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]
        radii = self.root_distance
        return [Encoded(self.embedding[p], None if radii is None else radii[p]) for p in parts]

    @staticmethod
    def join(parts: Sequence[Encoded]) -> Encoded:
        """Put the rows of several batches of one encoder together."""
        radii = [part.root_distance for part in parts if part.root_distance is not None]
        embedding = np.concatenate([part.embedding for part in parts])
        return Encoded(embedding, np.concatenate(radii) if radii else None)


@dataclass(frozen=True)
class ImageRunner:
    """The image encoder."""

    spec: ImageEncoder
    session: Session

    @property
    def preprocess(self) -> Preprocess:
        """From a photo to a row of ``pixels``."""
        return self.spec.preprocess

    def encode(self, pixels: Floats) -> Encoded:
        """Encode float32 (batch, 3, H, W).

        Raises:
            ValueError: The model's outputs do not have one row per input.
            Exception: Whatever the backend raises.
        """
        if self.spec.channels == "bgr":
            pixels = pixels[:, ::-1]
        if self.spec.layout == "nhwc":
            pixels = pixels.transpose(0, 2, 3, 1)
        inputs = {self.spec.input: np.ascontiguousarray(pixels)}
        return _encoded(self.session.run(self.spec.outputs, inputs), len(pixels))


@dataclass(frozen=True)
class TextRunner:
    """The text encoder and its tokenizer."""

    spec: TextEncoder
    session: Session
    tokenizer: TextTokenizer

    def encode(self, windows: list[list[int]]) -> Encoded:
        """Encode windows of token ids.

        Raises:
            ValueError: The model's outputs do not have one row per input.
            Exception: Whatever the backend raises.
        """
        inputs = dict(zip(self.spec.inputs, self.tokenizer.batch(windows), strict=True))
        return _encoded(self.session.run(self.spec.outputs, inputs), len(windows))


def open_image(
    package: Package, golden: Golden, *, backend: str, threads: int | None
) -> ImageRunner:
    """Make the image encoder's session and check it on the golden images.

    Raises:
        UsageError: The package has no image encoder.
        PackageError: The model is refused, or answers differently from when it was exported.
        BackendError: The backend is not usable here.
        MissingExtraError: ONNX Runtime is not installed.
    """
    spec = package.manifest.image
    if spec is None:
        raise UsageError(f"{package.path} has no image encoder: it cannot judge images")
    return open_checked(backend, lambda one: _open_image(package, spec, golden, one, threads))


def _open_image(
    package: Package, spec: ImageEncoder, golden: Golden, backend: str, threads: int | None
) -> ImageRunner:
    where = str(package.path / spec.file)
    session = open_session(
        package.files[spec.file],
        backend=backend,
        threads=threads,
        where=where,
        precision=spec.precision,
    )
    session.check({spec.input: ("float", 4)}, spec.outputs, where)
    runner = ImageRunner(spec, session)
    if not golden.image:
        raise PackageError(f"{package.path / package.manifest.golden} has no image to check with")
    for index, pair in enumerate(golden.image):
        place = f"{where}: golden image {index}"
        try:
            views = decode_image(pair.png).views
        except Refused as error:
            raise PackageError(f"{place} is not decoded: {error}; {_MEND}") from None
        tensor = runner.preprocess(views[0])
        _complain(place, golden.check_pixels(pair, tensor))
        _check_encoded(place, golden, pair.answer, partial(runner.encode, tensor[None]))
    return runner


def open_text(package: Package, golden: Golden, *, backend: str, threads: int | None) -> TextRunner:
    """Make the text encoder's session and tokenizer and check them on the golden texts.

    Raises:
        UsageError: The package has no text encoder.
        PackageError: The model or the tokenizer is refused, or answers differently from when it
            was exported.
        BackendError: The backend is not usable here.
        MissingExtraError: ONNX Runtime or ``tokenizers`` is not installed.
    """
    spec = package.manifest.text
    if spec is None:
        raise UsageError(f"{package.path} has no text encoder: it cannot judge texts")
    return open_checked(backend, lambda one: _open_text(package, spec, golden, one, threads))


def _open_text(
    package: Package, spec: TextEncoder, golden: Golden, backend: str, threads: int | None
) -> TextRunner:
    where = str(package.path / spec.file)
    file = str(package.path / spec.tokenizer)
    tokenizer = TextTokenizer(package.files[spec.tokenizer], spec, file)
    session = open_session(
        package.files[spec.file],
        backend=backend,
        threads=threads,
        where=where,
        precision=spec.precision,
        max_length=spec.max_tokens,
    )
    session.check(dict.fromkeys(spec.inputs, ("int64", 2)), spec.outputs, where)
    runner = TextRunner(spec, session, tokenizer)
    if not golden.text:
        raise PackageError(f"{package.path / package.manifest.golden} has no text to check with")
    for index, pair in enumerate(golden.text):
        place = f"{where}: golden text {index}"
        try:
            windows = tokenizer.windows(pair.text)
        except BadText as error:
            raise PackageError(f"{place} is not encoded: {error}; {_MEND}") from None
        if windows != [list(pair.input_ids)]:
            raise PackageError(f"{place} gives other token ids than the tokenizer did; {_MEND}")
        _check_encoded(place, golden, pair.answer, partial(runner.encode, windows))
    return runner


def _encoded(outputs: list[npt.NDArray[np.float32]], rows: int) -> Encoded:
    embedding, *rest = outputs
    if embedding.ndim != 2 or len(embedding) != rows or any(r.shape != (rows,) for r in rest):
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise ValueError(f"outputs {shapes} for {rows} inputs")
    return Encoded(embedding, *rest)


def _check_encoded(place: str, golden: Golden, answer: Answer, run: Callable[[], Encoded]) -> None:
    try:
        encoded = run()
    except Exception as error:  # whatever the backend raises over a broken model
        raise PackageError(f"{place} cannot be run: {error}; {_MEND}") from None
    if encoded.embedding.shape[1] != len(answer.embedding):
        raise PackageError(f"{place}: the embedding has {encoded.embedding.shape[1]} dimensions")
    embedding, root_distance = next(encoded.rows())
    _complain(place, golden.check_answer(answer, embedding, root_distance))


def _complain(place: str, problem: str | None) -> None:
    if problem:
        raise PackageError(f"{place}: {problem}; this machine computes something else; {_MEND}")
