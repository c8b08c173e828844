from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import sessions
from edgesafe.runtime.errors import BackendError, MissingExtraError, PackageError, UsageError

PIXELS = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
OUTPUTS = ("embedding", "root_distance")


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_stored_weights_are_folded_to_plain_float32(
    tiny_image_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    """The graph that runs has neither Cast nor DequantizeLinear left in it."""
    import onnx

    optimised = tmp_path / "optimised.onnx"
    real = sessions._options

    def keep(ort: Any, threads: int | None, precision: str) -> Any:
        options = real(ort, threads, precision)
        options.optimized_model_filepath = str(optimised)
        return options

    monkeypatch.setattr(sessions, "_options", keep)
    stored = sessions.open_session(tiny_image_model(storage=storage))
    kinds = {node.op_type for node in onnx.load(optimised).graph.node}
    assert kinds
    assert not kinds & {"Cast", "DequantizeLinear", "MatMulInteger", "QGemm"}
    plain = sessions.open_session(tiny_image_model())
    for found, expected in zip(
        stored.run(OUTPUTS, {"pixels": PIXELS}), plain.run(OUTPUTS, {"pixels": PIXELS}), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_options_suit_a_shared_machine() -> None:
    import onnxruntime

    options = sessions._options(onnxruntime, None)
    assert options.intra_op_num_threads == min(2, sessions._cores())
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    assert sessions._options(onnxruntime, 1).intra_op_num_threads == 1


def test_a_model_of_precision_int8_keeps_its_integer_kernels() -> None:
    import onnxruntime

    options = sessions._options(onnxruntime, None, "int8")
    assert options.get_session_config_entry("session.disable_quant_qdq") == "0"


def test_an_unknown_backend_is_a_wrong_call(tiny_image_model: Any) -> None:
    with pytest.raises(UsageError, match="choose one of auto, cpu"):
        sessions.open_session(tiny_image_model(), backend="tpu")


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_must_be_a_number(tiny_image_model: Any, threads: Any) -> None:
    with pytest.raises(UsageError, match="threads"):
        sessions.open_session(tiny_image_model(), threads=threads)


@pytest.mark.parametrize("backend", ["cuda", "trt", "openvino"])
def test_a_missing_provider_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match="pip install"):
        sessions.check_backend(backend)


@pytest.mark.parametrize(("fails", "words"), [(False, "cannot be loaded"), (True, "no CUDA")])
def test_a_provider_that_cannot_be_loaded_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, tiny_image_model: Any, fails: bool, words: str
) -> None:
    """ONNX Runtime goes on with the CPU where the CUDA libraries are missing."""
    import onnxruntime

    real = onnxruntime.InferenceSession

    def fall_back(model: bytes, options: Any, providers: Any, **rest: Any) -> Any:
        if providers[0][0] == "CPUExecutionProvider":
            return real(model, options, providers=providers, **rest)
        assert providers[0][0] == "CUDAExecutionProvider"
        assert providers[0][1]["use_tf32"] == "0"
        if fails:
            raise RuntimeError("no CUDA-capable device is detected")
        return real(model, options, providers=["CPUExecutionProvider"], **rest)

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    with pytest.raises(BackendError, match=words):
        sessions.open_session(tiny_image_model(), backend="cuda")
    assert sessions.open_session(tiny_image_model(), backend="auto").backend == "cpu"


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgesafe\[cpu\]'"):
        sessions.check_backend("auto")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"pixels": ("float", 3)}, OUTPUTS),
        ({"pixels": ("int64", 4)}, OUTPUTS),
        ({"image": ("float", 4)}, OUTPUTS),
        ({"pixels": ("float", 4), "more": ("float", 1)}, OUTPUTS),
        ({"pixels": ("float", 4)}, ("embedding", "radius")),
    ],
)
def test_a_model_with_another_interface_is_refused(
    tiny_image_model: Any, inputs: Any, outputs: Any
) -> None:
    session = sessions.open_session(tiny_image_model())
    session.check({"pixels": ("float", 4)}, OUTPUTS, "image.onnx")
    with pytest.raises(PackageError, match="export again"):
        session.check(inputs, outputs, "image.onnx")
