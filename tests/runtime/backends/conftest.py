"""A double of TensorRT's Python API and of a GPU, as strict about types and order as the real ones.

The signatures are those that the bindings of TensorRT 10.3 and 11.4 print (``help``). An "engine"
is the ONNX model behind a header; running it is ONNX Runtime's work, on "device memory" in a
dictionary.
"""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime.backends import cuda, tensorrt_backend
from edgesafe.runtime.errors import BackendError

MAGIC = b"DOUBLE OF AN ENGINE\0"
FLAGS = {
    "10.3.0": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
    "11.4.0": {"STRONGLY_TYPED": 0, "PREFER_AOT_PYTHON_PLUGINS": 2, "PREFER_JIT_PYTHON_PLUGINS": 1},
}


def typed(value: Any, kind: Any) -> Any:
    """What pybind11 does with a wrong argument."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"incompatible function arguments: {value!r:.80}")
    return value


class FakeDevice:
    """Stands in for ``CudaDevice``: a dictionary is its memory."""

    def __init__(self, name: str = "Orin", compute: str = "8.7") -> None:
        self.name, self.compute, self.driver, self.memory = name, compute, "12.6", 8 << 30
        self.stream = 77
        self.blocks: dict[int, bytearray] = {}
        self.pending: list[Any] = []
        self.active = False
        self._next = 0x1000

    def activate(self) -> None:
        self.active = True

    def allocate(self, nbytes: int) -> int:
        assert self.active and nbytes > 0
        self._next += 1 << 20
        self.blocks[self._next] = bytearray(nbytes)
        return self._next

    def free(self, address: int) -> None:
        del self.blocks[address]

    def to_device(self, address: int, values: Any) -> None:
        assert values.flags.c_contiguous and values.nbytes <= len(self.blocks[address])
        self.blocks[address][: values.nbytes] = values.tobytes()

    def to_host(self, values: Any, address: int) -> None:
        # Not before `wait`, as on a device.
        self.pending.append((values, address))

    def wait(self) -> None:
        for values, address in self.pending:
            raw = bytes(self.blocks[address][: values.nbytes])
            values[...] = np.frombuffer(raw, values.dtype).reshape(values.shape)
        self.pending = []


class Double(types.ModuleType):
    """The module ``tensorrt`` of one version on one device.

    Attributes:
        builds: How many engines were built.
        deserialised: The bytes that were handed to ``deserialize_cuda_engine``.
        refuse_plans: Makes it answer None to every engine that it did not just build.
    """

    def __init__(self, version: str, device: FakeDevice) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.builds = 0
        self.deserialised: list[bytes] = []
        self.refuse_plans = False
        self.refuse_parse: list[str] = []
        self.profiles: dict[str, Any] = {}
        module = self

        class ILogger:
            VERBOSE, INFO, WARNING, ERROR, INTERNAL_ERROR = range(5)
            ready = False

            def __init__(self) -> None:
                self.ready = True

        class Enumeration:
            def __init__(self, name: str, value: int) -> None:
                self.name, self.value = name, value

            def __int__(self) -> int:
                return self.value

        def enumeration(**members: int) -> Any:
            return types.SimpleNamespace(**{k: Enumeration(k, v) for k, v in members.items()})

        class DataType(Enum):
            FLOAT, HALF, INT8, INT32, INT64 = range(5)

        class TensorIOMode(Enum):
            NONE, INPUT, OUTPUT = range(3)

        kinds = {1: DataType.FLOAT, 7: DataType.INT64}

        class Port:
            def __init__(self, info: Any) -> None:
                tensor = info.type.tensor_type
                self.name = info.name
                self.dtype = kinds[tensor.elem_type]
                self.shape = tuple(d.dim_value or -1 for d in tensor.shape.dim)

        class Network:
            def __init__(self, flags: int) -> None:
                self.strong = bool(flags >> FLAGS[version]["STRONGLY_TYPED"] & 1)
                self.graph: Any = None
                self.model = b""

            @property
            def num_inputs(self) -> int:
                return len(self.graph.input)

            def get_input(self, index: int) -> Port:
                return Port(self.graph.input[typed(index, int)])

        class OnnxParser:
            def __init__(self, network: Network, logger: ILogger) -> None:
                typed(network, Network)
                assert typed(logger, ILogger).ready, "ILogger.__init__ was not called"
                self.network = network

            def parse(self, model: bytes, path: str | None = None) -> bool:
                import onnx

                typed(model, bytes)
                assert path is None, "no path may be handed to a parser"
                if module.refuse_parse:
                    return False
                self.network.graph = onnx.load_model_from_string(model).graph
                self.network.model = model
                return True

            @property
            def num_errors(self) -> int:
                return len(module.refuse_parse)

            def get_error(self, index: int) -> Any:
                text = module.refuse_parse[typed(index, int)]
                return types.SimpleNamespace(
                    desc=lambda: text, node_operator=lambda: "Rope", node_name=lambda: "rope_7"
                )

        class Profile:
            def __init__(self) -> None:
                self.shapes: dict[str, Any] = {}

            def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
                for low, middle, high in zip(min, opt, max, strict=True):
                    if not 0 < typed(low, int) <= typed(middle, int) <= typed(high, int):
                        raise ValueError(f"the profile of {input} is not ordered")
                self.shapes[typed(input, str)] = (tuple(min), tuple(opt), tuple(max))

        class Config:
            def __init__(self) -> None:
                self.tf32 = True
                self.profiles: list[Profile] = []

            def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
                typed(pool, Enumeration)
                assert pool.name == "WORKSPACE" and typed(pool_size, int) > 0

            def clear_flag(self, flag: Any) -> None:
                typed(flag, Enumeration)
                self.tf32 = self.tf32 and flag.name != "TF32"

            def add_optimization_profile(self, profile: Profile) -> int:
                assert typed(profile, Profile).shapes, "a profile is filled before it is added"
                self.profiles.append(profile)
                return len(self.profiles) - 1

        class Builder:
            def __init__(self, logger: ILogger) -> None:
                assert typed(logger, ILogger).ready

            def create_network(self, flags: int = 0) -> Network:
                return Network(typed(flags, int))

            def create_builder_config(self) -> Config:
                return Config()

            def create_optimization_profile(self) -> Profile:
                return Profile()

            def build_serialized_network(self, network: Network, config: Config) -> Any:
                assert device.active, "the device must be the current one"
                assert typed(network, Network).graph is not None, "parse comes before build"
                assert network.strong, "weakly typed"
                assert not typed(config, Config).tf32, "TF32 is on"
                open_inputs = {
                    port.name for port in (Port(i) for i in network.graph.input) if -1 in port.shape
                }
                if open_inputs:
                    assert len(config.profiles) == 1
                    assert set(config.profiles[0].shapes) == open_inputs
                    module.profiles = config.profiles[0].shapes
                module.builds += 1
                head = f"{version}|{device.name}\0".encode()
                # IHostMemory: a buffer, not bytes.
                return memoryview(MAGIC + head + network.model)

        class Context:
            def __init__(self, engine: Engine) -> None:
                self.engine = engine
                self.shapes: dict[str, tuple[int, ...]] = {}
                self.addresses: dict[str, int] = {}

            def set_input_shape(self, name: str, shape: Any) -> bool:
                typed(shape, (tuple, list))
                profile = module.profiles.get(typed(name, str))
                if profile and not all(
                    low <= size <= high
                    for size, low, high in zip(shape, profile[0], profile[2], strict=True)
                ):
                    return False
                self.shapes[name] = tuple(shape)
                return True

            def get_tensor_shape(self, name: str) -> tuple[int, ...]:
                if set(self.shapes) != set(self.engine.inputs):
                    return (-1,)
                rows = next(iter(self.shapes.values()))[0]
                shape = self.engine.ports[typed(name, str)].shape
                return (rows, *shape[1:])

            def set_tensor_address(self, name: str, memory: int) -> bool:
                assert name in self.engine.ports
                self.addresses[name] = typed(memory, int)
                return True

            def execute_async_v3(self, stream_handle: int) -> bool:
                assert typed(stream_handle, int) == device.stream
                assert set(self.shapes) == set(self.engine.inputs), "an input has no shape"
                assert set(self.addresses) == set(self.engine.ports), "a tensor has no memory"
                feed = {}
                for name in self.engine.inputs:
                    kind = self.engine.kind(name)
                    size = int(np.prod(self.shapes[name])) * np.dtype(kind).itemsize
                    raw = bytes(device.blocks[self.addresses[name]][:size])
                    feed[name] = np.frombuffer(raw, kind).reshape(self.shapes[name])
                for name, value in self.engine.run(feed).items():
                    device.blocks[self.addresses[name]][: value.nbytes] = value.tobytes()
                return True

        class Engine:
            def __init__(self, model: bytes) -> None:
                import onnx
                import onnxruntime

                graph = onnx.load_model_from_string(model).graph
                self.inputs = [i.name for i in graph.input]
                self.ports = {i.name: Port(i) for i in [*graph.input, *graph.output]}
                self.session = onnxruntime.InferenceSession(model)

            def run(self, feed: Any) -> dict[str, Any]:
                names = [name for name in self.ports if name not in self.inputs]
                return dict(zip(names, self.session.run(names, feed), strict=True))

            def kind(self, name: str) -> Any:
                return np.int64 if self.ports[name].dtype is DataType.INT64 else np.float32

            @property
            def num_io_tensors(self) -> int:
                return len(self.ports)

            def get_tensor_name(self, index: int) -> str:
                return list(self.ports)[typed(index, int)]

            def get_tensor_mode(self, name: str) -> Any:
                given = typed(name, str) in self.inputs
                return TensorIOMode.INPUT if given else TensorIOMode.OUTPUT

            def get_tensor_dtype(self, name: str) -> Any:
                return self.ports[typed(name, str)].dtype

            def get_tensor_shape(self, name: str) -> Any:
                return self.ports[typed(name, str)].shape

            def create_execution_context(self) -> Context:
                return Context(self)

        class Runtime:
            def __init__(self, logger: ILogger) -> None:
                assert typed(logger, ILogger).ready

            def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
                module.deserialised.append(bytes(typed(serialized_engine, (bytes, memoryview))))
                magic, _, rest = bytes(serialized_engine).partition(MAGIC)
                assert magic == b"" and rest, "a foreign engine was deserialised"
                built, _, model = rest.partition(b"\0")
                if module.refuse_plans and module.builds == 0:
                    return None
                return Engine(model) if built.decode() == f"{version}|{device.name}" else None

        self.ILogger, self.Builder, self.OnnxParser, self.Runtime = (
            ILogger, Builder, OnnxParser, Runtime,
        )  # fmt: skip
        self.NetworkDefinitionCreationFlag = enumeration(**FLAGS[version])
        self.MemoryPoolType = enumeration(WORKSPACE=0)
        self.BuilderFlag = enumeration(TF32=6)
        self.DataType, self.TensorIOMode = DataType, TensorIOMode


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("EDGESAFE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a double of one TensorRT on one GPU; returns it."""

    def install(version: str = "10.3.0", device: FakeDevice | None = None) -> Double:
        device = device or FakeDevice()
        double = Double(version, device)
        double.device = device
        monkeypatch.setattr(tensorrt_backend, "find_module", lambda name: double)
        monkeypatch.setattr(tensorrt_backend, "open_device", lambda: device)
        monkeypatch.setattr(cuda, "open_device", lambda: device)
        return double

    return install


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the TensorRT module and no driver."""

    def nothing() -> Any:
        raise BackendError("backend 'trt' is not available: there is no NVIDIA driver")

    monkeypatch.setattr(cuda, "open_device", nothing)
    monkeypatch.setattr(tensorrt_backend, "open_device", nothing)


@pytest.fixture
def tiny_text_model(tiny_parts: Any) -> bytes:
    """The text encoder of the tiny package."""
    return bytes(tiny_parts()[1]["text.onnx"])
