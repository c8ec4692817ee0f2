"""What each version's first labels said, kept for as long as their log is.

The log lets old predictions go, and only some are read. A reference made anew of what is left would
move along with a version that slowly becomes worse. It is kept beside the labels, at their URL if
they have one: so another node's controller goes on with it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import fsspec
import msgspec

from runtimes.errors import InvalidArgumentError
from serving.ids import VersionKey
from serving.monitor.labels.drop import DropReference
from serving.predictions.folder import FOLDER_MODE
from serving.settings import without_password

FILE: Final = "references.json"

References = Mapping[str, DropReference]
"""Name, as `reference_name` makes it → what was learnt."""


def reference_name(key: VersionKey, digest: str, output: str) -> str:
    """Return what a reference is kept under: a version whose files changed has another one."""
    return f"{key.model}:{key.version}:{digest}:{output}"


def read_references(place: str) -> dict[str, DropReference]:
    """Read what is kept in a folder of labels, or at its URL; nothing if there is no such file.

    Raises:
        InvalidArgumentError: The file cannot be read, or is damaged.
    """
    try:
        return msgspec.json.decode(_content(place), type=dict[str, DropReference])
    except FileNotFoundError:
        return {}
    except (msgspec.MsgspecError, OSError) as error:
        raise InvalidArgumentError(
            f"{without_password(place)}/{FILE}: the references of labels cannot be read ({error}): "
            "restore the file, or remove it, and they are learnt again from the labels that are "
            "left"
        ) from error


def write_references(place: str, references: References) -> None:
    """Keep references, all or none.

    Raises:
        OSError: They cannot be written. Stores of fsspec raise others as well.
    """
    content = msgspec.json.format(msgspec.json.encode(references), indent=1)
    if "://" in place:
        store, root = fsspec.core.url_to_fs(place)
        store.makedirs(root, exist_ok=True)
        store.pipe_file(f"{root}/{FILE}", content)
        return
    folder = Path(place)
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    fresh = folder / f"{FILE}.new"
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / FILE)


def _content(place: str) -> bytes:
    if "://" not in place:
        return (Path(place) / FILE).read_bytes()
    with fsspec.open(f"{place}/{FILE}", "rb") as file:
        content: bytes = file.read()
    return content
