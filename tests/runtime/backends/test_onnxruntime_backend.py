from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime import sessions
from edgesafe.runtime.backends import base, onnxruntime_backend
from edgesafe.runtime.errors import BackendError, PackageError

PIXELS = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
OUTPUTS = ("embedding", "root_distance")


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_stored_weights_are_folded_to_plain_float32(
    tiny_image_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    """The graph that runs has neither Cast nor DequantizeLinear left in it."""
    import onnx

    optimised = tmp_path / "optimised.onnx"
    real = onnxruntime_backend._options

    def keep(ort: Any, threads: int | None, precision: str) -> Any:
        options = real(ort, threads, precision)
        options.optimized_model_filepath = str(optimised)
        return options

    monkeypatch.setattr(onnxruntime_backend, "_options", keep)
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

    options = onnxruntime_backend._options(onnxruntime, None, "fp32")
    assert options.intra_op_num_threads == min(2, base.core_count())
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert onnxruntime_backend._options(onnxruntime, 1, "fp32").intra_op_num_threads == 1


@pytest.mark.parametrize(("precision", "folded"), [("fp32", "1"), ("fp16", "1"), ("int8", "0")])
def test_a_model_of_precision_int8_keeps_its_integer_kernels(precision: str, folded: str) -> None:
    import onnxruntime

    options = onnxruntime_backend._options(onnxruntime, None, precision)
    assert options.get_session_config_entry("session.disable_quant_qdq") == folded


@pytest.mark.parametrize(("fails", "words"), [(False, "cannot be loaded"), (True, "no CUDA")])
def test_a_provider_that_cannot_be_loaded_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, tiny_image_model: Any, fails: bool, words: str
) -> None:
    """ONNX Runtime goes on with the CPU where the CUDA libraries are missing."""
    import onnxruntime

    real = onnxruntime.InferenceSession

    def fall_back(model: bytes, options: Any, providers: Any, **rest: Any) -> Any:
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


def test_a_model_that_onnxruntime_refuses_is_a_bad_package() -> None:
    with pytest.raises(PackageError, match="ONNX Runtime refuses"):
        sessions.open_session(b"", backend="cpu")
