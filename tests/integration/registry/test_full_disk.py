"""A full disk is told in one sentence, and leaves everything as it was."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.cli.main import main
from serving.errors import NotReadyError
from serving.registry.checker import check
from serving.registry.store import Registry
from serving.registry.trust.rule_book import RuleChange
from serving.registry.trust.trust import Unsigned
from serving.registry.trust.trust_file import TRUST_FILE, change_policy
from tests.fakes.bundles import make_bundle
from tests.fakes.models import tiny

BY_ANN = RuleChange(who="ann", action="set_policy", reason="audit of May")


@contextmanager
def room_of(most_bytes: int) -> Iterator[None]:
    """Let no file grow over so many bytes: the next write fails, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def failed(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run a command that ends with a code; return the one sentence that it says."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err.strip().splitlines()
    assert (ended.value.code, len(said), said[-1][:9]) == (code, 1, "bascule: ")
    return said[-1]


def test_a_push_and_a_pack_name_the_file_and_the_remedy(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither shows a traceback, and neither leaves a part of what it wrote."""
    monkeypatch.setenv("BASCULE_HOME", str(home))
    (tmp_path / "m.onnx").write_bytes(tiny() + bytes(300_000))
    bundle = make_bundle(tmp_path / "b", content=bytes(300_000)).folder
    with Registry(home):
        pass
    target = tmp_path / "m-1"
    with room_of(200_000):
        pushed = failed(capsys, 1, "push", str(bundle))
        packed = failed(
            capsys, 1, "pack", str(tmp_path / "m.onnx"), "--name=m", "--version=1", f"-o{target}"
        )

    assert str(home) in pushed
    assert "model.echo: File too large: free space there" in pushed
    assert "model.onnx: File too large: free space there" in packed
    assert not target.exists()
    with Registry(home) as registry:
        assert check(registry) == ()


def test_what_the_system_refuses_to_look_at_is_not_called_different(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 1 of `reproduce` says that it was run and differs: here nobody can tell, 2."""
    monkeypatch.setenv("BASCULE_HOME", str(home))
    assert "File name too long" in failed(capsys, 2, "reproduce", f"{'m' * 300}:1")


def change(registry: Registry, file: Path) -> None:
    """Change the rules."""
    registry.trust.book.change(
        file, BY_ANN, lambda file: change_policy(file, Unsigned.REFUSE, None)
    )


def remove(registry: Registry, file: Path) -> None:
    """Give the rules up."""
    registry.trust.book.remove(file, BY_ANN)


@pytest.mark.parametrize("act", [change, remove])
def test_rules_that_cannot_be_noted_are_not_changed(
    home: Path, act: Callable[[Registry, Path], None]
) -> None:
    """A change of the rules that failed is not in force: the file is the one of before."""
    file = home / "registry" / TRUST_FILE
    with Registry(home) as registry:
        registry.trust.book.change(
            file, BY_ANN, lambda file: change_policy(file, Unsigned.WARN, None)
        )
        before, events = file.read_bytes(), registry.events()
        with room_of(3000), pytest.raises(NotReadyError, match=r"full|disk"):
            act(registry, file)

        assert file.read_bytes() == before
        assert registry.trust.policy().unsigned is Unsigned.WARN
        assert registry.events() == events
    left = {path.name for path in file.parent.iterdir() if path.name.startswith(".")}
    assert left == set()


def test_first_rules_that_cannot_be_noted_are_none(home: Path) -> None:
    """Where there were no rules, there are none after a failed change."""
    file = home / "registry" / TRUST_FILE
    with Registry(home) as registry:
        with room_of(3000), pytest.raises(NotReadyError, match=r"free space|disk may be full"):
            change(registry, file)
        assert not file.exists()
