"""The rules of the house that no linter checks, read off the files themselves."""

import ast
import re
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

from runtimes.errors import Code
from serving.errors import WIRE

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("serving", "runtimes", "protos", "benchmarks", "tests")
FILES: Final = tuple(
    path.relative_to(ROOT)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "generated" not in path.parts
)
SERVED: Final = ("serving", "runtimes")
PROSE: Final = tuple(
    path.relative_to(ROOT)
    for pattern in ("*.md", "Makefile", "*.toml", "*.txt", ".ci/*", "deploy/**/*", "docs/**/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
)
MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 60
MAX_NESTING: Final = 3
DRAWERS: Final = frozenset({"utils.py", "common.py", "misc.py", "base.py", "helpers.py"})
# Written in halves, so that this file does not contain what it looks for. The last one is how a
# trial is spoken of; without its article it is a shape of a load.
FORBIDDEN_WORDS: Final = re.compile(
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b|\bthe spi" r"ke\b", re.IGNORECASE
)
MACHINE_PATHS: Final = re.compile(r"/(?:wo" r"rk|tmp/d" r"ev|ro" r"ot|ho" r"me/\w+|Us" r"ers)/")
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS: Final = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.Match,
)
PURE: Final = re.compile(r"\bPure\b[.:]")
ACTING: Final = frozenset(
    {"asyncio", "logging", "os", "pathlib", "random"}
    | {"socket", "structlog", "subprocess", "threading", "time"}
)
every_file = pytest.mark.parametrize("path", FILES, ids=str)
every_test_file = pytest.mark.parametrize(
    "path", [path for path in FILES if path.name.startswith("test_")], ids=str
)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


def nesting(node: ast.AST) -> int:
    """How deep blocks stand in blocks below a node; an `elif` is no deeper than its `if`."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        step = isinstance(child, BLOCKS) and not is_elif
        deepest = max(deepest, step + nesting(child))
    return deepest


def parse(path: Path) -> ast.Module:
    """The syntax tree of one of our files."""
    return ast.parse((ROOT / path).read_text(), str(path))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a file imports; paths without a disk behind them are texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.names[0].name != "PurePosixPath":
            yield node.module or ""


def is_called_pure(path: Path) -> bool:
    """Whether a module's docstring says that it is pure."""
    return PURE.search(ast.get_docstring(parse(path)) or "") is not None


@every_file
def test_a_file_holds_one_idea(path: Path) -> None:
    """No file has more than 400 lines."""
    assert (ROOT / path).read_text().count("\n") <= MAX_FILE_LINES


@every_file
def test_a_function_fits_on_a_screen(path: Path) -> None:
    """No function has more than 60 lines, its docstring included."""
    long = {
        function.name: lines
        for function in functions(parse(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    }

    assert long == {}


@every_file
def test_blocks_stand_at_most_three_deep(path: Path) -> None:
    """No function nests more than three blocks."""
    deep = {f.name: nesting(f) for f in functions(parse(path)) if nesting(f) > MAX_NESTING}

    assert deep == {}


def test_no_file_is_a_drawer_for_leftovers() -> None:
    """A file is named for what it holds."""
    assert [path for path in FILES if path.name in DRAWERS] == []


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=str)
def test_every_name_has_one_address(path: Path) -> None:
    """An `__init__.py` holds at most a docstring."""
    tree = parse(path)

    assert len(tree.body) == (1 if ast.get_docstring(tree) else 0)


@pytest.mark.parametrize("path", [*FILES, *PROSE], ids=str)
def test_nothing_is_left_open(path: Path) -> None:
    """No file tells of work to come; that belongs in an issue."""
    assert FORBIDDEN_WORDS.findall((ROOT / path).read_text(errors="replace")) == []


@pytest.mark.parametrize("path", [*FILES, *PROSE], ids=str)
def test_no_path_of_one_machine(path: Path) -> None:
    """No file names a folder that only its author has."""
    assert MACHINE_PATHS.findall((ROOT / path).read_text(errors="replace")) == []


@every_test_file
def test_tests_wait_on_conditions(path: Path) -> None:
    """No test sleeps: it waits for what it needs, and no longer. `sleep(0)` only yields."""
    calls = (ast.unparse(node) for node in ast.walk(parse(path)) if isinstance(node, ast.Call))

    assert [c for c in calls if re.match(r"(time\.|asyncio\.)?sleep\((?!0\))", c)] == []


@every_test_file
def test_a_test_states_its_promise(path: Path) -> None:
    """Every test's docstring says what is promised."""
    tests = (f for f in functions(parse(path)) if f.name.startswith("test_"))

    assert [t.name for t in tests if not ast.get_docstring(t)] == []


def test_test_files_have_names_of_their_own() -> None:
    """No two test files share a name, so that a report's line names one file."""
    names = [path.name for path in FILES if path.name.startswith("test_")]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", [path for path in FILES if is_called_pure(path)], ids=str)
def test_what_is_called_pure_imports_nothing_that_acts(path: Path) -> None:
    """A module that calls itself pure has no clock, chance, log, thread, process or socket."""
    names = {name.partition(".")[0] for name in imported(parse(path))}

    assert names & ACTING == set()


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] in SERVED], ids=str)
def test_texts_are_utf8_whatever_the_locale(path: Path) -> None:
    """Who reads or writes a file's text names its encoding; the kernel's files have ASCII only."""
    calls = (node for node in ast.walk(parse(path)) if isinstance(node, ast.Call))
    silent = [
        ast.unparse(call)
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in {"read_text", "write_text"}
        and not ast.unparse(call.func.value).isupper()
        and "encoding" not in {keyword.arg for keyword in call.keywords}
    ]

    assert silent == []


def test_every_code_is_on_both_wires() -> None:
    """The table from code to HTTP and gRPC is complete and has nothing else."""
    assert set(WIRE) == set(Code)


@pytest.mark.parametrize("package", ["serving", "runtimes", "protos"])
def test_the_import_packages_are_ours(package: str) -> None:
    """No other installed distribution brings a package of the same name."""
    assert set(packages_distributions()[package]) == {"bascule"}
