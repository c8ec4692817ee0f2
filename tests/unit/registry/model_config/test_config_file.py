"""A `config.pbtxt` that is no text: told in a sentence by everybody who reads one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.cli.pack_options import config_text
from serving.cli.tune.subject import subject_of
from serving.registry.model_config.config_file import read_config
from serving.registry.repository import Repository

SAID = "config.pbtxt is no text in UTF-8: invalid start byte at byte 6; write it anew"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder whose configuration was written in another encoding."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").write_bytes(b'name: \xff"')
    return tmp_path / "m"


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: read_config(folder / "config.pbtxt"),
        lambda folder: config_text(folder / "config.pbtxt", None),
        lambda folder: subject_of(str(folder), gpu=False),
    ],
    ids=["anybody", "pack", "tune"],
)
def test_it_is_refused(read: Callable[[Path], object], folder: Path) -> None:
    """With the place where it stops being text."""
    with pytest.raises(InvalidArgumentError, match=SAID):
        read(folder)


def test_its_model_alone_fails(folder: Path) -> None:
    """Others of the repository are served."""
    (failed,) = Repository(folder.parent).scan_model("m").failed
    assert failed.reason.endswith(SAID)
