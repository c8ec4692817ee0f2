"""A model's folder in Triton's layout where a bundle or a model file is expected: what to do."""

from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.registry.ensemble import NO_BUNDLE
from serving.registry.model_config.parsing import parse_config
from serving.registry.repository import CONFIG_FILE

READ_BYTES: Final = 1 << 20


def refuse_model_folder(path: Path) -> None:
    """Refuse a model's folder of a repository, or its configuration; anything else passes.

    Raises:
        UnsupportedError: It is an ensemble's, which no bundle can hold.
        InvalidArgumentError: It is a model's, which `bascule import` makes a bundle of.
    """
    config = path if path.name == CONFIG_FILE else path / CONFIG_FILE
    if not config.is_file() or (config.parent / "manifest.json").exists():
        return
    folder = config.parent.absolute()
    with config.open("rb") as file:
        text = file.read(READ_BYTES).decode("utf-8", "replace")
    if parse_config(text, model=folder.name, source=str(config)).policy.ensemble:
        raise UnsupportedError(f"{path}: {NO_BUNDLE}")
    raise InvalidArgumentError(
        f"{path} is a model's folder of a repository: `bascule import {config.parent}` makes a "
        "bundle of each of its versions"
    )
