"""The command table and how the command ends."""

from __future__ import annotations

import importlib
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edgesafe import cli
from edgesafe.runtime.errors import PackageError, UsageError

Runner = Callable[..., Result]


@pytest.fixture
def run_body(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], Result]]:
    """Put one command into the table and run it."""

    def run(body: Callable[[], object], *args: str) -> Result:
        module = type(sys)("edgesafe_test_command")
        module.command = click.command("probe")(body)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "edgesafe_test_command", module)
        table = {"probe": cli.Entry("edgesafe_test_command:command", "gpu", "A test.")}
        monkeypatch.setattr(cli, "COMMANDS", table)
        return CliRunner().invoke(cli.main, ["probe", *args])

    yield run


def raising(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_entry_of_the_table_is_a_command(name: str) -> None:
    module, _, attribute = cli.COMMANDS[name].target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"{name} [OPTIONS]" in result.output


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_extra_of_the_table_is_in_pyproject(name: str) -> None:
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
    extras = text.partition("[project.optional-dependencies]")[2].partition("[project.scripts]")[0]
    assert f"\n{cli.COMMANDS[name].extra} = [" in extras


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    for name, entry in cli.COMMANDS.items():
        assert name in result.output
        assert entry.help.split(maxsplit=1)[0] in result.output


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from edgesafe.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'numpy', 'PIL', 'cv2', 'onnxruntime', 'tokenizers', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    times = []
    for _ in range(5):
        # Processor time, so that other work on the machine does not count.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stderr
        assert "Commands:" in done.stdout
    assert min(times) < 0.3


def test_version_is_printed() -> None:
    result = CliRunner().invoke(cli.main, ["--version"])
    assert result.exit_code == 0
    assert "version" in result.output


def test_an_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(cli.main, ["nosuch"])
    assert result.exit_code == 2
    assert "nosuch" in result.stderr


def test_a_missing_module_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"probe": cli.Entry("edgesafe_needs_this:command", "trt", "A test.")}
    monkeypatch.setattr(cli, "COMMANDS", table)
    result = CliRunner().invoke(cli.main, ["probe"])
    assert result.exit_code == 3
    assert "pip install 'edgesafe[trt]'" in result.stderr
    assert "edgesafe_needs_this" in result.stderr


def test_a_module_missing_while_the_command_runs_names_the_extra(run_body: Runner) -> None:
    result = run_body(raising(ModuleNotFoundError("No module", name="absent.part")))
    assert result.exit_code == 3
    assert "absent is not installed: pip install 'edgesafe[gpu]'" in result.stderr


def test_a_missing_part_of_edgesafe_is_a_bug(run_body: Runner) -> None:
    result = run_body(raising(ModuleNotFoundError("No module", name="edgesafe.runtime.gone")))
    assert result.exit_code == 3
    assert "this is a bug" in result.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PackageError("model.onnx is damaged"), 3),
        (UsageError("choose one"), 2),
        (click.ClickException("no"), 3),
        (click.UsageError("no"), 2),
        (PermissionError(13, "Permission denied", "report.html"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_endings_have_a_status_and_no_traceback(
    run_body: Runner, error: BaseException, status: int
) -> None:
    result = run_body(raising(error))
    assert result.exit_code == status
    assert result.stderr.strip()
    assert "Traceback" not in result.output
    assert "bug" not in result.stderr


def test_an_unexpected_error_says_it_is_a_bug(
    run_body: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGESAFE_DEBUG", raising=False)
    result = run_body(raising(ZeroDivisionError("oops")))
    assert result.exit_code == 3
    assert "bug in edgesafe: ZeroDivisionError: oops" in result.stderr
    assert "EDGESAFE_DEBUG=1" in result.stderr
    assert "Traceback" not in result.output
    monkeypatch.setenv("EDGESAFE_DEBUG", "1")
    result = run_body(raising(ZeroDivisionError("oops")))
    assert result.exit_code == 3
    assert "Traceback" in result.stderr


def test_terminal_escapes_in_a_message_are_shown_not_obeyed(run_body: Runner) -> None:
    result = run_body(raising(PackageError("bad name \x1b]0;owned\x07")))
    assert "\x1b" not in result.stderr
    assert "\\x1b]0;owned\\x07" in result.stderr


def test_a_return_value_is_not_the_exit_status(run_body: Runner) -> None:
    assert run_body(lambda: 5).exit_code == 0


def test_ctx_exit_is_the_exit_status(run_body: Runner) -> None:
    assert run_body(lambda: click.get_current_context().exit(1)).exit_code == 1


def test_programs_started_by_their_module_end_like_the_command() -> None:
    root = Path(__file__).parents[1]
    # The command itself, and a worker that answers in JSON.
    own = {"runtime/edgesafe/cli.py", "export/edgesafe/export/trt/rtx_worker.py"}
    endings = {}
    for part in ("runtime", "calib", "export", "train", "samples"):
        for path in (root / part / "edgesafe").rglob("*.py"):
            found = re.findall(
                r'^if __name__ == "__main__":\n((?: .*\n)+)\Z', path.read_text(), re.M
            )
            if found:
                endings[path.relative_to(root).as_posix()] = found[0].strip()
    assert own < set(endings) and len(endings) > 15
    bad = {p: e for p, e in endings.items() if not re.fullmatch(r"(run|run_command)\(\w+\)", e)}
    assert set(bad) == own


def test_a_closed_pipe_ends_quietly() -> None:
    code = (
        "import sys, click\n"
        "from edgesafe import cli\n"
        "@click.command()\n"
        "def command():\n"
        "    for _ in range(100_000): click.echo('x' * 80)\n"
        "sys.modules['probe_module'] = type(sys)('probe_module')\n"
        "sys.modules['probe_module'].command = command\n"
        "cli.COMMANDS['probe'] = cli.Entry('probe_module:command', 'cpu', '')\n"
        "cli.main(['probe'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    message = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 141
    assert message == b""
