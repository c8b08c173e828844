from __future__ import annotations

import sys
from typing import Any

import pytest

from edgesafe.runtime import sessions
from edgesafe.runtime.errors import BackendError, MissingExtraError, PackageError, UsageError

OUTPUTS = ("embedding", "root_distance")


def test_an_unknown_backend_is_a_wrong_call(tiny_image_model: Any) -> None:
    with pytest.raises(UsageError, match="choose one of auto, cpu"):
        sessions.open_session(tiny_image_model(), backend="tpu")
    with pytest.raises(UsageError, match="choose one of auto, cpu"):
        sessions.why_unavailable("tpu")


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_must_be_a_number(tiny_image_model: Any, threads: Any) -> None:
    with pytest.raises(UsageError, match="threads"):
        sessions.open_session(tiny_image_model(), threads=threads)


@pytest.mark.parametrize("backend", ["cuda", "trt", "trt-ep", "openvino"])
def test_what_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for module in ("openvino", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendError, match="pip install"):
        sessions.check_backend(backend)
    reason = sessions.why_unavailable(backend)
    assert reason is not None and "pip install" in reason
    assert sessions.why_unavailable("cpu") is None


def test_auto_goes_on_with_the_cpu_where_cuda_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, tiny_image_model: Any
) -> None:
    import onnxruntime

    real = onnxruntime.InferenceSession

    def refuse(model: bytes, options: Any, providers: Any, **rest: Any) -> Any:
        if providers[0][0] != "CPUExecutionProvider":
            raise RuntimeError("no CUDA-capable device is detected")
        return real(model, options, providers=providers, **rest)

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    assert sessions.open_session(tiny_image_model(), backend="auto").backend == "cpu"


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for backend in ("auto", "cpu"):
        with pytest.raises(MissingExtraError, match=r"pip install 'edgesafe\[cpu\]'"):
            sessions.check_backend(backend)


def test_trt_is_the_provider_where_the_module_is_missing(
    monkeypatch: pytest.MonkeyPatch, tiny_image_model: Any
) -> None:
    import onnxruntime

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    seen = []
    real = onnxruntime.InferenceSession

    def session(model: bytes, options: Any, providers: Any, **rest: Any) -> Any:
        seen.append(providers[0])
        made = real(model, options, providers=["CPUExecutionProvider"], **rest)
        monkeypatch.setattr(made, "get_providers", lambda: [name for name, _ in providers])
        return made

    names = ["TensorrtExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    for precision, flag in (("fp32", "0"), ("int8", "1")):
        found = sessions.open_session(tiny_image_model(), backend="trt", precision=precision)
        assert found.backend == "trt-ep"
        options = {"trt_fp16_enable": "0", "trt_int8_enable": flag}
        assert seen.pop() == ("TensorrtExecutionProvider", options)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"pixels": ("float", 3)}, OUTPUTS),
        ({"pixels": ("int64", 4)}, OUTPUTS),
        ({"image": ("float", 4)}, OUTPUTS),
        ({"pixels": ("float", 4), "more": ("float", 1)}, OUTPUTS),
        ({"pixels": ("float", 4)}, ("embedding", "nothing")),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_a_model_with_another_interface_is_refused(
    tiny_image_model: Any, backend: str, inputs: Any, outputs: Any
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    session = sessions.open_session(tiny_image_model(), backend=backend)
    session.check({"pixels": ("float", 4)}, OUTPUTS, "image.onnx")
    with pytest.raises(PackageError, match="export again"):
        session.check(inputs, outputs, "image.onnx")


@pytest.mark.parametrize(("backend", "opened"), [("auto", ["auto", "cpu"]), ("cpu", ["cpu"])])
def test_auto_goes_on_to_the_cpu_where_its_choice_answers_wrongly(
    backend: str, opened: list[str]
) -> None:
    tried: list[str] = []

    def opener(one: str) -> str:
        tried.append(one)
        if one == "auto":
            raise PackageError("golden picture 0: this machine computes something else")
        return one

    assert sessions.open_checked(backend, opener) == "cpu"
    assert tried == opened


def test_a_backend_that_is_named_is_not_passed_over() -> None:
    def opener(one: str) -> str:
        raise PackageError(f"{one} computes something else")

    with pytest.raises(PackageError, match="openvino computes"):
        sessions.open_checked("openvino", opener)
    with pytest.raises(PackageError, match="cpu computes"):
        sessions.open_checked("auto", opener)
