"""What each version's labels said, kept for as long as their log is.

The log lets old predictions go, and only some are read. A reference made anew of what is left would
move along with a version that slowly becomes worse, and a test that begins anew at each look would
ring without cause sooner or later. So the first labels, and what later ones have shown, are kept
beside the labels, at their URL if they have one: so another node's controller goes on with it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import fsspec
import msgspec

from runtimes.errors import InvalidArgumentError
from serving.ids import VersionKey
from serving.monitor.labels.judging import DropReference, Judged
from serving.predictions.folder import FOLDER_MODE
from serving.predictions.reading import bytes_at
from serving.settings import without_password

REFERENCES: Final = "references.json"
JUDGED: Final = "judged.json"

References = Mapping[str, DropReference]
"""Name, as `reference_name` makes it → what was learnt."""
Findings = Mapping[str, Judged]
"""The same name → what the rows after it have shown."""
T = TypeVar("T")


def reference_name(key: VersionKey, digest: str, output: str) -> str:
    """Return what a reference is kept under: a version whose files changed has another one."""
    return f"{key.model}:{key.version}:{digest}:{output}"


def read_references(place: str) -> dict[str, DropReference]:
    """Read what is kept in a folder of labels, or at its URL; nothing if there is no such file.

    Raises:
        InvalidArgumentError: The file cannot be read, or is damaged.
    """
    return _read(place, REFERENCES, "the references of labels", dict[str, DropReference])


def read_findings(place: str) -> dict[str, Judged]:
    """Read what was found in a folder of labels, or at its URL; nothing if there is no such file.

    Raises:
        InvalidArgumentError: The file cannot be read, or is damaged.
    """
    return _read(place, JUDGED, "what labels have shown", dict[str, Judged])


def write_references(place: str, references: References) -> None:
    """Keep references, all or none.

    Raises:
        OSError: They cannot be written. Stores of fsspec raise others as well.
    """
    _write(place, REFERENCES, references)


def write_findings(place: str, findings: Findings) -> None:
    """Keep what was found, all or nothing, without the names of rows.

    Raises:
        OSError: It cannot be written. Stores of fsspec raise others as well.
    """
    _write(place, JUDGED, {name: one.without_names() for name, one in findings.items()})


def _read(place: str, file: str, what: str, kind: type[dict[str, T]]) -> dict[str, T]:
    try:
        return msgspec.json.decode(bytes_at(f"{place}/{file}"), type=kind)
    except FileNotFoundError:
        return {}
    except Exception as error:  # stores raise what they like
        raise InvalidArgumentError(
            f"{without_password(place)}/{file}: {what} cannot be read ({error}): restore the file, "
            "or remove it, and the labels that are left are looked at anew"
        ) from error


def _write(place: str, file: str, found: object) -> None:
    content = msgspec.json.format(msgspec.json.encode(found), indent=1)
    if "://" in place:
        store, root = fsspec.core.url_to_fs(place)
        store.makedirs(root, exist_ok=True)
        store.pipe_file(f"{root}/{file}", content)
        return
    folder = Path(place)
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    fresh = folder / f"{file}.new"
    with fresh.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    fresh.replace(folder / file)
