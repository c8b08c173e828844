from __future__ import annotations

from pathlib import Path

import pytest

from edgesafe.calib.next_release import check_out
from edgesafe.runtime.errors import UsageError


@pytest.mark.parametrize("manifest", [None, "", "[]", '{"name": "a web site"}', '{"format": 1}'])
def test_only_a_package_is_overwritten(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(UsageError, match="pass --overwrite"):
        check_out(tmp_path, overwrite=False)
    with pytest.raises(UsageError, match="only a package is overwritten"):
        check_out(tmp_path, overwrite=True)


def test_a_package_need_not_be_sound_to_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "edgesafe.package/9"}')
    check_out(tmp_path, overwrite=True)
    check_out(tmp_path / "new", overwrite=False)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]
