from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesafe.runtime import Moderator, UsageError, read_package, write_package
from edgesafe.runtime.encoders import ImageRunner

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


@pytest.fixture(scope="module")
def moderator(tiny_package: Path) -> Moderator:
    return Moderator.load(tiny_package, backend="cpu")


def _plain(colour: tuple[int, int, int], size: int = 32) -> np.ndarray[Any, Any]:
    return np.full((size, size, 3), colour, np.uint8)


@pytest.mark.parametrize(("colour", "decision"), [(RED, "unsafe"), (GREEN, "safe")])
def test_every_kind_of_image_gives_the_same_verdict(
    moderator: Moderator, colour_png: Any, tmp_path: Path, colour: Any, decision: str
) -> None:
    data = colour_png(colour)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    array = _plain(colour)
    sources = [str(path), path, data, bytearray(data), memoryview(data), array]
    sources.append(Image.fromarray(array))
    verdicts = [moderator.check(source) for source in sources]
    assert [verdict.decision for verdict in verdicts] == [decision] * len(sources)
    scores = [verdict.score for verdict in verdicts]
    assert scores == pytest.approx([scores[0]] * len(scores))


def test_a_verdict_says_what_it_rests_on(moderator: Moderator) -> None:
    verdict = moderator.check(_plain(RED))
    assert verdict.score == pytest.approx(np.arcsinh(np.hypot(1.0, 0.1)), rel=1e-5)
    assert verdict.radius == pytest.approx(verdict.score, rel=1e-5)
    assert verdict.threshold == 0.5
    assert verdict.modality == "image"
    assert verdict.reason is None
    assert verdict.package == moderator.package_label
    assert verdict.package.startswith("tiny@1#")
    assert verdict.concepts[0].name == "knife"
    assert verdict.concepts[0].inside
    assert verdict.ms.infer > 0
    assert verdict.ms.total >= verdict.ms.infer


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("/no/such/file.jpg", "missing"),
        ("/", "not_a_file"),
        ("nul\0byte", "unreadable"),
        (b"", "empty"),
        (np.zeros((8, 8), np.uint8), "bad_array"),
        (np.zeros((8, 8, 4), np.uint8), "bad_array"),
        (np.zeros((8, 8, 3), np.float32), "bad_array"),
        (np.zeros((3, 8, 8), np.uint8), "bad_array"),
    ],
)
def test_bad_images_are_undecided(moderator: Moderator, image: Any, reason: str) -> None:
    verdict = moderator.check(image)
    assert (verdict.decision, verdict.reason) == ("undecided", reason)
    assert verdict.score is None
    assert verdict.concepts == ()


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_array_without_pixels_is_undecided(moderator: Moderator, size: Any) -> None:
    assert moderator.check(np.zeros((*size, 3), np.uint8)).decision == "undecided"


@pytest.mark.parametrize("image", [None, 7, object(), ["photo.jpg"]])
def test_what_can_never_be_an_image_is_a_wrong_call(moderator: Moderator, image: Any) -> None:
    with pytest.raises(UsageError, match="an image is a path"):
        moderator.check(image)


@pytest.mark.parametrize(
    "colour",
    [(255, 0, 0, 0), (0, 0, 0, 0), (255, 255, 255, 128)],
    ids=["hidden red", "nothing", "half white"],
)
def test_of_a_transparent_image_the_worse_view_counts(
    moderator: Moderator, colour_png: Any, colour: Any
) -> None:
    # On white all of these are white, and white is red enough.
    assert moderator.check(colour_png(colour)).decision == "unsafe"


def test_a_model_that_answers_nan_never_says_safe(
    tiny_parts: Any, tiny_image_model: Any, tmp_path: Path
) -> None:
    fields, files = tiny_parts()
    files["image.onnx"] = tiny_image_model(nan_where_blue=True)
    moderator = Moderator(write_package(tmp_path / "nan", fields, files))
    assert moderator.check(_plain((0, 0, 100))).decision == "safe"
    verdict = moderator.check(_plain((0, 0, 255)))
    assert (verdict.decision, verdict.reason) == ("undecided", "non_finite_output")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(MemoryError(), "out_of_memory"), (RuntimeError("the GPU fell off"), "inference_failed")],
)
def test_a_failing_inference_is_undecided(
    tiny_package: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    moderator = Moderator.load(tiny_package)
    moderator.prepare("image")

    def fail(self: ImageRunner, pixels: Any) -> Any:
        raise error

    monkeypatch.setattr(ImageRunner, "encode", fail)
    assert moderator.check(_plain(GREEN)).reason == reason
    assert [v.reason for v in moderator.check_many([_plain(GREEN)] * 3, 3)] == [reason] * 3


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_fault_in_the_judgement_is_undecided(
    tiny_package: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    moderator = Moderator.load(tiny_package)

    def fail(*args: Any) -> Any:
        raise FloatingPointError("concepts")

    monkeypatch.setattr("edgesafe.runtime.concepts.ConceptBank.score", fail)
    found = [verdict.reason for verdict in moderator.check_many([_plain(GREEN)] * 3, batch_size)]
    assert found == ["inference_failed"] * 3
    assert moderator.check(_plain(GREEN)).decision == "undecided"
    assert moderator.check_text("a dog").decision == "undecided"


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), ZeroDivisionError()])
def test_a_failing_decoder_is_undecided(
    moderator: Moderator, monkeypatch: pytest.MonkeyPatch, colour_png: Any, error: Exception
) -> None:
    def fail(data: bytes) -> Any:
        raise error

    monkeypatch.setattr("edgesafe.runtime.intake.decode_image", fail)
    verdict = moderator.check(colour_png(GREEN))
    assert verdict.decision == "undecided"
    assert verdict.reason in ("out_of_memory", "decode_failed")


def test_outputs_that_contradict_each_other_are_undecided(
    tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moderator = Moderator.load(tiny_package)
    moderator.prepare("image")
    real = ImageRunner.encode

    def shrink(self: ImageRunner, pixels: Any) -> Any:
        encoded = real(self, pixels)
        return type(encoded)(encoded.embedding, encoded.root_distance * 0.1)

    monkeypatch.setattr(ImageRunner, "encode", shrink)
    verdict = moderator.check(_plain(RED))
    assert (verdict.decision, verdict.reason) == ("undecided", "inconsistent_output")


def test_without_a_threshold_nothing_is_decided(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    fields["thresholds"] = {}
    verdict = Moderator(write_package(tmp_path / "p", fields, files)).check(_plain(GREEN))
    assert (verdict.decision, verdict.reason) == ("undecided", "no_threshold")
    assert verdict.score is not None


def test_an_image_package_does_not_judge_texts(tiny_parts: Any, tmp_path: Path) -> None:
    fields, files = tiny_parts()
    del fields["encoders"]["text"], fields["thresholds"]["text"]
    del files["text.onnx"], files["tokenizer.json"]
    moderator = Moderator(write_package(tmp_path / "p", fields, files))
    assert moderator.check(_plain(GREEN)).decision == "safe"
    with pytest.raises(UsageError, match="no text encoder"):
        moderator.check_text("a dog")


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_stream_keeps_its_order_and_survives_bad_items(
    moderator: Moderator, colour_png: Any, batch_size: int
) -> None:
    items = [_plain(RED), b"junk", None, colour_png(GREEN), "/none.jpg", _plain(GREEN)] * 3
    expected = ["unsafe", "undecided", "undecided", "safe", "undecided", "safe"] * 3
    verdicts = list(moderator.check_many(iter(items), batch_size))
    assert [verdict.decision for verdict in verdicts] == expected
    assert [verdict.reason for verdict in verdicts[1:3]] == ["not_an_image", "wrong_type"]


def test_a_batch_with_transparent_images_keeps_views_together(
    moderator: Moderator, colour_png: Any
) -> None:
    items = [colour_png((0, 255, 0, 0)), colour_png(GREEN), colour_png((255, 0, 0, 9))]
    found = [verdict.decision for verdict in moderator.check_many(items, 3)]
    assert found == ["unsafe", "safe", "unsafe"]


def test_a_stream_is_read_no_further_than_it_says(moderator: Moderator) -> None:
    taken = itertools.count()

    def endless() -> Any:
        while True:
            next(taken)
            yield _plain(GREEN)

    stream = moderator.check_many(endless(), batch_size=2)
    for _ in range(4):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert next(taken) <= 4 + 3


def test_an_error_of_the_stream_itself_comes_after_the_verdicts_before_it(
    moderator: Moderator,
) -> None:
    def broken() -> Any:
        yield _plain(RED)
        yield _plain(GREEN)
        raise OSError("the disk is gone")

    found = []
    with pytest.raises(OSError, match="the disk is gone"):
        for verdict in moderator.check_many(broken(), batch_size=4):
            found.append(verdict.decision)
    assert found == ["unsafe", "safe"]


def test_a_stream_holds_few_images_at_a_time(moderator: Moderator) -> None:
    def large() -> Any:
        for _ in range(12):
            yield _plain(GREEN, 1000)  # 3 MB each

    tracemalloc.start()
    count = sum(1 for _ in moderator.check_many(large()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 12
    assert peak < 16e6


@pytest.mark.parametrize("size", [0, -1, 1.5, True, 10_000])
def test_a_wrong_batch_size_is_refused_at_once(moderator: Moderator, size: Any) -> None:
    with pytest.raises(UsageError, match="batch_size"):
        moderator.check_many([], size)


def test_a_verified_package_can_be_loaded_too(tiny_package: Path) -> None:
    moderator = Moderator.load(read_package(tiny_package))
    assert moderator.prepare("image") == "cpu"
    assert moderator.manifest.name == "tiny"
    assert moderator.path == tiny_package
    with pytest.raises(UsageError, match="modality"):
        moderator.prepare("sound")  # type: ignore[arg-type]
