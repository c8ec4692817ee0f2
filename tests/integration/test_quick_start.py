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

README: Final = (Path(__file__).parents[2] / "README.md").read_text()
QUICK_START: Final = README.partition("## Quick start")[2].partition("\n## ")[0]
MODELS, COMMANDS = re.findall(r"```bash\n(.*?)```", QUICK_START, re.DOTALL)
(PROGRAM,) = re.findall(r"```python\n(.*?)```", QUICK_START, re.DOTALL)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """The instance that the quick start makes, on free ports."""
    folder = tmp_path_factory.mktemp("quick-start")
    (line,) = (text for text in MODELS.splitlines() if "benchmarks.models" in text)
    words = shlex.split(line, comments=True)
    root = Path(__file__).parents[2]
    in_folder = [str(folder / word) if word == "models" else word for word in words[1:]]
    subprocess.run([sys.executable, *in_folder], check=True, cwd=root)
    with running_instance(folder / "models") as running:
        yield running


def test_the_commands_work_in_their_order(instance: Instance, tmp_path: Path) -> None:
    """Every command of the second terminal succeeds, one after the other."""
    repository = instance.environment["BASCULE_MODEL_REPOSITORY"]
    (tmp_path / "models").symlink_to(repository)
    path = f"{Path(sys.executable).parent}:{instance.environment['PATH']}"

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", COMMANDS],
        cwd=tmp_path,
        env={**instance.environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_works(instance: Instance) -> None:
    """The client program prints what `tiny` answers to ones."""
    program = PROGRAM.replace("127.0.0.1:8000", instance.http)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[[-0.5   0.5   1.5   0.75]]"
