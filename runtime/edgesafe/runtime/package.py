"""Read and write model packages.

A package is a folder: ``manifest.json`` and the files that it lists, nothing else. Reading follows
one rule: **read once, verify those bytes, use those bytes**. Each file is opened once, without
following links, read whole, and compared with the size and the SHA-256 of the manifest; parsers
are given the verified bytes and never a path. So a file that is exchanged after the check changes
nothing. (That a model does not reach for other files is the business of ``onnx_guard``.)

Refused: a missing or extra file, a sub-folder, a symbolic link, anything that is not a plain file,
a size or a digest that does not match, and a hard link (``st_nlink > 1``), because another name of
the same file lets somebody without access to the folder change it between two starts.

Hard links and installers: pip copies, but uv and conda link the files of an installed
distribution to their caches. Packages *inside the installed edgesafe distribution* (the sample
package) may therefore be hard links; their bytes are verified all the same. For a package of your
own that was deployed by a linking tool there is ``allow_hard_links``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from edgesafe.runtime.errors import PackageError, SourceError
from edgesafe.runtime.fields import parse_json
from edgesafe.runtime.files import atomic_folder, atomic_write, canonical_json, sha256_hex
from edgesafe.runtime.manifest import (
    FORMAT,
    MANIFEST,
    Common,
    Manifest,
    manifest_digest,
    parse_manifest,
)
from edgesafe.runtime.manifest_parts import MAX_FILE_BYTES, MAX_FILES, check_file_name
from edgesafe.runtime.manifest_pose import PoseManifest, parse_pose_manifest

__all__ = [
    "Package",
    "PosePackage",
    "default_model_path",
    "package_kind",
    "read_package",
    "read_pose_package",
    "write_package",
    "write_pose_package",
]

_MAX_MANIFEST_BYTES = 1 << 20
_MEND = "fetch or export the package again"

_ManifestT = TypeVar("_ManifestT", bound=Common)


@dataclass(frozen=True)
class Package:
    """A verified package of the kind ``moderation``.

    Attributes:
        path: The folder it was read from.
        manifest: The checked manifest.
        files: Name to verified bytes, of every file but the manifest.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class PosePackage:
    """A verified package of the kind ``pose``.

    Attributes:
        path: The folder it was read from.
        manifest: The checked manifest.
        files: Name to verified bytes, of every file but the manifest.
    """

    path: Path
    manifest: PoseManifest
    files: Mapping[str, bytes] = field(repr=False)


def default_model_path(name: str = "moderation") -> Path:
    """Return the folder of a sample package that comes with edgesafe.

    An installed wheel has it inside the ``edgesafe`` package, a checkout beside it.

    Args:
        name: Of the folder among the sample models.

    Raises:
        SourceError: There is none.
    """
    import edgesafe

    for portion in map(Path, edgesafe.__path__):
        for folder in (
            portion / "samples" / "models" / name,
            portion.parent / "models" / name,
        ):
            if (folder / MANIFEST).is_file():
                return folder
    raise SourceError(
        f"no sample model {name!r} comes with this installation: name a package with --model PKG, "
        "or train and export one"
    )


def package_kind(path: str | os.PathLike[str]) -> str:
    """Return what a package says it is, ``"moderation"`` or ``"pose"``; nothing is verified.

    For choosing between :func:`read_package` and :func:`read_pose_package`, which verify.

    Raises:
        PackageError: There is no readable manifest.
    """
    folder = Path(path)
    if MANIFEST not in _list_folder(folder):
        raise _no_package(folder)
    file = folder / MANIFEST
    data = _read_file(file, _MAX_MANIFEST_BYTES, allow_hard_links=True)
    return parse_json(data, str(file)).text("kind")


def read_package(path: str | os.PathLike[str], *, allow_hard_links: bool = False) -> Package:
    """Read and verify the folder of a moderation package.

    Args:
        path: The folder. It may itself be reached through a link; what is in it may not.
        allow_hard_links: Accept files that have other names elsewhere on the disk.

    Raises:
        PackageError: The package is missing, damaged, incomplete, edited, too new, or of another
            kind.
    """
    return Package(*_read(Path(path), parse_manifest, allow_hard_links))


def read_pose_package(
    path: str | os.PathLike[str], *, allow_hard_links: bool = False
) -> PosePackage:
    """Read and verify the folder of a pose package; otherwise as :func:`read_package`.

    Raises:
        PackageError: The package is missing, damaged, incomplete, edited, too new, or of another
            kind.
    """
    return PosePackage(*_read(Path(path), parse_pose_manifest, allow_hard_links))


def write_package(
    path: str | os.PathLike[str],
    fields: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
) -> Package:
    """Write the folder of a moderation package, whole or not at all, and read it back.

    Args:
        path: The folder to make.
        fields: The manifest without ``format``, ``files`` and ``digest``, which are computed
            (values under these names are ignored, so that the manifest of an older release can
            be passed on with changes). ``created`` is now, in UTC, where it is not given.
        files: Name to content, of every file but the manifest.
        overwrite: Replace an existing folder.

    Returns:
        The package as a reader sees it.

    Raises:
        PackageError: The result would not be a valid package; nothing was written.
        UsageError: ``path`` exists and ``overwrite`` is false.
        OSError: It could not be written.
    """
    _write(path, fields, files, parse_manifest, overwrite)
    return read_package(path)


def write_pose_package(
    path: str | os.PathLike[str],
    fields: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
) -> PosePackage:
    """Write the folder of a pose package; otherwise as :func:`write_package`.

    Raises:
        PackageError: The result would not be a valid package; nothing was written.
        UsageError: ``path`` exists and ``overwrite`` is false.
        OSError: It could not be written.
    """
    _write(path, fields, files, parse_pose_manifest, overwrite)
    return read_pose_package(path)


def _no_package(folder: Path) -> PackageError:
    return PackageError(
        f"{folder} is not a model package: it has no {MANIFEST}; name the folder that "
        "`edgesafe export` made"
    )


def _read(
    folder: Path, parse: Callable[[bytes, str], _ManifestT], allow_hard_links: bool
) -> tuple[Path, _ManifestT, dict[str, bytes]]:
    found = _list_folder(folder)
    links = allow_hard_links or _installed(folder)
    if MANIFEST not in found:
        raise _no_package(folder)
    data = _read_file(folder / MANIFEST, _MAX_MANIFEST_BYTES, links)
    manifest = parse(data, str(folder / MANIFEST))
    extra = sorted(found - set(manifest.files) - {MANIFEST})
    missing = sorted(set(manifest.files) - found)
    if extra:
        raise PackageError(
            f"{folder} holds files that its manifest does not list: {extra}; {_MEND}"
        )
    if missing:
        raise PackageError(f"{folder} lacks files that its manifest lists: {missing}; {_MEND}")
    files = {}
    for name, entry in manifest.files.items():
        file = folder / name
        content = _read_file(file, entry.size, links)
        if len(content) != entry.size:
            raise PackageError(f"{file} has {len(content)} bytes, not {entry.size}; {_MEND}")
        if sha256_hex(content) != entry.sha256:
            raise PackageError(f"{file} does not match its SHA-256 in the manifest; {_MEND}")
        files[name] = content
    return folder, manifest, files


def _write(
    path: str | os.PathLike[str],
    fields: Mapping[str, Any],
    files: Mapping[str, bytes],
    parse: Callable[[bytes, str], _ManifestT],
    overwrite: bool,
) -> None:
    manifest = dict(fields)
    manifest["format"] = FORMAT
    manifest.setdefault("created", datetime.now(timezone.utc).isoformat(timespec="seconds"))
    manifest["files"] = {
        name: {"sha256": sha256_hex(content), "size": len(content)}
        for name, content in sorted(files.items())
    }
    try:
        manifest["digest"] = manifest_digest(manifest)
        data = canonical_json(manifest)
    except (TypeError, ValueError) as error:
        raise PackageError(f"the manifest cannot be written as JSON: {error}") from None
    parse(data, f"the new {MANIFEST}")
    with atomic_folder(path, overwrite=overwrite) as folder:
        for name, content in files.items():
            atomic_write(folder / check_file_name(name, "files"), content)
        atomic_write(folder / MANIFEST, data)
        _read(folder, parse, allow_hard_links=False)


def _list_folder(folder: Path) -> set[str]:
    """Return the names in a folder, all of them plain files."""
    try:
        with os.scandir(folder) as entries:
            found = {}
            for entry in entries:
                found[entry.name] = entry.stat(follow_symlinks=False)
                if len(found) > MAX_FILES + 1:
                    raise PackageError(f"{folder} holds more than {MAX_FILES} files; {_MEND}")
    except OSError as error:
        raise PackageError(
            f"{folder} cannot be read as a model package: {error.strerror or error}; name the "
            f"folder that holds {MANIFEST}"
        ) from None
    for name, status in found.items():
        if not stat.S_ISREG(status.st_mode):
            raise PackageError(
                f"{folder / name} is a {_file_kind(status.st_mode)}; a package holds plain files "
                f"only; {_MEND}"
            )
    return set(found)


def _read_file(file: Path, limit: int, allow_hard_links: bool) -> bytes:
    """Read a plain file of at most ``limit`` bytes through one descriptor.

    The checks are made on the open descriptor, so they hold for the very bytes that are read.
    """
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(file, flags)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            _check_status(file, status, limit, allow_hard_links)
            # One byte more than there should be: a file that grew since is seen too.
            data = stream.read(status.st_size + 1)
    except OSError as error:
        raise PackageError(f"{file} cannot be read: {error.strerror or error}; {_MEND}") from None
    if len(data) > limit:
        raise PackageError(f"{file} has more than {limit} bytes; {_MEND}")
    return data


def _check_status(file: Path, status: os.stat_result, limit: int, allow_hard_links: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PackageError(f"{file} is a {_file_kind(status.st_mode)}, not a plain file; {_MEND}")
    if status.st_nlink > 1 and not allow_hard_links:
        raise PackageError(
            f"{file} is a hard link: another name of the file exists elsewhere and can change it; "
            "copy the package (cp -r), or pass allow_hard_links where an installer made the links"
        )
    if status.st_size > min(limit, MAX_FILE_BYTES):
        raise PackageError(f"{file} has {status.st_size} bytes, not {limit} or less; {_MEND}")


def _file_kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "symbolic link"
    return "folder" if stat.S_ISDIR(mode) else "special file"


def _installed(folder: Path) -> bool:
    """Tell whether a folder lies inside the installed ``edgesafe`` package."""
    import edgesafe

    real = folder.resolve()
    return any(real.is_relative_to(Path(portion).resolve()) for portion in edgesafe.__path__)
