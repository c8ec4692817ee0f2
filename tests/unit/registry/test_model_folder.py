"""A folder of a model repository is told from a bundle, with what to do instead."""

from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.registry.model_folder import refuse_model_folder
from tests.fakes.ensemble_folders import AGAIN, PAIR, SUM_AND_DIFFERENCE, ensemble, pair


@pytest.mark.parametrize("part", ["e", "e/config.pbtxt"])
def test_an_ensemble_is_told_where_it_can_be_served(tmp_path: Path, part: str) -> None:
    """By its folder or its configuration: no bundle holds it, a repository does."""
    ensemble(tmp_path, "e", pair(SUM_AND_DIFFERENCE, AGAIN))

    with pytest.raises(UnsupportedError, match="serve it from a model repository"):
        refuse_model_folder(tmp_path / part)


def test_a_models_folder_is_for_import(tmp_path: Path) -> None:
    """The command that makes bundles of it is in the message."""
    (tmp_path / "config.pbtxt").write_text(PAIR)

    with pytest.raises(InvalidArgumentError, match="`bascule import "):
        refuse_model_folder(tmp_path)


def test_bundles_and_files_pass(tmp_path: Path) -> None:
    """A bundle may have a configuration, too; a model file is none."""
    (tmp_path / "config.pbtxt").write_text(PAIR)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "model.onnx").write_bytes(b"")

    refuse_model_folder(tmp_path)
    refuse_model_folder(tmp_path / "model.onnx")
    refuse_model_folder(tmp_path / "nothing")
