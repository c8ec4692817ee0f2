"""What the documents say is so: settings, commands and flags, files."""

import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

from benchmarks.bundle_schema import CONTRACT_SCHEMA, SCHEMA, contract_schema_text, schema_text
from benchmarks.monitoring_files import made_files
from benchmarks.settings_table import with_table
from serving.cli.main import WORDS, build_app
from serving.registry.bundles.manifest import Manifest

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "BUNDLE.md",
    "CHANGELOG.md",
)
TEXT: Final = {name: (ROOT / name).read_text() for name in DOCUMENTS}
BLOCKS: Final = "".join(re.findall(r"```bash\n(.*?)```", TEXT["README.md"], re.DOTALL))
COMMANDS: Final = tuple(
    line.partition("#")[0].strip() for line in BLOCKS.splitlines() if line.startswith("bascule ")
)
TARGETS: Final = sorted(
    set(re.findall(r"(?:`|^)make ([a-z-]+)", "\n".join(TEXT.values()), re.MULTILINE))
)
FILE: Final = r"`((?:serving|runtimes|protos|benchmarks|tests|deploy|\.ci)/[\w./-]+)`"
FILES: Final = sorted(set(re.findall(FILE, "".join(TEXT.values()))))


def test_the_table_of_settings_is_current() -> None:
    """The README's table is the one that the settings give: run `make docs`."""
    assert TEXT["README.md"] == with_table(TEXT["README.md"])


def test_the_schema_of_bundles_is_current() -> None:
    """The JSON schemas are those that the code gives: run `make docs`."""
    assert SCHEMA.read_text() == schema_text()
    assert CONTRACT_SCHEMA.read_text() == contract_schema_text()


@pytest.mark.parametrize("path", sorted(made_files()), ids=lambda path: path.name)
def test_what_is_made_of_the_metrics_is_current(path: Path) -> None:
    """The files are those that the catalogue gives: run `make docs`."""
    assert path.read_text() == made_files()[path]


@pytest.mark.parametrize(
    "field", [name for name in Manifest.model_fields if name != "format_version"]
)
def test_every_field_of_a_manifest_is_explained(field: str) -> None:
    """BUNDLE.md names each field of the manifest."""
    assert f"`{field}`" in TEXT["BUNDLE.md"]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_have_the_flags_that_are_shown(line: str) -> None:
    """Every flag in a `bascule` line of the README is one of that command."""
    _, word, *arguments = shlex.split(line)
    group: Any = typer.main.get_command(build_app([word]))

    known = {flag for parameter in group.commands[word].params for flag in parameter.opts}

    assert [text for text in arguments if text.startswith("-") and text not in known] == []


def test_every_command_is_in_the_overview() -> None:
    """The README tells of each command."""
    assert [word for word in WORDS if f"`bascule {word}" not in TEXT["README.md"]] == []


@pytest.mark.parametrize("target", TARGETS)
def test_make_has_the_targets_that_are_shown(target: str) -> None:
    """Every `make …` in the documents is a target."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", FILES)
def test_files_that_are_named_exist(path: str) -> None:
    """A file that a document points to is there."""
    assert (ROOT / path).exists()
