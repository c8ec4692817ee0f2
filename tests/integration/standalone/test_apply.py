"""`bascule apply` on a real instance: a file of models, carried out once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.standalone_server import LIMIT_S, put_model, serving


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


def apply(home: Path, file: Path, *options: str, status: int = 0) -> str:
    """Run `bascule apply` on the instance of a home."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("bascule")), "apply", "-f", str(file), *options],
        env=os.environ | {"BASCULE_HOME": str(home)},  # noqa: TID251  a test's own process
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def test_a_file_is_carried_out_once(home: Path, tmp_path: Path) -> None:
    """A dry run changes nothing, a run moves traffic, the next has nothing to do."""
    repository = tmp_path / "r"
    put_model(repository, "a", 1)
    put_model(repository, "a", 2)
    file = tmp_path / "models.yaml"
    file.write_text("models: {a: {version: 1, bake: 0s, reason: release}}")
    with serving(home, "--model-repository", str(repository)) as server:
        assert server.answer("a")[1] == "2"
        assert "a: live 2 → 1, blue-green" in apply(home, file, "--diff")
        assert server.answer("a")[1] == "2"

        told = json.loads(apply(home, file, "--wait", "--json"))
        assert [(one["state"], one["reason"]) for one in told["rollouts"]] == [
            ("COMPLETE", "release")
        ]
        assert server.answer("a")[1] == "1"
        assert "nothing to do" in apply(home, file)

        file.write_text("models: {a: {version: 9}}")
        assert "a:9 is not there: it has 1, 2" in apply(home, file, status=1)

        file.write_text("models: {a: {version: 2, strategy: ab, steps: [50%]}}")
        assert "of a is CANARY" in apply(home, file, "--wait", status=1)


def test_what_is_refused_for_one_model_keeps_nobody_from_the_others(
    home: Path, tmp_path: Path
) -> None:
    """The refusal is told beside what was done, and the exit status says that it was not all."""
    repository = tmp_path / "r"
    for model in ("a", "b"):
        put_model(repository, model, 1)
        put_model(repository, model, 2)
    file = tmp_path / "models.yaml"
    canary = "{version: 1, strategy: canary, steps: [50%], sticky_by: x-nobody}"
    file.write_text(f"models: {{a: {canary}, b: {{version: 1, bake: 0s}}}}")
    with serving(home, "--model-repository", str(repository)) as server:
        told = apply(home, file, "--wait", status=1)
        assert "a: live 2 → 1, canary 50%: not done: sticky_by: edges look at" in told
        assert "of b is COMPLETE" in told
        assert (server.answer("a")[1], server.answer("b")[1]) == ("2", "1")
