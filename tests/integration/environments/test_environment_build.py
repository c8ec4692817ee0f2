"""Environments are built from a lock by pip: whole or not at all, once, with ours behind them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtimes.errors import ModelLoadError
from serving.environments.build import build_environment
from serving.environments.record import MARK_FILE, Environment
from serving.environments.store import Environments
from serving.registry.bundles.pins import parse_pins
from tests.fakes.wheels import use_only, write_wheel


@pytest.fixture(name="wheels", autouse=True)
def only_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, which is all that pip can reach."""
    folder = tmp_path / "wheels"
    use_only(folder, monkeypatch)
    return folder


@pytest.fixture(name="environments")
def fresh_environments(tmp_path: Path) -> Environments:
    """A home without environments."""
    return Environments(tmp_path / "home")


def said(environment: Environment, code: str) -> str:
    """What Python code prints in an environment."""
    argv = (str(environment.python), "-c", code)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def build(environments: Environments, lock: str) -> Environment:
    """Build for the text of a lock."""
    return build_environment(environments, parse_pins(lock, "lock"), lambda _: None)


def test_pinned_packages_shadow_ours(wheels: Path, environments: Environments) -> None:
    """The pinned version is imported there; what is not pinned is ours, in the same version."""
    write_wheel(wheels, "rich", "1.2.3")
    environment = build(environments, "rich==1.2.3")

    assert said(environment, "import rich; print(rich.__version__)") == "1.2.3"
    import numpy as np  # noqa: PLC0415  ours, to compare with

    assert said(environment, "import numpy; print(numpy.__version__)") == np.__version__
    assert environment.packages == ("rich==1.2.3",)
    assert environments.listed() == (environment,)


def test_a_lock_has_one_environment(wheels: Path, environments: Environments) -> None:
    """Built again, in another order and with comments, it is the same and nothing is done."""
    write_wheel(wheels, "one-a", "1")
    write_wheel(wheels, "one-b", "2")
    first = build(environments, "one-a==1\none-b==2\n")
    (wheels / "one_a-1-py3-none-any.whl").unlink()

    assert build(environments, "# again\none-b==2\none-a==1\n") == first


def test_what_cannot_be_had_is_named(environments: Environments) -> None:
    """The message has the package, pip's reason and the remedy; nothing is left but the lock."""
    lines: list[str] = []
    with pytest.raises(ModelLoadError, match=r"No matching distribution found for none-such==3"):
        build_environment(environments, parse_pins("none-such==3", "lock"), lines.append)

    assert environments.listed() == ()
    assert [path.suffix for path in environments.folder.iterdir()] == [".lock"]
    assert "creating it for none-such==3" in lines[0]


def test_a_worker_must_start_with_it(wheels: Path, environments: Environments) -> None:
    """A package that keeps a worker from starting is found while building, with the reason."""
    write_wheel(wheels, "msgspec", "9.9", "raise ImportError('too old for this')")

    with pytest.raises(ModelLoadError, match=r"a worker does not start.*too old for this"):
        build(environments, "msgspec==9.9")
    assert environments.listed() == ()


def test_wrong_bytes_are_refused(wheels: Path, environments: Environments) -> None:
    """A lock with digests accepts no other file."""
    write_wheel(wheels, "one-a", "1")

    with pytest.raises(ModelLoadError, match="hash"):
        build(environments, f"one-a==1 --hash=sha256:{'0' * 64}")


def test_what_a_dead_builder_left_is_replaced(wheels: Path, environments: Environments) -> None:
    """A half-built folder counts as nothing, and the next builder begins anew."""
    write_wheel(wheels, "one-a", "1")
    built = build(environments, "one-a==1")
    (Path(built.folder) / MARK_FILE).unlink()
    (Path(built.folder) / "half").touch()

    assert environments.listed() == ()
    again = build(environments, "one-a==1")
    assert again.folder == built.folder
    assert not (Path(again.folder) / "half").exists()


@pytest.mark.parametrize("content", [b"", b'{"key": "a', b'{"key": 3}', b"\xff\xfe"])
def test_a_damaged_mark_is_none(wheels: Path, environments: Environments, content: bytes) -> None:
    """What a loss of power left of it ends nobody, and the environment is built again."""
    write_wheel(wheels, "one-a", "1")
    built = build(environments, "one-a==1")
    (Path(built.folder) / MARK_FILE).write_bytes(content)

    assert environments.listed() == ()
    assert (
        said(built, "from serving.environments.own import environment_note as e; print(e())") == ""
    )
    assert build(environments, "one-a==1").packages == ("one-a==1",)


def test_an_environment_without_its_interpreter_is_none(
    wheels: Path, environments: Environments
) -> None:
    """A link into a Python that was removed starts nothing: it is built again."""
    write_wheel(wheels, "one-a", "1")
    built = build(environments, "one-a==1")
    built.python.unlink()

    assert environments.listed() == ()
    assert build(environments, "one-a==1").python.exists()


def test_two_builders_at_once_build_once(wheels: Path, environments: Environments) -> None:
    """The second waits for the first and finds its environment."""
    write_wheel(wheels, "one-a", "1")
    lines: list[str] = []
    pins = parse_pins("one-a==1", "lock")
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(build_environment, environments, pins, lines.append) for _ in range(2)]
        first, second = (one.result() for one in work)

    assert first == second
    assert sum("creating it" in line for line in lines) == 1


def test_only_what_nobody_uses_is_removed(wheels: Path, environments: Environments) -> None:
    """An environment that a process runs in stays until that has ended; half-built ones go."""
    write_wheel(wheels, "one-a", "1")
    environment = build(environments, "one-a==1")
    (environments.folder / "half").mkdir()
    argv = (str(environment.python), "-c", "print(flush=True); input()")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        cleared = environments.clear()
        assert cleared.removed == ("half",)
        assert [(one.key, one.reason) for one in cleared.kept] == [
            (environment.key, f"process {process.pid} runs in it")
        ]
        process.communicate(b"\n")

    assert environments.clear().removed == (environment.key,)
    assert environments.listed() == ()


def test_another_python_has_another_environment(environments: Environments) -> None:
    """Pins for other machines do not count, and a lock without any for this one is refused."""
    with pytest.raises(ModelLoadError, match="pins no package for this machine"):
        build(environments, f"one-a==1 ; python_version > '{sys.version_info.major + 1}'")
