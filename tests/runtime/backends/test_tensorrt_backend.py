"""The engine of a model: built once, believed only with this device's mark."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import sessions
from edgesafe.runtime.backends import tensorrt_build
from edgesafe.runtime.errors import BackendError, UsageError

PIXELS = np.random.default_rng(0).normal(size=(11, 3, 16, 16)).astype(np.float32)
OUTPUTS = ("root_distance", "embedding")


def engines(cache: Path) -> list[Path]:
    return sorted((cache / "engines").glob("*.plan"))


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_it_answers_what_onnxruntime_answers(
    plug_in: Any, cache: Path, tiny_image_model: Any, version: str
) -> None:
    double = plug_in(version)
    session = sessions.open_session(tiny_image_model(), backend="trt")
    assert session.backend == "trt"
    session.check({"pixels": ("float", 4)}, OUTPUTS, "image.onnx")
    plain = sessions.open_session(tiny_image_model(), backend="cpu")
    # 11 rows are more than the 8 of the profile: two pieces.
    for rows in (1, 8, 11):
        found = session.run(OUTPUTS, {"pixels": PIXELS[:rows]})
        for a, b in zip(found, plain.run(OUTPUTS, {"pixels": PIXELS[:rows]}), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert double.profiles["pixels"] == ((1, 3, 16, 16), (1, 3, 16, 16), (8, 3, 16, 16))


def test_the_length_of_a_text_goes_to_the_manifests_maximum(
    plug_in: Any, cache: Path, tiny_text_model: Any
) -> None:
    double = plug_in()
    session = sessions.open_session(tiny_text_model, backend="trt", max_length=12)
    assert double.profiles["input_ids"] == ((1, 1), (1, 12), (8, 12))
    ids = np.array([[2, 4, 8, 3]], np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    plain = sessions.open_session(tiny_text_model, backend="cpu")
    found, expected = (s.run(OUTPUTS, feed) for s in (session, plain))
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
    with pytest.raises(ValueError, match="the inputs are"):
        session.run(OUTPUTS, {"input_ids": ids})
    too_long = np.ones((1, 13), np.int64)
    with pytest.raises(BackendError, match="refuses the shape"):
        session.run(OUTPUTS, {"input_ids": too_long, "attention_mask": too_long})


def test_an_engine_is_built_once_and_kept_for_its_owner_alone(
    plug_in: Any, cache: Path, tiny_image_model: Any
) -> None:
    first, again = plug_in(), None
    sessions.open_session(tiny_image_model(), backend="trt")
    again = plug_in()
    sessions.open_session(tiny_image_model(), backend="trt")
    assert (first.builds, again.builds) == (1, 0)
    assert stat.S_IMODE((cache / "engines").stat().st_mode) == 0o700
    for file in (cache / "engines").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert len((cache / "engines" / "device.key").read_bytes()) == 32


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _foreign_record(cache: Path) -> None:
    """A record that fits the planted engine in all but the key."""
    from edgesafe.runtime.files import sha256_hex

    plan = engines(cache)[0]
    _flip(plan)
    record = plan.with_suffix(".json")
    fields = json.loads(record.read_bytes())
    fields["plan"] = sha256_hex(plan.read_bytes())
    record.write_text(json.dumps(fields))


@pytest.mark.parametrize(
    "attack",
    [
        lambda cache: _flip(engines(cache)[0]),
        lambda cache: engines(cache)[0].unlink(),
        lambda cache: engines(cache)[0].with_suffix(".json").write_text("[1]"),
        lambda cache: engines(cache)[0].with_suffix(".json").write_text('{"hmac": 1e999}'),
        _foreign_record,
        lambda cache: (cache / "engines" / "device.key").write_bytes(b"k" * 32),
        lambda cache: (cache / "engines" / "device.key").write_bytes(b"short"),
        lambda cache: engines(cache)[0].chmod(0o644),
        lambda cache: (cache / "engines" / "device.key").chmod(0o640),
        lambda cache: (cache / "more").hardlink_to(engines(cache)[0]),
    ],
)
def test_a_planted_engine_is_never_deserialised(
    plug_in: Any, cache: Path, tiny_image_model: Any, attack: Any
) -> None:
    plug_in()
    sessions.open_session(tiny_image_model(), backend="trt")
    attack(cache)
    double = plug_in()
    sessions.open_session(tiny_image_model(), backend="trt")
    assert double.builds == 1
    # One byte string reached TensorRT, and it is the new engine.
    assert double.deserialised == [engines(cache)[0].read_bytes()]
    assert len(engines(cache)) == 1


def test_a_link_in_the_place_of_an_engine_is_not_followed(
    plug_in: Any, cache: Path, tiny_image_model: Any, tmp_path: Path
) -> None:
    plug_in()
    sessions.open_session(tiny_image_model(), backend="trt")
    plan = engines(cache)[0]
    elsewhere = tmp_path / "elsewhere"
    plan.rename(elsewhere)
    plan.symlink_to(elsewhere)
    double = plug_in()
    sessions.open_session(tiny_image_model(), backend="trt")
    assert double.builds == 1
    assert not plan.is_symlink()


@pytest.mark.parametrize(("version", "gpu", "left"), [("11.4.0", "Orin", 1), ("10.3.0", "Thor", 2)])
def test_another_version_or_gpu_builds_anew_and_names_both(
    plug_in: Any,
    cache: Path,
    tiny_image_model: Any,
    caplog: pytest.LogCaptureFixture,
    version: str,
    gpu: str,
    left: int,
) -> None:
    """An outdated engine goes; one of another machine on a shared disk stays."""
    device = plug_in().device
    sessions.open_session(tiny_image_model(), backend="trt")
    other = type(device)(gpu)
    double = plug_in(version, other)
    with caplog.at_level(logging.WARNING, "edgesafe.tensorrt"):
        sessions.open_session(tiny_image_model(), backend="trt")
    assert double.builds == 1
    line = next(r.getMessage() for r in caplog.records if "cached engine" in r.getMessage())
    assert "TensorRT 10.3.0 on Orin" in line
    assert f"TensorRT {version} on {gpu}" in line
    assert len(engines(cache)) == left


def test_other_flags_are_another_engine(
    plug_in: Any, cache: Path, tiny_text_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    double = plug_in()
    for length in (12, 24):
        sessions.open_session(tiny_text_model, backend="trt", max_length=length)
    assert double.builds == 2
    assert "other flags" in caplog.text
    assert len(engines(cache)) == 2


def test_an_engine_that_tensorrt_does_not_load_is_built_anew_once(
    plug_in: Any, cache: Path, tiny_image_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in()
    sessions.open_session(tiny_image_model(), backend="trt")
    double = plug_in()
    double.refuse_plans = True
    sessions.open_session(tiny_image_model(), backend="trt")
    assert double.builds == 1
    double = plug_in()
    monkeypatch.setattr(double.Runtime, "deserialize_cuda_engine", lambda self, plan: None)
    with pytest.raises(BackendError, match="does not load the engine that it built"):
        sessions.open_session(tiny_image_model(), backend="trt")


def test_without_a_cache_it_still_runs(
    plug_in: Any, cache: Path, tiny_image_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    double = plug_in()
    for _ in range(2):
        sessions.open_session(tiny_image_model(), backend="trt")
    assert double.builds == 2
    assert "not this user's alone" in caplog.text
    assert not (cache / "engines").exists()


def test_what_tensorrt_cannot_parse_is_named(
    plug_in: Any, cache: Path, tiny_image_model: Any
) -> None:
    double = plug_in()
    double.refuse_parse = ["no importer registered for op: Rope"]
    with pytest.raises(BackendError, match=r"Rope 'rope_7': no importer.*use the backend"):
        sessions.open_session(tiny_image_model(), backend="trt")
    assert not engines(cache)


def test_memory_of_the_device_is_given_back(
    plug_in: Any, cache: Path, tiny_image_model: Any
) -> None:
    double = plug_in()
    session = sessions.open_session(tiny_image_model(), backend="trt")
    session.run(OUTPUTS, {"pixels": PIXELS[:1]})
    session.run(OUTPUTS, {"pixels": PIXELS[:4]})
    assert len(double.device.blocks) == 3  # one for each tensor, grown ones freed
    del session
    assert not double.device.blocks


def test_a_module_without_a_gpu_says_so(plug_in: Any, request: pytest.FixtureRequest) -> None:
    plug_in()
    request.getfixturevalue("no_gpu")
    with pytest.raises(BackendError, match="no NVIDIA driver"):
        sessions.check_backend("trt")


@pytest.mark.parametrize("version", ["8.6.1", "9.3.0", "unknown"])
def test_an_old_tensorrt_is_none(
    plug_in: Any, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    plug_in().__version__ = version
    with pytest.raises(BackendError, match="system-site-packages"):
        sessions.check_backend("trt")


def test_an_axis_that_nobody_can_bound_is_refused() -> None:
    flags = tensorrt_build.BuildFlags()
    with pytest.raises(BackendError, match="axis 2 of the input pixels is open"):
        tensorrt_build._profile((-1, 3, -1, 16), flags, "pixels", "image.onnx")


def test_an_unknown_name_lists_the_ways_to_tensorrt() -> None:
    with pytest.raises(UsageError, match="trt, trt-ep"):
        sessions.check_backend("tensorrt")


@pytest.mark.slow
def test_a_real_builder_takes_the_calls(tiny_image_model: Any) -> None:
    """TensorRT-RTX builds without a GPU; its API is that of TensorRT 11."""
    trt = pytest.importorskip("tensorrt_rtx")

    def target(config: Any) -> None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM86, 0)

    logger = tensorrt_build.make_logger(trt)
    flags = tensorrt_build.BuildFlags()
    plan = tensorrt_build.build_plan(
        trt, tiny_image_model(), flags, "image.onnx", logger=logger, configure=target
    )
    assert len(plan) > 1000
    with pytest.raises(BackendError, match="cannot parse"):
        tensorrt_build.build_plan(trt, b"no model", flags, "image.onnx", logger=logger)
