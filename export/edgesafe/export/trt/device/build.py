"""Builds engines from a bundle with the TensorRT of this machine.

An engine is executable code for one GPU and one TensorRT: it is built where it runs, from ONNX
files that were verified, and never shipped.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .contents import ENGINES, is_free
from .profiles import Range, merge, shapes
from .reading import Bundle, BundleError, BundleUsageError
from .refusals import Platform, detect, refusals, version_of
from .settings import Settings

__all__ = ["build_all", "build_plan", "check_settings", "check_usage", "choose_profiles", "run"]

Profiles = Mapping[str, Mapping[str, Range]]

_MIB = 1 << 20
_BUILD_LIBRARY = (
    "build it with `cmake -S plugin -B plugin/build && cmake --build plugin/build` and name the "
    "file that this makes"
)


def run(bundle: Bundle, settings: Settings, say: Callable[[str], None] = print) -> int:
    """Do what ``build_engine.py`` does; return its exit status, 0 or 3."""
    count = bundle.verify()
    check_usage(bundle, settings)
    profiles = choose_profiles(bundle, settings)
    trt = _tensorrt() if not settings.dry_run else None
    platform = detect()
    check_settings(bundle, settings, platform, trt, profiles)
    if settings.dry_run:
        say(json.dumps(_plan(bundle, settings, platform, profiles), indent=2))
        say(f"{count} files verified; nothing was built (--dry-run)")
        return 0
    assert trt is not None
    say(f"TensorRT {trt.__version__}, {platform}")
    engines = build_all(trt, bundle, settings, profiles, say)
    if not settings.check:
        return 0
    from .check import check_engine

    passed = [
        check_engine(trt, bundle, name, engines[name].read_bytes(), profiles[name], say)
        for name in engines
    ]
    return 0 if all(passed) else 3


def choose_profiles(bundle: Bundle, settings: Settings) -> Profiles:
    """Return the profiles of the networks to build.

    Raises:
        BundleUsageError: An option is not valid, or a network is unknown.
    """
    unknown = sorted(set(settings.networks) - set(bundle.networks))
    if unknown:
        known = ", ".join(sorted(bundle.networks))
        raise BundleUsageError(f"the bundle has no network {unknown[0]!r}, it has {known}")
    names = settings.networks or tuple(sorted(bundle.networks))
    given = json.loads(bundle.read("profiles.json"))
    limits = {name: bundle.networks[name]["limits"] for name in names}
    try:
        return merge({name: given[name] for name in names}, settings.profiles, limits)
    except ValueError as error:
        raise BundleUsageError(str(error)) from None


def check_usage(bundle: Bundle, settings: Settings) -> None:
    """Refuse options that cannot work on any platform.

    Raises:
        BundleUsageError: Naming the first of them.
    """
    library = settings.plugin_library
    if settings.ops == "plugin" and library is None:
        raise BundleUsageError(f"--ops plugin needs --plugin-library FILE: {_BUILD_LIBRARY}")
    if settings.ops != "plugin" and library is not None:
        raise BundleUsageError("--plugin-library is an option of --ops plugin: pass that too")
    if library is not None and not library.is_file():
        raise BundleUsageError(f"there is no plugin library {library}: {_BUILD_LIBRARY}")
    if settings.out.exists() and not settings.out.is_dir():
        raise BundleUsageError(f"--out {settings.out} is not a folder: choose another name")
    if settings.timing_cache is not None and settings.timing_cache.is_dir():
        raise BundleUsageError(f"--timing-cache {settings.timing_cache} is a folder: name a file")
    # The next run would take them for something that is not of the bundle.
    written = {"--out": settings.out, "--timing-cache": settings.timing_cache}
    top = bundle.folder.resolve()
    for option, path in written.items():
        if path is None:
            continue
        place = path.resolve()
        inside = place == top or top in place.parents
        if inside and not is_free(place.relative_to(top).as_posix()):
            raise BundleUsageError(
                f"{option} {path} is in the bundle: name a place outside of it, or in {ENGINES}/"
            )
        folder = path if option == "--out" else path.parent
        _check_place(option, path, folder, for_use=not settings.dry_run)


def _check_place(option: str, path: Path, folder: Path, *, for_use: bool) -> None:
    """Refuse, before minutes of building, what cannot be written in the end."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise BundleUsageError(f"{option} {path}: {folder} is not a folder: choose another place")
    # A dry run may be of a bundle on a medium that is read-only.
    if for_use and not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(option, path, f"{folder} cannot be written to")


def check_settings(
    bundle: Bundle, settings: Settings, platform: Platform, trt: Any, profiles: Profiles
) -> None:
    """Refuse what this platform or this TensorRT cannot do.

    Raises:
        BundleError: Naming everything that is not possible.
    """
    found = refusals(
        platform,
        version_of(trt.__version__) if trt else None,
        precisions={name: bundle.networks[name]["precision"] for name in profiles},
        dynamic=tuple(
            name
            for name, axes in profiles.items()
            if any(sizes.min != sizes.max for sizes in axes.values())
        ),
        dla=settings.dla,
        hardware_compatible=settings.hardware_compatible,
        version_compatible=settings.version_compatible,
        quick_deploy=settings.ops == "quick-deploy",
    )
    if found:
        raise BundleError("\n".join(found))


def build_all(
    trt: Any,
    bundle: Bundle,
    settings: Settings,
    profiles: Profiles,
    say: Callable[[str], None] = print,
) -> dict[str, Path]:
    """Build the engines and write each beside a description of how it was made.

    Returns:
        Network to file.

    Raises:
        BundleError: A network does not parse or does not build, with the errors of TensorRT; or
            the disk is full.
        BundleUsageError: An engine or the times cannot be written where they should.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    if settings.ops == "plugin":
        trt.get_plugin_registry().load_library(str(settings.plugin_library))
    elif settings.ops == "quick-deploy":
        sys.path.insert(0, str(bundle.folder / "plugin"))
        bundle.read("plugin/quick_deploy.py"), bundle.read("plugin/edgesafe_head.ptx")
        importlib.import_module("quick_deploy")
    # Whoever can write an engine can run code in the process that loads it.
    _make_folder("--out", settings.out, settings.out)
    engines: dict[str, Path] = {}
    for name, profile in profiles.items():
        file = _file(bundle, name, settings.ops)
        onnx = bundle.read(file)
        start = time.monotonic()
        plan = build_plan(trt, logger, bundle.networks[name], onnx, profile, settings)
        seconds = time.monotonic() - start
        engines[name] = settings.out / f"{name}.engine"
        description = {
            "engine_sha256": hashlib.sha256(plan).hexdigest(),
            "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
            "onnx": file,
            "package": bundle.description["package"],
            "tensorrt": trt.__version__,
            "platform": str(detect()),
            "profile": profile,
            "settings": _flags(settings),
            "seconds": round(seconds, 1),
        }
        text = json.dumps(description, indent=2) + "\n"
        _write("--out", engines[name], plan)
        _write("--out", settings.out / f"{name}.json", text.encode())
        say(f"{engines[name]}: {len(plan) / 1e6:.1f} MB in {seconds:.1f} s")
    return engines


def build_plan(
    trt: Any,
    logger: Any,
    network: Mapping[str, Any],
    onnx: bytes,
    profile: Mapping[str, Range],
    settings: Settings,
    *,
    adjust: Callable[[Any], None] = lambda config: None,
) -> bytes:
    """Build one engine.

    Args:
        trt: The module ``tensorrt``.
        logger: Of TensorRT.
        network: Its description in the bundle.
        onnx: Its verified file.
        profile: Sizes of its open dimensions.
        settings: How to build.
        adjust: Called with the configuration before the build.

    Raises:
        BundleError: TensorRT refuses the network, with its errors.
    """
    builder = trt.Builder(logger)
    flags = _creation_flags(trt, settings)
    definition = builder.create_network(flags)
    parser = trt.OnnxParser(definition, logger)
    if settings.dla is not None and hasattr(trt.OnnxParserFlag, "ADJUST_FOR_DLA"):
        parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)
    if not parser.parse(onnx):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        lines = [f"  {e.node_operator()} {e.node_name()!r}: {e.desc()}" for e in errors]
        raise BundleError("TensorRT does not parse the network:\n" + "\n".join(lines))
    config = builder.create_builder_config()
    _configure(trt, config, settings)
    cache = _load_timing_cache(config, settings.timing_cache)
    optimization = builder.create_optimization_profile()
    for name, value in network["inputs"].items():
        optimization.set_shape(name, *shapes(value["shape"], profile))
    config.add_optimization_profile(optimization)
    adjust(config)
    plan = builder.build_serialized_network(definition, config)
    if plan is None:
        raise BundleError("TensorRT does not build the network: its messages above say why")
    if cache is not None and settings.timing_cache is not None:
        measured = bytes(config.get_timing_cache().serialize())
        _make_folder("--timing-cache", settings.timing_cache, settings.timing_cache.parent)
        _write("--timing-cache", settings.timing_cache, measured)
    return bytes(plan)


def _creation_flags(trt: Any, settings: Settings) -> int:
    kinds = trt.NetworkDefinitionCreationFlag
    # TensorRT 11 knows no other networks and may drop the name.
    flags = 1 << int(kinds.STRONGLY_TYPED) if hasattr(kinds, "STRONGLY_TYPED") else 0
    if settings.ops == "quick-deploy":
        flags |= 1 << int(kinds.PREFER_AOT_PYTHON_PLUGINS)
    return flags


def _configure(trt: Any, config: Any, settings: Settings) -> None:
    # Distances between near points lose their meaning in TF32.
    config.clear_flag(trt.BuilderFlag.TF32)
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace * _MIB)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.hardware_compatible is not None:
        levels = trt.HardwareCompatibilityLevel
        config.hardware_compatibility_level = (
            levels.AMPERE_PLUS
            if settings.hardware_compatible == "ampere+"
            else levels.SAME_COMPUTE_CAPABILITY
        )
    if settings.dla is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = settings.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _load_timing_cache(config: Any, file: Path | None) -> Any:
    """Give the builder the times that an earlier build measured; None where it has no cache."""
    if file is None:
        return None
    data = file.read_bytes() if file.is_file() else b""
    cache = config.create_timing_cache(data)
    # Of another GPU or another release: start anew rather than build on times that do not hold.
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, False):
            return None
    return cache


def _file(bundle: Bundle, name: str, ops: str) -> str:
    """The ONNX file of a network; one without a head has no plugin variant and needs none."""
    files = bundle.networks[name]["onnx"]
    return str(files["function"] if ops == "function" else files.get("plugin", files["function"]))


def _flags(settings: Settings) -> dict[str, Any]:
    return {
        "ops": settings.ops,
        "strongly_typed": True,
        "tf32": False,
        "workspace": settings.workspace,
        "version_compatible": settings.version_compatible,
        "hardware_compatible": settings.hardware_compatible,
        "dla": settings.dla,
        "optimization_level": settings.optimization_level,
    }


def _plan(
    bundle: Bundle, settings: Settings, platform: Platform, profiles: Profiles
) -> dict[str, Any]:
    return {
        "package": bundle.description["package"],
        "platform": str(platform),
        "out": str(settings.out),
        "settings": _flags(settings),
        "networks": {
            name: {
                "onnx": _file(bundle, name, settings.ops),
                "precision": bundle.networks[name]["precision"],
                "shapes": {
                    key: dict(
                        zip(("min", "opt", "max"), shapes(value["shape"], profile), strict=True)
                    )
                    for key, value in bundle.networks[name]["inputs"].items()
                },
            }
            for name, profile in profiles.items()
        },
    }


def _make_folder(option: str, path: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _not_written(option, path, error) from None


def _write(option: str, path: Path, data: bytes) -> None:
    """Write for the owner only, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _not_written(option, path, error) from None


def _not_written(option: str, path: Path, error: OSError) -> BundleError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BundleError(
            f"{option} {path}: the disk is full: make room, or name another place with {option}"
        )
    return _unwritable(option, path, f"it cannot be written ({error.strerror or error})")


def _unwritable(option: str, path: Path, why: str) -> BundleUsageError:
    return BundleUsageError(
        f"{option} {path}: {why}: name another place with {option}, or mend its permissions"
    )


def _tensorrt() -> Any:
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise BundleError(
            f"tensorrt cannot be imported ({error}): pip install tensorrt on a server; on a Jetson "
            "use the one of JetPack, in a virtual environment with --system-site-packages"
        ) from None
