"""What the documents promise: commands, targets, names and links that exist."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgesafe.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("samples/**/*.md")])
SOURCES = sorted(
    path
    for folder in ("runtime", "calib", "train", "export", "samples", "tests", "docs", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".css", ".toml", ".yaml", ".yml", ".sh"} or path.name == "run"
)


def blocks(document: Path, *languages: str) -> Iterator[str]:
    text = document.read_text(encoding="utf-8")
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        if language in languages:
            yield body


def command_lines(document: Path) -> list[list[str]]:
    """Return every `edgesafe ...` and `make ...` line of the shell blocks, split into words."""
    found = []
    for body in blocks(document, "sh", "bash", "console"):
        for line in body.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] in ("edgesafe", "make"):
                found.append(words)
    return found


def test_the_readme_shows_commands() -> None:
    used = {words[1] for words in command_lines(ROOT / "README.md") if words[0] == "edgesafe"}
    assert {"demo", "moderate", "train", "export", "inspect", "bench"} <= used


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_and_option_in_the_documents_exists(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for words in command_lines(document):
        if words[0] == "make":
            names = [word for word in words[1:] if "=" not in word]
            assert set(names) <= set(targets), words
            continue
        command: click.Command = main
        rest = words[1:]
        context = click.Context(command)
        while rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
            found = command.get_command(context, rest[0])
            assert found is not None, f"{' '.join(words)}: there is no {rest[0]}"
            command, rest = found, rest[1:]
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        known |= {"--help", "-h"}
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= known, f"{' '.join(words)}: no option {used - known}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_in_the_documents_parses_and_imports_names_that_exist(document: Path) -> None:
    for body in blocks(document, "python", "py"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgesafe"):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_inside_the_project_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    for target in targets:
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_path_of_somebodys_machine_is_mentioned(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    found = re.findall(r"(?<![\w.:/])/(?:work|home|root|Users|opt|mnt|scratch)/[\w.-]+", text)
    assert found == []


def test_every_command_is_described_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"edgesafe {name}" in text, name
