"""What each version's first labels said, kept for as long as their log is.

The log lets old predictions go, and only the newest are read. A reference made anew of what is left
would move along with a version that slowly becomes worse.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.ids import VersionKey
from serving.monitor.labels.drop import DropReference

FILE: Final = "references.json"

References = Mapping[str, DropReference]
"""Name, as `reference_name` makes it → what was learnt."""


def reference_name(key: VersionKey, output: str) -> str:
    """Return what a reference is kept under; model names have no colon."""
    return f"{key.model}:{key.version}:{output}"


def read_references(folder: Path) -> dict[str, DropReference]:
    """Read what is kept in a folder of labels; nothing if there is no such file.

    Raises:
        InvalidArgumentError: The file is damaged.
    """
    file = folder / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, DropReference])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, OSError) as error:
        raise InvalidArgumentError(
            f"{file}: the references of labels cannot be read ({error}): restore the file, or "
            "remove it, and they are learnt again from the labels that are left"
        ) from error


def write_references(folder: Path, references: References) -> None:
    """Keep references, all or none.

    Raises:
        OSError: They cannot be written.
    """
    fresh = folder / f"{FILE}.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(references), indent=1))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / FILE)
