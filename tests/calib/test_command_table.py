"""Sub-commands are named in a table and imported when they are run."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from edgesafe.calib.calibrate_cmd import COMMANDS, calibrate

_HELP = """
import sys
from click.testing import CliRunner
from edgesafe.calib.calibrate_cmd import calibrate
assert CliRunner().invoke(calibrate, ["--help"]).exit_code == 0
print([name for name in ("numpy", "PIL", "cv2", "onnxruntime") if name in sys.modules])
"""


def test_every_command_of_the_table_can_be_imported_and_has_its_name() -> None:
    text = CliRunner().invoke(calibrate, ["--help"]).output
    for name, (_, help_) in COMMANDS.items():
        ran = CliRunner().invoke(calibrate, [name, "--help"])
        assert ran.exit_code == 0 and f"calibrate {name}" in ran.output
        assert name in text and help_.split(",")[0] in " ".join(text.split())
    assert CliRunner().invoke(calibrate, ["nothing"]).exit_code == 2


def test_the_list_of_commands_loads_nothing_heavy() -> None:
    ran = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
