"""The README, run as it is written, against an instance of its own; the guide goes on with it."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from benchmarks.instance import Instance, running_instance
from tests.fakes.shown_commands import Shown, shown_commands

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
GUIDE: Final = (ROOT / "GUIDE.md").read_text()
QUICK_START: Final = README.partition("## Quick start")[2].partition("\n## ")[0]
AFTERWARDS: Final = README[README.index("## Your own model") :]
MODELS, COMMANDS, BUNDLES = re.findall(r"```bash\n(.*?)```", QUICK_START, re.DOTALL)
(PROGRAM,) = re.findall(r"```python\n(.*?)```", QUICK_START, re.DOTALL)

OF_THE_GUIDE: Final = (
    "bascule rollout plan tiny",
    "curl -s localhost:8000/v2/models/t",
    "bascule reproduce",
    "bascule log export",
    "bascule metrics",
    "bascule monitor selftest",
    "bascule keys",
    "bascule verify tiny",
    "bascule export tiny",
    "bascule events list",
)
"""Its commands that go on from the README; the others need what is the reader's own."""
AFTER_DAMAGE: Final = "# after a byte of a weight was changed"
UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNERRING: Final = "--guard alpha=1e-6 --guard latency_ratio=off --guard memory_growth_share=off"
"""As it stands, a rollout takes a sound candidate back once in a hundred times."""
LIMIT_S: Final = 600.0
"""A command that hangs fails its test, in place of the whole run."""
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """The instance that the quick start makes, on free ports; its predictions are logged."""
    folder = tmp_path_factory.mktemp("quick-start")
    (line,) = (text for text in MODELS.splitlines() if "benchmarks.models" in text)
    words = shlex.split(line, comments=True)
    in_folder = [str(folder / word) if word == "models" else word for word in words[1:]]
    subprocess.run([sys.executable, *in_folder], check=True, cwd=ROOT)
    with running_instance(folder / "models", prediction_log=str(folder / "log")) as running:
        yield running


class Terminal:
    """A reader's terminal: a folder with the quick start's models, where commands are typed."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        """Put the models, and what else of the checkout is named, into the folder."""
        self._instance = instance
        self._folder = folder
        self._ids: dict[str, str] = {}
        path = f"{Path(sys.executable).parent}:{instance.environment['PATH']}"
        self._environment = {**instance.environment, "PATH": path, "PYTHONPATH": str(ROOT)}
        (folder / "models").symlink_to(instance.environment["BASCULE_MODEL_REPOSITORY"])
        (folder / "deploy").symlink_to(ROOT / "deploy")

    def run(self, commands: str) -> tuple[int, str, str]:
        """Run commands until one fails; return exit status, output and errors."""
        done = subprocess.run(
            self._words(commands),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def look(self, commands: Sequence[Shown], *, is_compared: bool = True) -> list[str]:
        """Run what is shown, one after the other; return what was otherwise than shown."""
        return [word for shown in commands for word in self._look(shown, is_compared=is_compared)]

    def _look(self, shown: Shown, *, is_compared: bool) -> Iterator[str]:
        status, printed, errors = self.run(shown.text)
        ids = UUID.findall("\n".join(shown.lines))
        self._ids |= dict(zip(ids, UUID.findall(printed), strict=False))
        if status != shown.status:
            yield f"{shown.text}: exit status {status}, not {shown.status}: {printed}{errors}"
        elif is_compared:
            for line in shown.missing_from(printed + errors):
                yield f"{shown.text}: '{line}' is not in {printed}{errors}"

    @contextmanager
    def beside(self, commands: str) -> Iterator[None]:
        """Run commands in another terminal until the block ends."""
        with subprocess.Popen(
            self._words(f"exec {commands}"),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                yield
            finally:
                process.terminate()

    def _words(self, commands: str) -> list[str]:
        """Have bash run commands on this instance: its addresses, its home, ids that it gave."""
        text = re.sub(r"(127\.0\.0\.1|localhost):8000", self._instance.http, commands)
        text = text.replace("~/.bascule", str(self._instance.home))
        text = UUID.sub(lambda found: self._ids.get(found[0], found[0]), text)
        return ["bash", "-euo", "pipefail", "-c", text]


@pytest.fixture
def terminal(instance: Instance, tmp_path: Path) -> Terminal:
    """A terminal in a folder of its own."""
    return Terminal(instance, tmp_path)


def shown_in(text: str, starts: tuple[str, ...] = ("",)) -> list[Shown]:
    """The commands of a document that start like one of these, on files that nobody has damaged."""
    return [
        shown
        for shown in shown_commands(text)
        if shown.text.startswith(starts) and AFTER_DAMAGE not in shown.text
    ]


def index_of(start: str, commands: list[Shown]) -> int:
    """Where the first command that starts like this stands."""
    return next(n for n, shown in enumerate(commands) if shown.text.startswith(start))


def test_the_commands_work_in_their_order(terminal: Terminal) -> None:
    """Every command of the second terminal succeeds, one after the other."""
    status, _, errors = terminal.run(COMMANDS)

    assert (status, errors) == (0, "")


def test_the_program_works(instance: Instance) -> None:
    """The client program prints what `tiny` answers to ones."""
    program = PROGRAM.replace("127.0.0.1:8000", instance.http)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[[-0.5   0.5   1.5   0.75]]"


@needs_curl
def test_all_that_the_readme_shows_is_so(terminal: Terminal) -> None:
    """After the quick start each command ends as it says, and prints what is shown.

    Numbers, digests and ids may differ, and what was cut. The guide's commands go on from there.
    """
    commands = [one for one in shown_in(AFTERWARDS) if not one.text.startswith("export ")]
    load, back = (index_of(f"bascule {start} tiny", commands) for start in ("loadtest", "rollback"))
    of_the_guide = shown_in(GUIDE, OF_THE_GUIDE)
    missing = [start for start in OF_THE_GUIDE if not shown_in(GUIDE, (start,))]

    canary = index_of("bascule rollout start tiny", commands)
    commands[canary] = replace(commands[canary], text=f"{commands[canary].text} {UNERRING}")
    made = terminal.run(BUNDLES)
    differing = terminal.look(commands[:load])
    # Calls come until the rollout has ended, on a slow machine, too.
    with terminal.beside(commands[load].text.replace("--duration 60s", "--duration 1h")):
        differing += terminal.look(commands[load + 1 : back + 1])
    differing += terminal.look(commands[back + 1 :])
    differing += terminal.look(of_the_guide, is_compared=False)

    assert (made[0], made[2]) == (0, "")
    assert (differing, missing) == ([], [])
