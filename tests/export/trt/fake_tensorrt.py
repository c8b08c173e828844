"""A double of TensorRT's Python API that enforces the order and the types of the real calls.

For what TensorRT-RTX cannot stand in for: DLA, refused timing caches, running an engine.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

__version__ = "10.3.0"
float32 = "float32"


class Logger:
    WARNING = 2

    def __init__(self, severity: int) -> None:
        assert severity == self.WARNING


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1
    PREFER_AOT_PYTHON_PLUGINS = 2


class BuilderFlag(enum.IntEnum):
    TF32 = 7
    GPU_FALLBACK = 3
    VERSION_COMPATIBLE = 13


class HardwareCompatibilityLevel(enum.IntEnum):
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class DeviceType(enum.IntEnum):
    GPU = 0
    DLA = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class OnnxParserFlag(enum.IntEnum):
    ADJUST_FOR_DLA = 5


class Error:
    def node_name(self) -> str:
        return "bad_node"

    def node_operator(self) -> str:
        return "Strange"

    def desc(self) -> str:
        return "no importer"


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.parsed = False


class OnnxParser:
    num_errors = 1

    def __init__(self, network: Network, logger: Logger) -> None:
        assert isinstance(network, Network) and isinstance(logger, Logger)
        self._network = network
        self.flags: list[OnnxParserFlag] = []
        Builder.last["parser"] = self

    def set_flag(self, flag: OnnxParserFlag) -> None:
        assert not self._network.parsed, "flags come before parsing"
        self.flags.append(OnnxParserFlag(flag))

    def parse(self, model: bytes) -> bool:
        assert type(model) is bytes
        self._network.parsed = model != b"bad"
        return self._network.parsed

    def get_error(self, index: int) -> Error:
        assert index < self.num_errors
        return Error()


class TimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"+measured"


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, low: Any, usual: Any, high: Any) -> None:
        assert all(type(s) is tuple for s in (low, usual, high))
        assert all(a <= b <= c for a, b, c in zip(low, usual, high, strict=True))
        self.shapes[name] = (low, usual, high)


class BuilderConfig:
    def __init__(self) -> None:
        # TF32 is on unless it is cleared.
        self.flags = {BuilderFlag.TF32}
        self.pools: dict[MemoryPoolType, int] = {}
        self.profiles: list[Profile] = []
        self.cache: TimingCache | None = None
        self.default_device_type = DeviceType.GPU
        self.DLA_core = -1
        self.builder_optimization_level = 3
        self.hardware_compatibility_level: Any = None

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(BuilderFlag(flag))

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(BuilderFlag(flag))

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.pools[MemoryPoolType(pool)] = size

    def create_timing_cache(self, data: bytes) -> TimingCache:
        assert isinstance(data, bytes)
        return TimingCache(data)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        if cache.data == b"of another GPU":
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache:
        assert self.cache is not None
        return self.cache

    def add_optimization_profile(self, profile: Profile) -> int:
        assert profile.shapes
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Builder:
    last: dict[str, Any] = {}
    refuse = False

    def __init__(self, logger: Logger) -> None:
        assert isinstance(logger, Logger)

    def create_network(self, flags: int) -> Network:
        assert type(flags) is int
        return Network(flags)

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> Any:
        assert network.parsed and config.profiles
        Builder.last |= {"network": network, "config": config}
        return None if Builder.refuse else b"plan"


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._rows = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._rows = shape[0]
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert type(address) is int and address
        self._addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert self._rows, "shapes of outputs are known after those of the inputs"
        return (self._rows, *self._engine.answers[name].shape[1:])

    def execute_async_v3(self, stream: int) -> bool:
        assert type(stream) is int
        if self._engine.broken:
            return False
        memory = self._engine.memory
        for name, answer in self._engine.answers.items():
            rows = np.repeat(answer, self._rows, axis=0)
            memory[self._addresses[name]] = np.ascontiguousarray(rows)
        return True


class Engine:
    def __init__(self, answers: dict[str, Any], memory: dict[int, Any]) -> None:
        self.answers = answers
        self.memory = memory
        self.broken = False

    def create_execution_context(self) -> Context:
        return Context(self)

    def get_tensor_dtype(self, name: str) -> str:
        assert name in self.answers
        return float32


class Runtime:
    engine: Engine | None = None

    def __init__(self, logger: Logger) -> None:
        assert isinstance(logger, Logger)

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        assert isinstance(plan, bytes)
        return Runtime.engine


def nptype(kind: str) -> type:
    assert kind == float32
    return np.float32
