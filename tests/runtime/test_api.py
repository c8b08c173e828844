from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import edgesafe.runtime as runtime
from edgesafe.runtime import errors, version


def test_every_public_name_is_there() -> None:
    for name in runtime.__all__:
        assert getattr(runtime, name) is not None
    assert set(runtime.__all__) <= set(dir(runtime))
    assert runtime.__all__ == sorted(runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        runtime.nothing  # noqa: B018


def test_the_error_tree_is_what_its_docstring_draws() -> None:
    assert set(errors.__all__) < set(runtime.__all__) | {"EdgesafeError"}
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.EdgesafeError)
        assert error.exit_status == (2 if name == "UsageError" else 3)
        assert name in (errors.__doc__ or "")


def test_a_missing_extra_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.MissingExtraError("cv2", "cpu")))
    assert (error.module, error.extra) == ("cv2", "cpu")
    assert str(error) == "cv2 is not installed: pip install 'edgesafe[cpu]'"


def test_the_distribution_takes_its_version_from_here() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'path = "runtime/edgesafe/runtime/version.py"' in text
    assert version.parse_version(version.VERSION) > (0, 0, 0, 0)


def test_versions_compare_by_number() -> None:
    assert version.parse_version("0.10") > version.parse_version("0.9.9")
    assert version.parse_version("1") == version.parse_version("1.0.0.0")
    for wrong in ("", "1.x", "1.2.3.4.5", "-1", "٣"):
        with pytest.raises(ValueError, match="not a version"):
            version.parse_version(wrong)
