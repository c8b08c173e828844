"""Replay the golden pairs of a package on every backend, and measure how far each is off.

Opening a package for its use checks the same pairs and stops at the first that differs; here every
pair is run and the largest error of each output is kept, so that backends can be compared.

Errors are those of the tolerances (:mod:`edgesafe.runtime.golden`): ``pixels`` absolute in
normalised units, ``embedding`` in length over length, ``root_distance`` relative. For concepts the
``exterior_angle`` of the embedding, seen from every concept, is compared in radians; it has no
tolerance of its own. An output of a pose network is off by ``|found - wanted| / (1 + |wanted|)``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime import lorentz
from edgesafe.runtime.concepts import ConceptBank, read_bank
from edgesafe.runtime.encoders import Encoded, ImageRunner, TextRunner
from edgesafe.runtime.errors import EdgesafeError
from edgesafe.runtime.gate import Refused, decode_image
from edgesafe.runtime.golden import Answer, Golden, read_golden
from edgesafe.runtime.manifest_pose import DetectorSpec, PoseNetwork
from edgesafe.runtime.package import Package, PosePackage
from edgesafe.runtime.pose.golden import GoldenPair, parse_pose_golden
from edgesafe.runtime.pose.networks import DetectorRunner, PoseRunner
from edgesafe.runtime.sessions import CONCRETE, Session, open_session, why_unavailable
from edgesafe.runtime.tokenizer import BadText, TextTokenizer

__all__ = ["BackendReport", "Check", "why_unusable", "verify_package"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Check:
    """The largest error of one output over the golden pairs of one model.

    Attributes:
        file: The model.
        precision: What it computes in.
        output: What was compared.
        error: The largest one; infinite where there was no answer.
        tolerance: The most that is right; None where there is no limit.
        pairs: How many were compared.
    """

    file: str
    precision: str
    output: str
    error: float
    tolerance: float | None
    pairs: int

    @property
    def ok(self) -> bool:
        """Whether it is within its tolerance; NaN is not."""
        return self.tolerance is None or self.error <= self.tolerance


@dataclass(frozen=True)
class BackendReport:
    """What one backend did with a package.

    Attributes:
        backend: Its name.
        unavailable: Why it cannot be used here; None where it can.
        failure: What ended the replay; None where nothing did.
        seconds: Of opening all models, by file.
        checks: The errors.
    """

    backend: str
    unavailable: str | None = None
    failure: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ran and all errors are within their tolerances."""
        return self.unavailable is None and self.failure is None and all(c.ok for c in self.checks)


def why_unusable(backend: str) -> str | None:
    """Return why a backend cannot be tried here; None where it can."""
    if backend == "trt":
        from edgesafe.runtime.backends.tensorrt_backend import native_tensorrt

        if native_tensorrt() is None:
            return "the Python module tensorrt (10 or later) is not installed; see edgesafe doctor"
    reason = why_unavailable(backend)
    return (
        None if reason is None else reason.removeprefix(f"backend {backend!r} is not available: ")
    )


def verify_package(
    package: Package | PosePackage,
    backends: Sequence[str] = CONCRETE,
    *,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[BackendReport]:
    """Replay the golden pairs.

    Args:
        package: Verified, of either kind.
        backends: Which.
        threads: CPU threads of one inference.
        progress: Told what is going to be done.

    Yields:
        A report for each backend, as soon as it is there.

    Raises:
        EdgesafeError: The golden pairs of the package are not as the format says.
    """
    replay: Callable[[_Opener], Iterator[Check]]
    if isinstance(package, PosePackage):
        replay = _pose(package)
    else:
        replay = _moderation(package)
    for backend in backends:
        reason = why_unusable(backend)
        if reason is not None:
            yield BackendReport(backend, unavailable=reason)
            continue
        progress(f"{backend}: opening the models of {package.path}")
        opener = _Opener(package, backend, threads)
        checks: list[Check] = []
        failure = None
        try:
            for check in replay(opener):
                checks.append(check)
        except EdgesafeError as error:
            failure = str(error)
        except Exception as error:  # a backend raises what it likes
            failure = f"{type(error).__name__}: {error}"
        yield BackendReport(backend, None, failure, opener.seconds, tuple(checks))


class _Opener:
    """Opens the models of a package with one backend and takes the time."""

    def __init__(self, package: Package | PosePackage, backend: str, threads: int | None) -> None:
        self.package = package
        self.backend = backend
        self.threads = threads
        self.seconds: dict[str, float] = {}

    def __call__(self, file: str, precision: str, max_length: int | None = None) -> Session:
        start = time.perf_counter()
        session = open_session(
            self.package.files[file],
            backend=self.backend,
            threads=self.threads,
            where=str(self.package.path / file),
            precision=precision,
            max_length=max_length,
        )
        self.seconds[file] = time.perf_counter() - start
        return session


class _Worst:
    """Keeps the largest error of each output of one model; NaN is larger than all."""

    def __init__(self) -> None:
        self.errors: dict[str, list[float]] = {}

    def add(self, output: str, error: float) -> None:
        self.errors.setdefault(output, []).append(float(error))

    def checks(
        self, file: str, precision: str, tolerances: Mapping[str, float | None]
    ) -> Iterator[Check]:
        for output, errors in self.errors.items():
            worst = float(np.max(errors))  # NaN stays NaN
            yield Check(file, precision, output, worst, tolerances.get(output), len(errors))


def _moderation(package: Package) -> Callable[[_Opener], Iterator[Check]]:
    manifest = package.manifest
    golden = read_golden(package)
    bank = read_bank(package) if manifest.method == "hysac" else None
    limits = {name: getattr(golden.tolerances, name) for name in ("embedding", "root_distance")}
    limits["pixels"] = golden.tolerances.pixels
    limits["token_ids"] = 0.0

    def replay(opener: _Opener) -> Iterator[Check]:
        if manifest.image is not None:
            image = manifest.image
            runner = ImageRunner(image, opener(image.file, image.precision))
            worst = _replay_images(runner, golden, bank)
            yield from worst.checks(image.file, image.precision, limits)
        if manifest.text is not None:
            text = manifest.text
            tokenizer = TextTokenizer(package.files[text.tokenizer], text, text.tokenizer)
            session = opener(text.file, text.precision, text.max_tokens)
            worst = _replay_texts(TextRunner(text, session, tokenizer), golden, bank)
            yield from worst.checks(text.file, text.precision, limits)

    return replay


def _replay_images(runner: ImageRunner, golden: Golden, bank: ConceptBank | None) -> _Worst:
    worst = _Worst()
    for pair in golden.image:
        try:
            tensor = runner.preprocess(decode_image(pair.png).views[0])
        except Refused:
            worst.add("pixels", np.inf)
            continue
        worst.add("pixels", max(abs(float(tensor[c, y, x]) - v) for c, y, x, v in pair.pixels))
        _compare(worst, pair.answer, runner.encode(tensor[None]), bank)
    return worst


def _replay_texts(runner: TextRunner, golden: Golden, bank: ConceptBank | None) -> _Worst:
    worst = _Worst()
    for pair in golden.text:
        try:
            windows = runner.tokenizer.windows(pair.text)
        except BadText:
            worst.add("token_ids", np.inf)
            continue
        worst.add("token_ids", 0.0 if windows == [list(pair.input_ids)] else np.inf)
        _compare(worst, pair.answer, runner.encode(windows), bank)
    return worst


def _compare(worst: _Worst, answer: Answer, encoded: Encoded, bank: ConceptBank | None) -> None:
    embedding, root_distance = next(encoded.rows())
    expected = np.asarray(answer.embedding, np.float64)
    found = np.asarray(embedding, np.float64)
    if found.shape != expected.shape:
        worst.add("embedding", np.inf)
        return
    worst.add("embedding", float(np.linalg.norm(found - expected) / np.linalg.norm(expected)))
    if answer.root_distance is not None:
        off = np.inf if root_distance is None else abs(root_distance - answer.root_distance)
        worst.add("root_distance", off / answer.root_distance)
    if bank is not None and len(bank.concepts):
        angles = partial(lorentz.exterior_angle, bank.points, c=bank.geometry.curvature)
        worst.add("exterior_angle", float(np.max(np.abs(angles(found) - angles(expected)))))


def _pose(package: PosePackage) -> Callable[[_Opener], Iterator[Check]]:
    manifest = package.manifest
    golden = parse_pose_golden(package.files[manifest.golden], str(package.path / manifest.golden))
    keypoints = {entry.id: len(entry.keypoints) for entry in manifest.objects}

    def replay(opener: _Opener) -> Iterator[Check]:
        for network in manifest.networks:
            session = opener(network.file, network.precision)
            runner = PoseRunner(network, session, keypoints[network.objects[0]])
            pairs = [pair for pair in golden.roi if pair.object_id in network.objects]
            answer = partial(_answer_crop, runner)
            yield from _replay_pictures(network, pairs, answer, golden.tolerance)
        if manifest.detector is not None:
            spec = manifest.detector
            detector = DetectorRunner(spec, opener(spec.file, spec.precision))
            answer = partial(_answer_frame, detector)
            yield from _replay_pictures(spec, golden.detector, answer, golden.tolerance)

    return replay


def _answer_crop(runner: PoseRunner, pair: GoldenPair, pixels: Array) -> dict[str, Array]:
    return dict(runner.run(pixels[None], [pair.object_id or 0]))


def _answer_frame(runner: DetectorRunner, pair: GoldenPair, pixels: Array) -> dict[str, Array]:
    return dict(runner.run(pixels))


def _replay_pictures(
    spec: PoseNetwork | DetectorSpec,
    pairs: Sequence[GoldenPair],
    answer: Callable[[GoldenPair, Array], dict[str, Array]],
    tolerance: float,
) -> Iterator[Check]:
    worst = _Worst()
    names: set[str] = set()
    for pair in pairs:
        names |= set(pair.outputs)
        try:
            pixels = decode_image(pair.png).views[0]
        except Refused:
            for name in pair.outputs:
                worst.add(name, np.inf)
            continue
        outputs = answer(pair, pixels)
        for name, samples in pair.outputs.items():
            flat = np.ravel(outputs[name][0]) if name in outputs else np.empty(0)
            places = np.array([index for index, _ in samples])
            wanted = np.array([value for _, value in samples])
            if places.max() >= flat.size:
                worst.add(name, np.inf)
                continue
            worst.add(name, np.max(np.abs(flat[places] - wanted) / (1 + np.abs(wanted))))
    yield from worst.checks(spec.file, spec.precision, dict.fromkeys(names, tolerance))
