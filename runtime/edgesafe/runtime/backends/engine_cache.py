"""Built TensorRT engines on disk, believed only with the mark of this device.

A serialised engine is executable code: whoever can write one can run anything when it is
deserialised. So an engine never travels; it is built here, kept in an owner-only folder, and before
it is deserialised its HMAC-SHA256 under a key that never leaves the device must be right. Two files
each: ``NAME.plan``, the engine as TensorRT made it, and ``NAME.json``, what it was made of, its
SHA-256, and the HMAC over both.

Whatever is missing, damaged, foreign or of another version is built again.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgesafe.runtime.files import canonical_json, sha256_hex
from edgesafe.runtime.owner_cache import OwnerCache

__all__ = ["EngineCache", "EngineKey"]

_log = logging.getLogger("edgesafe.tensorrt")

_KEY_FILE = "device.key"
_KEY_BYTES = 32
_LARGEST_PLAN = 8 << 30
_LARGEST_RECORD = 1 << 16
_PURPOSE = b"edgesafe engine 1\0"


@dataclass(frozen=True)
class EngineKey:
    """What an engine is made of; another value of any of these is another engine.

    Attributes:
        onnx: SHA-256 of the model.
        tensorrt: Version.
        gpu: Name of the GPU.
        compute: Its compute capability.
        flags: How it was built.
    """

    onnx: str
    tensorrt: str
    gpu: str
    compute: str
    flags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its files; what is built of one model starts alike."""
        return f"{self.onnx[:16]}-{sha256_hex(canonical_json(asdict(self)))[:32]}"

    def __str__(self) -> str:
        """For messages."""
        return f"TensorRT {self.tensorrt} on {self.gpu} (compute {self.compute})"


class EngineCache:
    """The engines of one user on one device."""

    def __init__(self, folder: OwnerCache) -> None:
        """Use a folder of the owner's cache."""
        self._folder = folder

    def get(
        self, key: EngineKey, build: Callable[[], bytes], *, anew: bool = False
    ) -> tuple[bytes, bool]:
        """Return an engine, built where there is none that can be believed.

        Args:
            key: Which.
            build: Builds it; may take minutes.
            anew: Build it even so.

        Returns:
            The serialised engine, and whether it was built just now.
        """
        with self._folder.lock():  # so that two processes do not build the same
            secret = self._secret()
            known = None if anew else self._read(key, secret)
            if known is not None:
                return known, False
            plan = build()
            record = {**asdict(key), "plan": sha256_hex(plan)}
            record["hmac"] = _mark(secret, record)
            try:
                # In this order: after a crash in between the mark does not fit, and it is rebuilt.
                self._folder.write(f"{key.name}.plan", plan)
                self._folder.write(f"{key.name}.json", canonical_json(record))
            except OSError as error:
                _log.warning("the engine cannot be kept: %s", error)
            return plan, True

    def _read(self, key: EngineKey, secret: bytes) -> bytes | None:
        data = self._folder.read(f"{key.name}.json", _LARGEST_RECORD)
        if data is None:
            self._explain(key, secret)
            return None
        record = _parse(data)
        if record is None or not _authentic(secret, record):
            _log.warning("the cached engine %s is not from this device: building again", key.name)
            return None
        plan = self._folder.read(f"{key.name}.plan", _LARGEST_PLAN)
        wanted = {**asdict(key), "plan": sha256_hex(plan or b"")}
        if plan is None or {k: v for k, v in record.items() if k != "hmac"} != wanted:
            _log.warning("the cached engine %s is damaged: building again", key.name)
            return None
        return plan

    def _explain(self, key: EngineKey, secret: bytes) -> None:
        """Name both versions where an engine of the same model is there; drop outdated ones."""
        for name in self._folder.names():
            if not (name.startswith(key.onnx[:16]) and name.endswith(".json")):
                continue
            record = _parse(self._folder.read(name, _LARGEST_RECORD) or b"")
            if record is None or not _authentic(secret, record) or record["onnx"] != key.onnx:
                continue
            fields = {k: v for k, v in record.items() if k in EngineKey.__dataclass_fields__}
            other = EngineKey(**fields)
            reason = "other flags" if str(other) == str(key) else str(key)
            _log.warning("a cached engine is of %s, this is %s: building anew", other, reason)
            if (other.gpu, other.compute) == (key.gpu, key.compute):
                if other.tensorrt != key.tensorrt:
                    self._folder.remove(name.removesuffix(".json") + ".plan")
                    self._folder.remove(name)

    def _secret(self) -> bytes:
        known = self._folder.read(_KEY_FILE, _KEY_BYTES)
        if known is not None and len(known) == _KEY_BYTES:
            return known
        secret = secrets.token_bytes(_KEY_BYTES)
        self._folder.write(_KEY_FILE, secret)
        return secret


def _mark(secret: bytes, record: Mapping[str, Any]) -> str:
    content = canonical_json({k: v for k, v in record.items() if k != "hmac"})
    return hmac.new(secret, _PURPOSE + content, "sha256").hexdigest()


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _authentic(secret: bytes, record: Mapping[str, Any]) -> bool:
    found = record.get("hmac")
    try:
        return isinstance(found, str) and hmac.compare_digest(found, _mark(secret, record))
    except (TypeError, ValueError):  # a value that has no canonical form
        return False
