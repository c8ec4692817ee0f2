"""What the documents say is so: settings, commands and flags, files."""

import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

from benchmarks.bundle_schema import CONTRACT_SCHEMA, SCHEMA, contract_schema_text, schema_text
from benchmarks.comparison_table import REPORT, comparison, with_comparison
from benchmarks.monitoring_files import made_files
from benchmarks.settings_table import table, with_table
from serving.cli.drift_live import ShownByDefault
from serving.cli.main import WORDS, build_app
from serving.registry.bundles.manifest import Manifest
from serving.registry.model_config.ignored import ACTING_FIELDS, ACTING_PARAMETERS
from serving.registry.model_config.refusals import UNSERVED_FIELDS, UNSERVED_TENSOR_FIELDS
from tests.fakes.shown_commands import shown_commands

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = {path.name: path.read_text() for path in sorted(ROOT.glob("*.md"))}
BLOCK: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
MAX_PAGE_LINES: Final = 200
TYPED: Final = {
    line.strip()
    for text in TEXT.values()
    for shown in shown_commands(text)
    for line in shown.text.splitlines()
    if line.startswith("bascule ")
}
TOLD: Final = {
    " ".join(code.split()).replace("\\|", "|")
    for name, text in TEXT.items()
    for code in re.findall(r"`(bascule [^`]+)`", BLOCK.sub("", text))
    if name != "CHANGELOG.md"  # it tells of what is no more, too
}
COMMANDS: Final = sorted(TYPED | TOLD)
UNSERVED: Final = {**UNSERVED_FIELDS, **UNSERVED_TENSOR_FIELDS}
LINKS: Final = sorted(
    {
        (name, target)
        for name, text in TEXT.items()
        for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text))
        if "://" not in target
    }
)
TARGETS: Final = sorted(
    set(re.findall(r"(?:`|^)make ([a-z-]+)", "\n".join(TEXT.values()), re.MULTILINE))
)
FILE: Final = r"`((?:serving|runtimes|protos|benchmarks|tests|deploy|\.ci)/[\w./-]+)`"
FILES: Final = sorted(set(re.findall(FILE, "".join(TEXT.values()))))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives a document's headings."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def test_the_table_of_settings_is_current() -> None:
    """CONFIG.md's table is the one that the settings give: run `make docs`."""
    assert TEXT["CONFIG.md"] == with_table(TEXT["CONFIG.md"])
    assert table() in TEXT["CONFIG.md"]


def test_the_comparison_is_the_last_one() -> None:
    """The README's table beside other servers is that of the report: run `make docs`."""
    assert TEXT["README.md"] == with_comparison(TEXT["README.md"])
    assert comparison(REPORT.read_text()) in TEXT["README.md"]
    assert comparison("# Page\n\n* CPU\n\n## A\n\n|t|\n\n## B\n|u|\n") == "* CPU\n\n|t|\n"


def test_the_house_is_shown_on_one_page() -> None:
    """ARCHITECTURE.md has at most 200 lines: what is more belongs beside the code."""
    assert TEXT["ARCHITECTURE.md"].count("\n") <= MAX_PAGE_LINES


@pytest.mark.parametrize("name", sorted({*ACTING_FIELDS, *ACTING_PARAMETERS, *UNSERVED}))
def test_every_field_of_a_configuration_is_explained(name: str) -> None:
    """CONFIG.md names each field and parameter of `config.pbtxt` that acts, or is refused."""
    assert f"`{name}`" in TEXT["CONFIG.md"]


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
    """Every flag in a `bascule` line, and in a sentence, is one of that command."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(build_app(words[:1]))
    while words and words[0] in getattr(command, "commands", ()):
        command = command.commands[words.pop(0)]
    if isinstance(command, ShownByDefault):
        command = command.commands["show"]

    known = {flag for parameter in command.params for flag in parameter.opts}

    assert not hasattr(command, "commands") or not words or re.search("[|…]", words[0])
    assert [text for text in words if re.match("--?[a-z]", text) and text not in known] == []


def test_every_command_is_in_the_overview() -> None:
    """The guide tells of each command."""
    assert [word for word in WORDS if f"`bascule {word}" not in TEXT["GUIDE.md"]] == []


@pytest.mark.parametrize(("name", "target"), LINKS)
def test_links_lead_somewhere(name: str, target: str) -> None:
    """A link of a document leads to a file that is there, and to one of its headings."""
    file, _, anchor = target.partition("#")
    path = ROOT / (file or name)

    assert path.exists()
    assert not anchor or anchor in anchors(path.read_text())


def test_headings_have_the_anchors_of_github() -> None:
    """An anchor is the heading in small letters: blanks are hyphens, marks are gone."""
    text = "# A `b.c`: d-e\n```\n# f\n```\n## [G](h) i\n## A b.c d-e\n## Same\n## Same\n"

    assert anchors(text) == {"a-bc-d-e", "g-i", "a-bc-d-e-1", "same", "same-1"}


@pytest.mark.parametrize("target", TARGETS)
def test_make_has_the_targets_that_are_shown(target: str) -> None:
    """Every `make …` in the documents is a target."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", FILES)
def test_files_that_are_named_exist(path: str) -> None:
    """A file that a document points to is there."""
    assert (ROOT / path).exists()
