"""The moderator: images and texts in, verdicts out.

    moderator = Moderator.load("packages/night-camera")
    verdict = moderator.check("frame.jpg")
    if verdict.decision != "safe":
        ...

Bad input never raises: it gives an ``undecided`` verdict with a reason. What does raise is a wrong
use of the API (:class:`UsageError`) and a package, backend or installation that cannot judge at
all (the other errors of :mod:`edgesafe.runtime.errors`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgesafe.runtime.encoders import Encoded, ImageRunner, TextRunner, open_image, open_text
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.golden import read_golden
from edgesafe.runtime.intake import (
    ImageSource,
    Prepared,
    elapsed,
    prepare_image,
    prepare_item,
    require_image,
)
from edgesafe.runtime.judge import Judge
from edgesafe.runtime.manifest import Manifest
from edgesafe.runtime.package import Package, default_model_path, read_package
from edgesafe.runtime.scorers import make_scorer, no_probe
from edgesafe.runtime.sessions import check_backend
from edgesafe.runtime.tokenizer import BadText
from edgesafe.runtime.verdict import Modality, Timings, Verdict

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["ImageSource", "Moderator"]

_TEXT_BATCH = 8
_MAX_BATCH = 256


class Moderator:
    """Judges images and texts with one package; make one with :meth:`load`.

    An encoder is opened, and checked on the package's golden pairs, at the first input of its
    modality (or by :meth:`prepare`). May be used from several threads.
    """

    def __init__(self, package: Package, *, backend: str = "auto", threads: int | None = None):
        """Take a verified package; the arguments are those of :meth:`load`."""
        check_backend(backend)
        manifest = package.manifest
        self._package = package
        self._backend = backend
        self._threads = threads
        self._lock = threading.Lock()
        self._image: ImageRunner | None = None
        self._text: TextRunner | None = None
        self._golden = read_golden(package)
        limits = manifest.thresholds
        self._judge_image = Judge(
            "image", manifest.identity, limits.get("image"), make_scorer(package, "image")
        )
        self._judge_text = Judge(
            "text", manifest.identity, limits.get("text"), make_scorer(package, "text")
        )

    @classmethod
    def load(
        cls,
        package: str | os.PathLike[str] | Package | None = None,
        backend: str = "auto",
        *,
        threads: int | None = None,
        allow_hard_links: bool = False,
    ) -> Moderator:
        """Read and verify a package.

        Args:
            package: Its folder, or an already verified one; None takes the sample package.
            backend: ``auto``, ``cpu``, ``cuda``, ``trt`` or ``openvino``.
            threads: CPU threads of one inference; None takes two, or one on a single core.
            allow_hard_links: See :mod:`edgesafe.runtime.package`.

        Raises:
            PackageError: The package is missing, damaged, edited, too new, or has nothing to
                judge with (a safeclip package without a probe).
            UsageError: ``backend`` or ``threads`` is not one.
            BackendError: The backend is not usable on this machine.
            MissingExtraError: ONNX Runtime is not installed.
            SourceError: No package was named and no sample package is installed.
        """
        if package is None:
            package = default_model_path()
        if not isinstance(package, Package):
            package = read_package(package, allow_hard_links=allow_hard_links)
        return cls(package, backend=backend, threads=threads)

    @property
    def manifest(self) -> Manifest:
        """What the package says about itself."""
        return self._package.manifest

    @property
    def package_label(self) -> str:
        """What verdicts call the package: ``name@release#digest``."""
        return self._package.manifest.identity

    @property
    def path(self) -> Path:
        """The folder that the package was read from."""
        return self._package.path

    def prepare(self, modality: Modality) -> str:
        """Open the encoder of a modality now instead of at its first input.

        Returns:
            The backend that it runs on.

        Raises:
            UsageError: The package has no encoder for it.
            PackageError: The model is refused or fails its golden pairs.
            BackendError: The backend is not usable on this machine.
        """
        if modality not in ("image", "text"):
            raise UsageError(f"modality must be 'image' or 'text', not {modality!r}")
        return (self._images() if modality == "image" else self._texts()).session.backend

    def check(self, image: ImageSource) -> Verdict:
        """Judge one image.

        Of a partly transparent image, what it shows on black and on white is judged, and the worse
        verdict is returned.

        Args:
            image: A path, the bytes of a file, a PIL image, or uint8 (H, W, 3) RGB. Prefer the
                path or the bytes: only these show whether the file is whole.

        Raises:
            UsageError: ``image`` is none of these, or the package has no image encoder.
            PackageError: At the first image: the encoder is refused or fails its golden pairs.
        """
        require_image(image)
        runner = self._images()
        return self._judge_images(runner, [prepare_image(image, runner.preprocess)])[0]

    def check_text(self, text: str) -> Verdict:
        """Judge one text; of a long one every passage, and the worst verdict is returned.

        Raises:
            UsageError: ``text`` is not a string, or the package has no text encoder.
            PackageError: At the first text: the encoder is refused or fails its golden pairs.
        """
        if not isinstance(text, str):
            raise UsageError(f"check_text takes a str, not {type(text).__name__}")
        runner = self._texts()
        judge = self._judge_text
        started = time.perf_counter()
        try:
            windows = runner.tokenizer.windows(text)
            tokenized = time.perf_counter()
            rows = [
                runner.encode(windows[at : at + _TEXT_BATCH])
                for at in range(0, len(windows), _TEXT_BATCH)
            ]
            ms = Timings(preprocess=elapsed(started, tokenized), infer=elapsed(tokenized))
            return judge.judge(Encoded.join(rows), ms)
        except BadText as error:
            return judge.undecided(error.code, error.detail, Timings(preprocess=elapsed(started)))
        except Exception as error:
            return judge.undecided(*_failure(error), Timings(infer=elapsed(started)))

    def check_many(self, images: Iterable[Any], batch_size: int = 1) -> Iterator[Verdict]:
        """Judge a stream of images: one verdict per item, in order, with bounded memory.

        While one batch is judged the next images are decoded in a thread; up to ``batch_size + 1``
        items are taken from ``images`` ahead of the verdict that is yielded, always in the
        caller's thread. For a live source, where a frame must not wait for its successors, call
        :meth:`check`.

        Args:
            images: Of anything that :meth:`check` takes. An item of another type gives an
                ``undecided`` verdict; a bad item never ends the stream.
            batch_size: Images per inference. Their time is shared out evenly.

        Raises:
            UsageError: ``batch_size`` is not in 1..256, or the package has no image encoder.
            PackageError: The encoder is refused or fails its golden pairs.
            Exception: What ``images`` itself raises, after the verdicts of the items before.
        """
        if type(batch_size) is not int or not 1 <= batch_size <= _MAX_BATCH:
            raise UsageError(f"batch_size must be in 1..{_MAX_BATCH}, not {batch_size!r}")
        return self._stream(images, batch_size)

    def _stream(self, images: Iterable[Any], batch_size: int) -> Iterator[Verdict]:
        # Not at the top: a tenth of the time to the first verdict, and only streams need it.
        from concurrent.futures import ThreadPoolExecutor

        runner = self._images()
        waiting: deque[Future[Prepared]] = deque()
        failure: Exception | None = None
        # One thread, so that one decoded image is in memory at a time, however large they are.
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="edgesafe-decode")
        try:
            items = iter(images)
            while failure is None or waiting:
                while failure is None and len(waiting) <= batch_size:
                    try:
                        item = next(items)
                    except Exception as error:
                        failure = error
                    else:
                        waiting.append(pool.submit(prepare_item, item, runner.preprocess))
                        del item
                batch = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
                yield from self._judge_images(runner, batch)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if not isinstance(failure, StopIteration):
            raise failure

    def _judge_images(self, runner: ImageRunner, batch: list[Prepared]) -> list[Verdict]:
        """Judge prepared images in one inference; alone where the batch fails."""
        judge = self._judge_image
        good = [item for item in batch if item.pixels is not None]
        rows: list[Encoded] = []
        each = 0.0
        if len(good) > 1:
            started = time.perf_counter()
            try:
                encoded = runner.encode(np.concatenate([_pixels(item) for item in good]))
                rows = encoded.split([len(_pixels(item)) for item in good])
                each = elapsed(started) / len(good)
            except Exception:
                rows = []  # each is tried again by itself, and answers for itself
        found = iter(rows)
        verdicts = []
        for item in batch:
            if item.refused is not None:
                verdict = judge.undecided(item.refused.code, item.refused.detail, item.ms)
            elif rows:
                verdict = self._judged(next(found), replace(item.ms, infer=each))
            else:
                verdict = self._judge_one(runner, item)
            verdicts.append(verdict)
        return verdicts

    def _judge_one(self, runner: ImageRunner, item: Prepared) -> Verdict:
        started = time.perf_counter()
        try:
            encoded = runner.encode(_pixels(item))
        except Exception as error:
            ms = replace(item.ms, infer=elapsed(started))
            return self._judge_image.undecided(*_failure(error), ms)
        return self._judged(encoded, replace(item.ms, infer=elapsed(started)))

    def _judged(self, encoded: Encoded, ms: Timings) -> Verdict:
        try:
            return self._judge_image.judge(encoded, ms)
        except Exception as error:
            return self._judge_image.undecided(*_failure(error), ms)

    def _images(self) -> ImageRunner:
        with self._lock:
            if self._image is None:
                if self._judge_image.scorer is None and self.manifest.image:
                    raise no_probe(self._package, "image")
                self._image = open_image(
                    self._package, self._golden, backend=self._backend, threads=self._threads
                )
                self._forget(self._image.spec.file)
            return self._image

    def _texts(self) -> TextRunner:
        with self._lock:
            if self._text is None:
                if self._judge_text.scorer is None and self.manifest.text:
                    raise no_probe(self._package, "text")
                self._text = open_text(
                    self._package, self._golden, backend=self._backend, threads=self._threads
                )
                self._forget(self._text.spec.file, self._text.spec.tokenizer)
            return self._text

    def _forget(self, *names: str) -> None:
        """Let go of files whose content now lives in a session."""
        files = {k: v for k, v in self._package.files.items() if k not in names}
        self._package = replace(self._package, files=files)


def _pixels(item: Prepared) -> npt.NDArray[np.float32]:
    assert item.pixels is not None
    return item.pixels


def _failure(error: Exception) -> tuple[str, str]:
    """Return the reason code and the detail for an exception out of an inference."""
    if isinstance(error, MemoryError):
        return "out_of_memory", "memory ran out during inference"
    return "inference_failed", f"{type(error).__name__}: {error}"[:500]
