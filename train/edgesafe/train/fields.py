"""Reads configuration files, and plain tables into frozen dataclasses, strictly."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, cast

from edgesafe.runtime.errors import UsageError

T = TypeVar("T")


def require(condition: bool, key: str, rule: str) -> None:
    """Raises `UsageError` unless a value keeps its rule."""
    if not condition:
        raise UsageError(f"{key} {rule}.")


def read_file(path: Path | str) -> dict[str, Any]:
    """Reads the tables of a ``.toml`` or ``.json`` file.

    Raises:
        UsageError: The file is missing or is not of its format.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}).") from error
    try:
        if path.suffix.lower() == ".json":
            data = json.loads(raw)
        elif path.suffix.lower() == ".toml":
            data = _toml(raw.decode("utf-8"))
        else:
            raise UsageError(f"{path}: a configuration ends in .toml or .json.")
    except ValueError as error:  # TOMLDecodeError, JSONDecodeError and UnicodeDecodeError
        raise UsageError(f"{path} is not valid {path.suffix[1:].upper()}: {error}.") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}: the top level must be a table, not {type(data).__name__}.")
    return data


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def read_table(cls: type[T], data: Mapping[str, Any], at: str = "") -> T:
    """Fills a dataclass from a table.

    Args:
        cls: A dataclass whose fields are numbers, strings, booleans, tuples, mappings, optional
            values or further dataclasses.
        data: The table.
        at: Its dotted name, for messages.

    Raises:
        UsageError: A key is unknown or missing, or a value has the wrong type.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cast(Any, cls))}
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), 1, 0.5)
            hint = f'did you mean "{_join(at, near[0])}"?' if near else f"known: {', '.join(known)}"
            raise UsageError(f'unknown key "{_join(at, str(key))}", {hint}')
    for name, f in known.items():
        no_default = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if no_default and name not in data:
            raise UsageError(f'the key "{_join(at, name)}" is missing.')
    return cls(**{k: _read_value(hints[k], v, _join(at, k)) for k, v in data.items()})


def _read_value(hint: Any, value: Any, at: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        options = [a for a in typing.get_args(hint) if a is not type(None)]
        return None if value is None else _read_value(options[0], value, at)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(at, "a table", value)
        return read_table(cast(type[Any], hint), value, at)
    if origin is tuple:
        return _read_tuple(typing.get_args(hint), value, at)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(typing.get_args(hint)[1], value, at)
    if hint is Any:
        return value
    if hint is float and type(value) in (int, float):
        return float(value)
    # bool is an int to Python, but `epochs = true` is a slip.
    if type(value) is not hint:
        raise _wrong(
            at,
            {
                "int": "a whole number",
                "float": "a number",
                "str": "a string",
                "bool": "true or false",
            }[hint.__name__],
            value,
        )
    return value


def _read_tuple(items: tuple[Any, ...], value: Any, at: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(at, "a list", value)
    if items[-1] is Ellipsis:
        return tuple(_read_value(items[0], v, f"{at}[{i}]") for i, v in enumerate(value))
    if len(value) != len(items):
        raise _wrong(at, f"a list of {len(items)}", value)
    return tuple(
        _read_value(h, v, f"{at}[{i}]") for i, (h, v) in enumerate(zip(items, value, strict=True))
    )


def _read_mapping(hint: Any, value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(at, "a table", value)
    return {str(k): _read_value(hint, v, _join(at, str(k))) for k, v in value.items()}


def _wrong(at: str, wanted: str, value: Any) -> UsageError:
    return UsageError(f'"{at}" must be {wanted}, not {value!r}.')


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
