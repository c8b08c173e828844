"""The device bundle: everything that a device needs to build its engines, and to trust them.

::

    bundle.json        what is here, with the SHA-256 of every file and of itself
    profiles.json      sizes of the open dimensions
    build_engine.py    builds and checks the engines on the device
    edgesafe_trt/      what it calls
    networks/          NAME.onnx (runs everywhere) and NAME.plugin.onnx (same nodes, head by plugin)
    golden/            NAME.npz: inputs and answers
    plugin/            kernels of the head: sources, CMake project, Python plugin, its PTX
    package/           the model package

There is no engine in it: an engine is executable code for one GPU and one TensorRT, and is built
where it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgesafe.export.trt.device.contents import TIMES
from edgesafe.export.trt.device.profiles import Range, merge
from edgesafe.export.trt.device.reading import BUNDLE, FORMAT, bundle_digest
from edgesafe.export.trt.folders import DEVICE, PLUGIN
from edgesafe.export.trt.golden import golden_archive
from edgesafe.export.trt.networks import Network, read_networks
from edgesafe.export.trt.ptx import compile_ptx, nvrtc_library
from edgesafe.export.trt.settings import TrtOptions, default_profile
from edgesafe.export.trt.variants import function_variant, plugin_variant
from edgesafe.runtime.errors import UsageError
from edgesafe.runtime.files import sha256_hex
from edgesafe.runtime.manifest_parts import MANIFEST
from edgesafe.runtime.package import Package, PosePackage
from edgesafe.runtime.version import VERSION

__all__ = ["PreparedNetwork", "prepare", "write_bundle"]

PTX = "plugin/edgesafe_head.ptx"
_LAUNCHER = '''"""Build TensorRT engines from this bundle; see --help."""

import os
import sys

FOLDER = os.path.dirname(os.path.realpath(__file__))
# Python looks into the folder of a script first. Last is enough for what is imported from here,
# and no stray numpy.py or json.py takes the place of the real one before it is refused.
sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != FOLDER] + [FOLDER]

from pathlib import Path  # noqa: E402

from edgesafe_trt.command import build_engine  # noqa: E402

if __name__ == "__main__":
    sys.exit(build_engine(Path(FOLDER)))
'''
_README = """TensorRT bundle of {identity}.

Copy this folder to the device and run there, with the TensorRT of the device:

    python3 build_engine.py --dry-run     verify the files, print what would be built
    python3 build_engine.py               build the engines and check them on golden inputs

Engines are for the GPU and the TensorRT that built them: build again after an update.
"""
_SKIPPED = ("__pycache__",)


@dataclass(frozen=True)
class PreparedNetwork:
    """A network ready for TensorRT.

    Attributes:
        network: Of the package.
        function: The graph that runs everywhere.
        profile: Sizes of its open dimensions.
    """

    network: Network
    function: bytes
    profile: Mapping[str, Range]


def prepare(package: Package | PosePackage, options: TrtOptions) -> list[PreparedNetwork]:
    """Make the graphs of a package ready for TensorRT.

    Raises:
        ExportError: A graph cannot be made ready.
        UsageError: A profile is not valid.
    """
    networks = read_networks(package)
    try:
        profiles = merge(
            {network.name: default_profile(network) for network in networks},
            options.profiles,
            {network.name: network.limits for network in networks},
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return [
        PreparedNetwork(
            network,
            function_variant(network.onnx, stored=options.stored_weights),
            profiles[network.name],
        )
        for network in networks
    ]


def write_bundle(
    folder: Path,
    package: Package | PosePackage,
    networks: list[PreparedNetwork],
    options: TrtOptions,
    *,
    progress: Callable[[str], None] = lambda stage: None,
) -> None:
    """Write the bundle of a package into an empty folder.

    Args:
        folder: It is there and will be the bundle.
        package: The model package.
        networks: What :func:`prepare` made of it.
        options: What the build script takes as given.
        progress: Called with a line at the start of each stage.

    Raises:
        ExportError: The answers to the golden inputs cannot be computed, or the kernels do not
            compile.
        OSError: It could not be written.
    """
    files: dict[str, bytes] = {
        "build_engine.py": _LAUNCHER.encode(),
        "README.txt": _README.format(identity=package.manifest.identity).encode(),
        **_tree(DEVICE, "edgesafe_trt"),
        **_tree(PLUGIN, "plugin"),
    }
    if nvrtc_library() is not None:
        progress("compiling the kernels of the head to PTX")
        files[PTX] = compile_ptx()
    if options.timing_cache is not None:
        files[TIMES] = _timing_cache(options.timing_cache)
    described: dict[str, Any] = {}
    for prepared in networks:
        name = prepared.network.name
        progress(f"preparing {name} for TensorRT")
        described[name] = _describe(prepared, files)
    profiles = {item.network.name: item.profile for item in networks}
    files["profiles.json"] = (json.dumps(profiles, indent=2) + "\n").encode()
    files[f"package/{MANIFEST}"] = (package.path / MANIFEST).read_bytes()
    files.update({f"package/{name}": data for name, data in package.files.items()})
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    description: dict[str, Any] = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "edgesafe": VERSION,
        "package": package.manifest.identity,
        "networks": described,
        "defaults": options.defaults(),
        # A build on the device writes into it.
        "files": {
            name: {"sha256": sha256_hex(data), "size": len(data)}
            for name, data in sorted(files.items())
            if name != TIMES
        },
    }
    description["digest"] = bundle_digest(description)
    (folder / BUNDLE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _describe(prepared: PreparedNetwork, files: dict[str, bytes]) -> dict[str, Any]:
    """Add the files of a network; return its entry in ``bundle.json``."""
    network = prepared.network
    onnx = {"function": f"networks/{network.name}.onnx"}
    files[onnx["function"]] = prepared.function
    plugin = plugin_variant(prepared.function)
    if plugin is not None:
        onnx["plugin"] = f"networks/{network.name}.plugin.onnx"
        files[onnx["plugin"]] = plugin
    golden = f"golden/{network.name}.npz"
    files[golden], tolerances = golden_archive(network, prepared.function)
    return {
        "onnx": onnx,
        "precision": network.precision,
        "storage": network.storage,
        "package_onnx_sha256": sha256_hex(network.onnx),
        "inputs": {
            name: {"dtype": value.dtype, "shape": value.shape}
            for name, value in network.inputs.items()
        },
        "outputs": network.outputs,
        "limits": network.limits,
        "golden": {"file": golden, "tolerances": tolerances},
    }


def _tree(folder: Path, name: str) -> dict[str, bytes]:
    """The files of a packaged folder, under another name."""
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(_SKIPPED) & set(path.parts)
    }


def _timing_cache(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the timing cache {path} cannot be read: {error.strerror}") from None
