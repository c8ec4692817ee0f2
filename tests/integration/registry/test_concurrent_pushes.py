"""Several processes at one registry."""

import subprocess
import sys
from pathlib import Path

from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

ROOT = Path(__file__).parents[3]
PUSH = """
import sys
from pathlib import Path
from runtimes.errors import BasculeError
from serving.registry.store import Registry
print("here", flush=True)
sys.stdin.readline()
try:
    with Registry(Path(sys.argv[1]), url=sys.argv[3]) as registry:
        print(registry.push(Path(sys.argv[2]), "ann").created)
except BasculeError as error:
    print(error.code.value)
    print(error.message, file=sys.stderr)
"""


def push_at_once(homes: list[Path], bundles: list[Path], url: str = "") -> list[str]:
    """Push each bundle in a process of its own, all released together; return what each says."""
    pushers = [
        subprocess.Popen(
            [sys.executable, "-c", PUSH, str(home), str(bundle), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for home, bundle in zip(homes, bundles, strict=True)
    ]
    for pusher in pushers:
        assert pusher.stdout is not None
        assert pusher.stdout.readline() == "here\n"
    for pusher in pushers:
        assert pusher.stdin is not None
        pusher.stdin.write("go\n")
        pusher.stdin.flush()
    return sorted(pusher.communicate(timeout=90)[0].strip() for pusher in pushers)


def test_one_of_two_contents_wins(home: Path, tmp_path: Path) -> None:
    """Of pushes of one number with different content one wins, in a home that nobody opened."""
    bundles = [
        make_bundle(tmp_path / str(index), content=f"{index}".encode()).folder for index in range(4)
    ]

    assert push_at_once([home] * 4, bundles) == ["True", *["already_exists"] * 3]

    with Registry(home) as registry:
        assert len(registry.picture().wanted) == 1
        assert [event.action for event in registry.events()] == ["pin_live", "push"]
        assert Path(registry.picture().wanted[0].file).exists()
    assert len(list((home / "registry" / "bundles").iterdir())) == 1


def test_the_same_content_is_pushed_once(home: Path, tmp_path: Path) -> None:
    """Pushes of the same bundle at once all succeed; one of them made the version."""
    bundle = make_bundle(tmp_path / "b").folder

    assert push_at_once([home] * 4, [bundle] * 4) == ["False", "False", "False", "True"]


def test_different_models_do_not_disturb_each_other(home: Path, tmp_path: Path) -> None:
    """Pushes of different models at once all succeed."""
    bundles = [make_bundle(tmp_path / name, name=name).folder for name in "abcd"]

    assert push_at_once([home] * 4, bundles) == ["True"] * 4

    with Registry(home) as registry:
        assert registry.models() == {"a", "b", "c", "d"}
