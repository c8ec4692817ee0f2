"""A log at a URL is read as it is now, whatever its store remembers or raises."""

from collections.abc import Iterator
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem

from runtimes.errors import InvalidArgumentError
from serving.errors import NotReadyError
from serving.predictions.labels.references import read_references
from serving.predictions.reading import PredictionReader, content_of

FIRST, SECOND = "1780000000000-w-1-1.seg", "1780000000001-w-1-1.seg"


class OwnError(Exception):
    """As packages of stores have: none of Python's."""


class KeepingStore(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Keeps what it has listed until somebody says otherwise, as that of S3 does."""

    protocol = "keeping"
    files: ClassVar[dict[str, bytes]] = {}
    fault: ClassVar[Exception | None] = None
    listed: ClassVar[dict[str, list[dict[str, Any]]]] = {}

    def ls(self, path: str, **_: object) -> list[dict[str, Any]]:
        """Names and sizes below a path, as they were when it was asked first."""
        self._fail()
        if path not in self.listed:
            found = [
                {"name": name, "size": len(content), "type": "file"}
                for name, content in self.files.items()
                if name.startswith(f"{path}/")
            ]
            if not found:
                raise FileNotFoundError(path)
            self.listed[path] = found
        return self.listed[path]

    def cat_file(self, path: str, **_: object) -> bytes:
        """The whole of a file."""
        self._fail()
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def exists(self, path: str, **_: object) -> bool:
        """Whether it can be listed: what goes wrong reads as no, as with fsspec's own."""
        try:
            return bool(self.ls(path))
        except Exception:  # noqa: BLE001  as fsspec's own
            return False

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what was listed."""
        del path
        self.listed.clear()

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault


@pytest.fixture(autouse=True)
def empty_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is there, and nothing is wrong."""
    fsspec.register_implementation("keeping", KeepingStore, clobber=True)
    monkeypatch.setattr(KeepingStore, "files", {})
    monkeypatch.setattr(KeepingStore, "listed", {})
    yield
    KeepingStore.fault = None


def test_what_others_have_moved_there_since_is_seen() -> None:
    """By who reads for weeks: an instance looks for labels and predictions again and again."""
    reader = PredictionReader("keeping://log")
    assert reader.segments() == []

    seen = []
    for name in (FIRST, SECOND):
        KeepingStore.files[f"log/{name}"] = b""
        seen.append([segment.name for segment in reader.segments()])

    assert seen == [[FIRST], [FIRST, SECOND]]


@pytest.mark.parametrize("fault", [OwnError("no credentials"), ConnectionError("refused")])
def test_a_store_that_cannot_be_asked_is_no_empty_log(fault: Exception) -> None:
    """Nor a traceback: what is wrong with it is told, with the URL."""
    KeepingStore.files[f"log/{FIRST}"] = b""
    reader = PredictionReader("keeping://log")
    (segment,) = reader.segments()
    KeepingStore.fault = fault

    with pytest.raises(NotReadyError, match=f"keeping://log cannot be reached: {fault}"):
        reader.segments()
    with pytest.raises(InvalidArgumentError, match=f"{FIRST} cannot be read: {fault}"):
        content_of(segment)
    with pytest.raises(InvalidArgumentError, match=f"references.* cannot be read .{fault}"):
        read_references("keeping://log/labels")
