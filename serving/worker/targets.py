"""Fast path. Request target → the version that shall answer.

The bytes of the request line are looked up as they came; only if that fails are they brought into
normal form (absolute form, query, percent-encoding, leading zeros of the version). Which version
answers is decided when the body is complete, in this order: the one in the path or in the gRPC
message, the one in the `bascule-version` header (the edge's choice), the highest that is hosted.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import httptools
import msgspec

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import NotFoundError, NotReadyError
from serving.ids import MAX_VERSION, VersionKey, natural
from serving.wire import refusals
from serving.worker.loaded import LoadedVersion

GRPC_INFER: Final = b"/inference.GRPCInferenceService/ModelInfer"
MAX_PREFIXES: Final = 128
MAX_PREFIX_BYTES: Final = 512
VERSION_HEADER: Final = b"bascule-version"
INFER_PATH: Final = re.compile(rb"/v2/models/([^/]+)(?:/versions/([0-9]{1,25}))?/infer")


class ModelTarget:
    """The hosted versions of one model."""

    __slots__ = ("by_header", "by_version", "highest", "name")

    def __init__(self, name: str) -> None:
        """Host nothing yet."""
        self.name = name
        self.by_version: dict[int, LoadedVersion] = {}
        self.by_header: dict[bytes, LoadedVersion] = {}
        self.highest: LoadedVersion | None = None

    def put(self, loaded: LoadedVersion) -> None:
        """Host a version, or let it replace the one of its number."""
        self.by_version[loaded.spec.version] = loaded
        self._rebuild()

    def drop(self, version: int) -> None:
        """Host it no more."""
        del self.by_version[version]
        self._rebuild()

    def _rebuild(self) -> None:
        self.by_header = {b"%d" % number: loaded for number, loaded in self.by_version.items()}
        self.highest = self.by_version[max(self.by_version)] if self.by_version else None


class KnownPrefix(msgspec.Struct, frozen=True):
    """How gRPC bodies of one size begin, and what those that do name."""

    prefix: bytes
    target: "PathTarget"


class PathTarget:
    """What a request target names: a model, or one version of it."""

    __slots__ = ("model", "version")

    def __init__(self, model: ModelTarget, version: int | None) -> None:
        """Name it; the version need not be hosted."""
        self.model = model
        self.version = version

    def loaded(self, headers: Mapping[bytes, bytes]) -> LoadedVersion | None:
        """Return the version that answers, if it is hosted."""
        if self.version is not None:
            return self.model.by_version.get(self.version)
        asked = headers.get(VERSION_HEADER)
        return self.model.highest if asked is None else self.model.by_header.get(asked)


class Targets:
    """All versions that this worker hosts, and which ones it cannot serve yet or any more."""

    def __init__(self) -> None:
        """Host nothing."""
        self._raw: dict[bytes, PathTarget] = {}
        self._models: dict[str, ModelTarget] = {}
        self._unready: set[VersionKey] = set()
        self._prefixes: dict[int, KnownPrefix] = {}

    def put(self, loaded: LoadedVersion) -> None:
        """Let a version answer from now on; replaces the one of the same key at once."""
        spec = loaded.spec
        model = self._models.get(spec.model)
        if model is None:
            model = self._models[spec.model] = ModelTarget(spec.model)
            self._name(PathTarget(model, None))
        if spec.version not in model.by_version:
            self._name(PathTarget(model, spec.version))
        model.put(loaded)
        self._prefixes.clear()
        self._unready.discard(spec.key)

    def drop(self, key: VersionKey) -> None:
        """Let a version answer no more; what it has accepted goes on."""
        model = self._models[key.model]
        model.drop(key.version)
        self._prefixes.clear()
        self._forget(key.model, key.version)
        if not model.by_version:
            self._forget(key.model, None)
            del self._models[key.model]

    def set_unready(self, key: VersionKey) -> None:
        """Remember that a version exists and cannot answer."""
        self._unready.add(key)

    def clear_unready(self, key: VersionKey) -> None:
        """Forget a version that does not exist any more."""
        self._unready.discard(key)

    def find(self, target: bytes) -> PathTarget | None:
        """Return what a request target of an infer call names; None: not an infer call."""
        found = self._raw.get(target)
        return found if found is not None else self._find_normalised(target)

    def model(self, name: str) -> ModelTarget:
        """Return a model's hosted versions; an unknown model hosts none."""
        return self._models.get(name) or ModelTarget(name)

    def find_message(self, model: str, version_text: str) -> PathTarget:
        """Return what the first two fields of a ModelInferRequest name.

        Raises:
            InvalidArgumentError: The version is not a positive number.
        """
        known = self.model(model)
        return PathTarget(known, _message_version(version_text) if version_text else None)

    def known(self, body: bytes | memoryview) -> PathTarget | None:
        """Return what a gRPC body names, if one of its size and beginning was read before."""
        known = self._prefixes.get(len(body))
        if known is None or body[: len(known.prefix)] != known.prefix:
            return None
        return known.target

    def remember(self, body: bytes | memoryview, prefix_bytes: int, target: PathTarget) -> None:
        """Let `known` find what a body names; its first `prefix_bytes` bytes say it."""
        if prefix_bytes <= MAX_PREFIX_BYTES and target.model.name in self._models:
            if len(self._prefixes) >= MAX_PREFIXES:
                self._prefixes.clear()
            self._prefixes[len(body)] = KnownPrefix(bytes(body[:prefix_bytes]), target)

    def missing(self, target: PathTarget, headers: Mapping[bytes, bytes]) -> BasculeError:
        """Say why `target.loaded(headers)` is None, in Triton's words."""
        model = target.model.name
        version = target.version
        if version is None:
            asked = headers.get(VERSION_HEADER, b"")
            version = int(asked[:20]) if asked.isdigit() else None
        is_known = model in self._models or any(key.model == model for key in self._unready)
        if not is_known:
            return NotFoundError(refusals.unknown_model(model))
        if version is None:
            return NotFoundError(refusals.nothing_available(model))
        if VersionKey(model, version) in self._unready:
            return NotReadyError(refusals.version_not_ready(model, str(version)))
        return NotFoundError(refusals.missing_version(model, str(version)))

    def _find_normalised(self, target: bytes) -> PathTarget | None:
        try:
            path = httptools.parse_url(target).path
        except httptools.HttpParserInvalidURLError:
            return None
        match = INFER_PATH.fullmatch(unquote_to_bytes(path or b""))
        if match is None:
            return None
        name = match[1].decode("utf-8", "replace")
        version = None if match[2] is None else min(int(match[2]), MAX_VERSION)
        return PathTarget(self.model(name), version)

    def _name(self, target: PathTarget) -> None:
        for raw in _spellings(target.model.name, target.version):
            self._raw[raw] = target

    def _forget(self, model: str, version: int | None) -> None:
        for raw in _spellings(model, version):
            self._raw.pop(raw, None)


def _spellings(model: str, version: int | None) -> set[bytes]:
    """Return the usual ways to write an infer target; none of them can mean another model."""
    tail = "/infer" if version is None else f"/versions/{version}/infer"
    encoded = {quote(model, safe=""), quote(model, safe="!$&'()*+,:;=@~")}
    return {f"/v2/models/{name}{tail}".encode("ascii") for name in encoded}


def _message_version(text: str) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        raise InvalidArgumentError(refusals.unparsable_version(text[:40]))
    version = natural(digits)
    if text.startswith("-") or not version:
        raise InvalidArgumentError(refusals.version_below_one(text[:40]))
    return min(version, MAX_VERSION)
