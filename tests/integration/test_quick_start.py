"""The README's quick start, run as it is written, against an instance of its own."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from benchmarks.instance import Instance, running_instance

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
QUICK_START: Final = README.partition("## Quick start")[2].partition("\n## ")[0]
MODELS, COMMANDS, BUNDLES = re.findall(r"```bash\n(.*?)```", QUICK_START, re.DOTALL)
(PROGRAM,) = re.findall(r"```python\n(.*?)```", QUICK_START, re.DOTALL)

SHOWN: Final = (
    "$ bascule preflight more/",
    "$ bascule preflight tiny-7",
    "$ bascule predict times",
    "$ bascule promote times --to 2",
    "$ bascule diff tiny:7 tiny:8",
    "$ bascule pack models/tiny/1/model.onnx --name tiny --version 9",
    "$ bascule reproduce tiny-9",
    "$ bascule push tiny-9",
)
FINDS: Final = "|| [ $? = 2 ]"
"""What follows a command that is to end with exit status 2."""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """The instance that the quick start makes, on free ports."""
    folder = tmp_path_factory.mktemp("quick-start")
    (line,) = (text for text in MODELS.splitlines() if "benchmarks.models" in text)
    words = shlex.split(line, comments=True)
    in_folder = [str(folder / word) if word == "models" else word for word in words[1:]]
    subprocess.run([sys.executable, *in_folder], check=True, cwd=ROOT)
    with running_instance(folder / "models") as running:
        yield running


def in_bash(commands: str, instance: Instance, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands in a folder with the quick start's models, until one fails."""
    (folder / "models").symlink_to(instance.environment["BASCULE_MODEL_REPOSITORY"])
    path = f"{Path(sys.executable).parent}:{instance.environment['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**instance.environment, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_work_in_their_order(instance: Instance, tmp_path: Path) -> None:
    """Every command of the second terminal succeeds, one after the other."""
    done = in_bash(COMMANDS, instance, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_works(instance: Instance) -> None:
    """The client program prints what `tiny` answers to ones."""
    program = PROGRAM.replace("127.0.0.1:8000", instance.http)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[[-0.5   0.5   1.5   0.75]]"


def test_later_sections_go_on_from_there(instance: Instance, tmp_path: Path) -> None:
    """What they use is made and served; preflight finds what it shows, and the rest succeeds."""
    lines = [line for line in README.splitlines() if line.startswith(SHOWN)]
    commands = [f"{line[2:]} {FINDS if 'preflight' in line else ''}" for line in lines]

    done = in_bash("\n".join([BUNDLES, *commands]), instance, tmp_path)

    assert len(lines) >= len(SHOWN)
    assert (done.returncode, done.stderr) == (0, "")
