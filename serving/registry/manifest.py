"""The manifest of a bundle: untrusted bytes become a checked record here, and nowhere else.

A manifest names every file of the bundle with its size and sha256, so the bundle's digest, which
is the sha256 of the canonical manifest, stands for all of its bytes.
"""

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.ids import MAX_VERSION, model_name

MANIFEST_FILE: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_PATH_CHARACTERS: Final = 255


def _inner_path(text: str) -> str:
    path = PurePosixPath(text)
    clean = path.as_posix() == text and not path.is_absolute() and text != "."
    if not clean or ".." in path.parts or "\\" in text or not text.isprintable():
        raise ValueError("must be a plain path inside the bundle, with '/' between its parts")
    if path.parts[0].startswith(".") or text == MANIFEST_FILE:
        raise ValueError(f"must be neither {MANIFEST_FILE} nor begin with '.'")
    return text


def _name(text: str) -> str:
    try:
        return model_name(text)
    except BasculeError as error:
        raise ValueError(error.message) from error


InnerPath = Annotated[
    str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS), AfterValidator(_inner_path)
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BundleFile(_Strict):
    """One file of a bundle."""

    path: InnerPath
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class PackedOn(_Strict):
    """Where a bundle was packed: what its results were last seen with."""

    python: str = Field(max_length=100)
    platform: str = Field(max_length=400)
    packages: dict[str, str] = Field(default_factory=dict, max_length=200)
    """Installed version of each package that can change a result."""


class Manifest(_Strict):
    """The whole of what a bundle says about itself."""

    format_version: Literal[1] = 1
    name: Annotated[str, AfterValidator(_name)]
    version: int = Field(gt=0, le=MAX_VERSION)
    format: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    model_file: InnerPath
    files: tuple[BundleFile, ...] = Field(min_length=1, max_length=10_000, strict=False)
    config: str = Field("", max_length=1 << 20)
    """The model's configuration as protobuf text (config.pbtxt)."""
    created_utc: AwareDatetime = Field(strict=False)
    packed_on: PackedOn
    licence: str = Field("", max_length=10_000)
    notes: str = Field("", max_length=100_000)

    @model_validator(mode="after")
    def _files_agree(self) -> Self:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("files: a path is listed twice")
        if self.model_file not in paths:
            raise ValueError(f"model_file '{self.model_file}' is not listed in files")
        return self

    def canonical(self) -> bytes:
        """Return the bytes that the digest is made of: JSON, keys sorted, no spaces, ASCII."""
        values = self.model_dump(mode="json")
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    def digest(self) -> str:
        """Return the bundle's address: sha256 of the canonical manifest, in hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def content_digest(self) -> str:
        """Return a digest of what is served: equal when only the number or the packing differs."""
        values = self.model_dump(
            mode="json", include={"name", "format", "model_file", "files", "config"}
        )
        values["files"] = sorted(values["files"], key=lambda file: str(file["path"]))
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def pretty(self) -> bytes:
        """Return the manifest as it is stored: the same values, for people."""
        return json.dumps(self.model_dump(mode="json"), indent=2).encode() + b"\n"


def parse_manifest(raw: bytes, source: str) -> Manifest:
    """Check and return a manifest.

    Args:
        raw: The bytes of a manifest.json.
        source: What to call it in messages: a path.

    Raises:
        InvalidArgumentError: It is too large, no JSON, or a field is missing, unknown or wrong.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise InvalidArgumentError(
            f"{source}: {len(raw)} bytes are too many for a manifest, at most {MAX_MANIFEST_BYTES}"
        )
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise InvalidArgumentError(
            f"{source}: {field}: {first['msg']}, got {str(first['input'])[:80]!r}"
        ) from error
