"""The networks of a pose package, ready to run: session, interface, golden pairs.

Opening one runs its golden pairs through the very path that frames take, so a network that opened
is one that computes here what it computed where it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.errors import PackageError
from edgesafe.runtime.gate import Refused, decode_image
from edgesafe.runtime.manifest_pose import DetectorSpec, PoseNetwork
from edgesafe.runtime.package import PosePackage
from edgesafe.runtime.pose.crop import RoiCrop, crop_image
from edgesafe.runtime.pose.golden import GoldenPair, PoseGolden
from edgesafe.runtime.pose.views import merge_views, views_of
from edgesafe.runtime.sessions import Session, open_checked, open_session

__all__ = ["DetectorRunner", "PoseRunner", "open_detector", "open_network"]

_MEND = "use the backend 'cpu', update edgesafe, or export the package again on this version"

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PoseRunner:
    """A network that looks at crops of ``keypoints`` keypoints each (vote), or none (direct)."""

    spec: PoseNetwork
    session: Session
    keypoints: int

    def crops(self, frame: Pixels, rois: Sequence[RoiCrop]) -> Pixels:
        """Cut the looks at each region out of a frame: uint8 (B * views, S, S, 3)."""
        looks = [view for roi in rois for view in views_of(roi, self.spec.views)]
        return np.stack([crop_image(frame, look) for look in looks])

    def look(self, crops: Pixels, object_ids: Sequence[int]) -> dict[str, Floats]:
        """Run on what :meth:`crops` cut out; the outputs as of :meth:`run`, one per region.

        Raises:
            ValueError: An output has another shape than the format says.
            Exception: Whatever the backend raises.
        """
        count = self.spec.views
        found = self.run(crops, [number for number in object_ids for _ in range(count)])
        return merge_views(found, self.spec.size, count)

    def run(self, crops: Pixels, object_ids: Sequence[int]) -> dict[str, Floats]:
        """Run on crops uint8 (B, S, S, 3); returns the outputs by name, batch first.

        Raises:
            ValueError: An output has another shape than the format says.
            Exception: Whatever the backend raises.
        """
        spec = self.spec
        inputs = {"image": spec.preprocess.normalize(crops)}
        if len(spec.objects) > 1:
            places = [spec.objects.index(number) for number in object_ids]
            inputs["object"] = np.array(places, dtype=np.int64)
        found = dict(zip(spec.outputs, self.session.run(spec.outputs, inputs), strict=True))
        cells = spec.size // spec.stride
        shapes: dict[str, tuple[int, ...]] = {
            "keypoints": (self.keypoints, 2),
            "covariance": (self.keypoints, 3),
            "mask": (1, cells, cells),
            "rotation": (3, 3),
            "centre": (2,),
            "log_scale": (),
        }
        _check_shapes(found, {name: (len(crops), *shapes[name]) for name in found})
        return found


@dataclass(frozen=True)
class DetectorRunner:
    """The detector."""

    spec: DetectorSpec
    session: Session

    def run(self, image: Pixels) -> dict[str, Floats]:
        """Run on one letterboxed frame uint8 (H, W, 3); returns ``heat`` and ``box``, batch first.

        Raises:
            ValueError: An output has another shape than the format says.
            Exception: Whatever the backend raises.
        """
        spec = self.spec
        inputs = {"image": spec.preprocess.normalize(image[None])}
        found = dict(zip(("heat", "box"), self.session.run(("heat", "box"), inputs), strict=True))
        cells = (spec.height // spec.stride, spec.width // spec.stride)
        _check_shapes(found, {"heat": (1, len(spec.objects), *cells), "box": (1, 4, *cells)})
        return found


def open_network(
    package: PosePackage,
    spec: PoseNetwork,
    golden: PoseGolden,
    *,
    backend: str,
    threads: int | None,
) -> PoseRunner:
    """Make a network's session and check it on its golden crops.

    Raises:
        PackageError: The model is refused, or answers differently from when it was exported.
        BackendError: The backend is not usable here.
        MissingExtraError: ONNX Runtime is not installed.
    """
    return open_checked(backend, lambda one: _open_network(package, spec, golden, one, threads))


def _open_network(
    package: PosePackage, spec: PoseNetwork, golden: PoseGolden, backend: str, threads: int | None
) -> PoseRunner:
    where = str(package.path / spec.file)
    session = open_session(
        package.files[spec.file],
        backend=backend,
        threads=threads,
        where=where,
        precision=spec.precision,
    )
    inputs = {"image": ("float", 4)}
    if len(spec.objects) > 1:
        inputs["object"] = ("int64", 1)
    session.check(inputs, spec.outputs, where)
    keypoints = {o.id: len(o.keypoints) for o in package.manifest.objects}[spec.objects[0]]
    runner = PoseRunner(spec, session, keypoints)
    pairs = [pair for pair in golden.roi if pair.object_id in spec.objects]

    def answer(pair: GoldenPair, pixels: Pixels) -> dict[str, Floats]:
        return runner.run(pixels[None], [pair.object_id or 0])

    _check_golden(where, golden, pairs, (spec.size, spec.size), answer)
    return runner


def open_detector(
    package: PosePackage,
    spec: DetectorSpec,
    golden: PoseGolden,
    *,
    backend: str,
    threads: int | None,
) -> DetectorRunner:
    """Make the detector's session and check it on its golden frames; as :func:`open_network`."""
    return open_checked(backend, lambda one: _open_detector(package, spec, golden, one, threads))


def _open_detector(
    package: PosePackage, spec: DetectorSpec, golden: PoseGolden, backend: str, threads: int | None
) -> DetectorRunner:
    where = str(package.path / spec.file)
    session = open_session(
        package.files[spec.file],
        backend=backend,
        threads=threads,
        where=where,
        precision=spec.precision,
    )
    session.check({"image": ("float", 4)}, ("heat", "box"), where)
    runner = DetectorRunner(spec, session)
    _check_golden(
        where,
        golden,
        golden.detector,
        (spec.height, spec.width),
        lambda _, pixels: runner.run(pixels),
    )
    return runner


def _check_golden(
    where: str,
    golden: PoseGolden,
    pairs: Sequence[GoldenPair],
    shape: tuple[int, int],
    answer: Callable[[GoldenPair, Pixels], dict[str, Floats]],
) -> None:
    if not pairs:
        raise PackageError(f"{where}: the package has no golden picture to check it with; {_MEND}")
    for index, pair in enumerate(pairs):
        place = f"{where}: golden picture {index}"
        try:
            pixels = decode_image(pair.png).views[0]
        except Refused as error:
            raise PackageError(f"{place} is not decoded: {error}; {_MEND}") from None
        if pixels.shape[:2] != shape:
            raise PackageError(f"{place} has {pixels.shape[:2]} pixels, not {shape}; {_MEND}")
        try:
            outputs = answer(pair, pixels)
        except Exception as error:  # whatever the backend raises over a broken model
            raise PackageError(f"{place} cannot be run: {error}; {_MEND}") from None
        problem = golden.check(pair, {name: value[0] for name, value in outputs.items()})
        if problem:
            raise PackageError(f"{place}: {problem}; this machine computes something else; {_MEND}")


def _check_shapes(found: dict[str, Floats], wanted: dict[str, tuple[int, ...]]) -> None:
    for name, value in found.items():
        if value.shape != wanted[name]:
            raise ValueError(f"the output {name} has the shape {value.shape}, not {wanted[name]}")
