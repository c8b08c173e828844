"""Parses one network with TensorRT-RTX and builds it ahead of time, for GPUs that are not here.

Run as a script of its own process, because the parser may end it. It reads a job (JSON) from its
standard input and writes one JSON line per finding; it imports nothing of edgesafe.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any


def main() -> int:
    """Do the job on standard input; return 0 whatever is found."""
    job = json.loads(sys.stdin.read())
    trt: Any = importlib.import_module("tensorrt_rtx")
    logger = _logger(trt)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    start = time.monotonic()
    with open(job["onnx"], "rb") as file:
        parsed = parser.parse(file.read())
    _tell(
        kind="parse",
        ok=bool(parsed),
        version=trt.__version__,
        layers=network.num_layers,
        seconds=time.monotonic() - start,
        errors=[_error(parser.get_error(i)) for i in range(parser.num_errors)],
    )
    if not parsed:
        return 0
    for sm in job["sms"]:
        _tell(kind="start", sm=sm)
        logger.errors.clear()
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, sm), 0)
        profile = builder.create_optimization_profile()
        for name, shapes in job["shapes"].items():
            profile.set_shape(name, *map(tuple, shapes))
        config.add_optimization_profile(profile)
        start = time.monotonic()
        plan = builder.build_serialized_network(network, config)
        _tell(
            kind="build",
            sm=sm,
            ok=plan is not None,
            bytes=plan.nbytes if plan is not None else 0,
            seconds=time.monotonic() - start,
            errors=list(logger.errors),
        )
        del plan
    return 0


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps the errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    return Logger()


def _error(error: Any) -> dict[str, Any]:
    return {
        "node": error.node_name(),
        "operator": error.node_operator(),
        "message": error.desc(),
        "functions": list(error.local_function_stack()),
    }


def _tell(**finding: Any) -> None:
    print(json.dumps(finding), flush=True)


if __name__ == "__main__":
    # The folder of this file, whose modules are no business of what is imported here.
    del sys.path[0]
    sys.exit(main())
