"""The manifest of a bundle: untrusted bytes become a checked record here, and nowhere else.

A manifest names every file of the bundle with its size and sha256, so the bundle's digest, which
is the sha256 of the canonical manifest, stands for all of its bytes.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
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

from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, InvalidArgumentError
from serving.ids import MAX_VERSION, model_name
from serving.registry.environment import Environment

MANIFEST_FILE: Final = "manifest.json"
SIGNATURE_FILE: Final = "signature.dsse.json"
"""Lies beside the manifest of a signed bundle, and is not listed in it."""
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_PATH_CHARACTERS: Final = 255
MAX_RUN_ID: Final = 200
MAX_SOURCE_ID: Final = 400
MOST_BYTES: Final = 1 << 60
MAX_DIM: Final = 2**63 - 1


def _inner_path(text: str) -> str:
    path = PurePosixPath(text)
    clean = path.as_posix() == text and not path.is_absolute() and text != "."
    if not clean or ".." in path.parts or "\\" in text or not text.isprintable():
        raise ValueError("must be a plain path inside the bundle, with '/' between its parts")
    if path.parts[0].startswith(".") or text in {MANIFEST_FILE, SIGNATURE_FILE}:
        raise ValueError(f"must not be {MANIFEST_FILE} or {SIGNATURE_FILE}, nor begin with '.'")
    return text


def _name(text: str) -> str:
    try:
        return model_name(text)
    except BasculeError as error:
        raise ValueError(error.message) from error


InnerPath = Annotated[
    str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS), AfterValidator(_inner_path)
]
DependencyWord = Literal["", "refuse", "warn", "isolate", "ignore"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class BundleFile(_Strict):
    """One file of a bundle."""

    path: InnerPath
    size_bytes: int = Field(ge=0, le=MOST_BYTES)
    sha256: Sha256


class PackedOn(_Strict):
    """Where a bundle was packed: what its results were last seen with."""

    python: str = Field(max_length=100)
    platform: str = Field(max_length=400)
    packages: dict[str, str] = Field(default_factory=dict, max_length=200)
    """Installed version of each package that can change a result."""
    libc: str = Field("", max_length=100)
    cpu_model: str = Field("", max_length=200)
    cpu_flags: tuple[str, ...] = Field((), max_length=500, strict=False)
    """The flags that choose code paths in engines, sorted."""
    gpu: str = Field("", max_length=200)
    """Name of the GPU that ran the golden samples; empty: the CPU did."""
    driver: str = Field("", max_length=60)
    cuda: str = Field("", max_length=60)
    cudnn: str = Field("", max_length=60)
    threads: int = Field(0, ge=0, le=1024)
    """Engine threads that the golden outputs were made with; 0: none were made."""

    @classmethod
    def of(cls, environment: Environment) -> Self:
        """Return an environment as a manifest stores it."""
        return cls(**asdict(environment))


class Tensor(_Strict):
    """Name, datatype and full shape of a tensor of the model; -1 stands for a free dimension."""

    name: str = Field(min_length=1, max_length=1024)
    datatype: Datatype = Field(strict=False)
    shape: tuple[Annotated[int, Field(ge=-1, le=MAX_DIM)], ...] = Field(max_length=64, strict=False)
    optional: bool = False


class Tolerance(_Strict):
    """How far an output may be from its golden value.

    ==========  ==================================================================
    ``bitwise``  equal bit for bit (NaN equals NaN)
    ``ulp``      at most `ulp` representable numbers apart
    ``close``    `|found - golden| <= atol + rtol * |golden|`
    ``label``    the same index of the largest value along the last dimension
    ``none``     not compared
    ==========  ==================================================================
    """

    kind: Literal["bitwise", "ulp", "close", "label", "none"] = "bitwise"
    ulp: int = Field(0, ge=0, le=1 << 40)
    rtol: float = Field(0.0, ge=0, allow_inf_nan=False)
    atol: float = Field(0.0, ge=0, allow_inf_nan=False)


class GoldenOutput(_Strict):
    """The tolerance classes of one output."""

    name: str = Field(min_length=1, max_length=1024)
    same_environment: Tolerance
    """Where the fingerprint is the one that the golden outputs were made with."""
    other_environment: Tolerance
    """Elsewhere: another CPU, device, engine or thread count."""


class Golden(_Strict):
    """Samples with the outputs that they gave when the bundle was packed."""

    samples: tuple[InnerPath, ...] = Field(min_length=1, max_length=1000, strict=False)
    """Files in NumPy's uncompressed .npz format: `input_0` …, `output_0` …, in the order of the
    manifest's tensors; an optional input that was left out is not there."""
    outputs: tuple[GoldenOutput, ...] = Field(max_length=1000, strict=False)
    generated: bool = False
    """The inputs were made up from the specs; False: somebody brought them."""


class Lineage(_Strict):
    """What a version came from."""

    training_data: str = Field("", max_length=2000)
    """A reference to the training data: a URL, a table with its snapshot, …"""
    training_data_sha256: Sha256 | Literal[""] = ""
    trained_until: AwareDatetime | None = Field(None, strict=False)
    """The newest observation that the model has seen."""
    code_revision: str = Field("", max_length=200)
    run_id: str = Field("", max_length=MAX_RUN_ID)
    """The run of an experiment tracker that made it."""
    source_id: str = Field("", max_length=MAX_SOURCE_ID)
    """What the model is called where it was imported from: `mlflow:` and the model's id, …"""
    source_created_utc: AwareDatetime | None = Field(None, strict=False)
    """When it was saved there."""
    parent: str = Field("", max_length=400)
    """The version that this one was made from: `model:version`, or a bundle's digest."""
    metrics: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=dict, max_length=1000
    )
    """What the model reached when it was evaluated: `accuracy`, …"""


class Requirements(_Strict):
    """What a version needs of the node that runs it."""

    profiles: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")], ...] = Field(
        (), max_length=32, strict=False
    )
    """Hardware profiles in order of preference: the first that a node fits is used."""
    memory_bytes: int = Field(0, ge=0, le=MOST_BYTES)
    """Host memory that loading and running took when it was packed; 0: not measured."""
    gpu_memory_bytes: int = Field(0, ge=0, le=MOST_BYTES)
    """GPU memory, likewise."""
    lock_file: InnerPath | Literal[""] = ""
    """A file of the bundle that pins Python packages, in requirements.txt's format."""
    dependencies: DependencyWord = ""
    """What happens where a pinned package differs (`serving.registry.bundles.dependencies`);
    empty: what the node's settings say."""
    deterministic: bool = False
    """Run with the engine's deterministic algorithms and one thread."""


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
    inputs: tuple[Tensor, ...] = Field((), max_length=1000, strict=False)
    """The model's inputs as the engine gave them when it was packed; empty: not inspected."""
    outputs: tuple[Tensor, ...] = Field((), max_length=1000, strict=False)
    max_batch_rows: int | None = Field(None, ge=0)
    """0: no batch dimension; None: not inspected."""
    requirements: Requirements = Requirements()
    golden: Golden | None = None
    contract_file: InnerPath | Literal[""] = ""
    """What inputs must look like: `contract.yaml`."""
    reference_file: InnerPath | Literal[""] = ""
    """The profile of the training data that drift is measured against."""
    card_file: InnerPath | Literal[""] = ""
    """The model card: `card.md`."""
    lineage: Lineage = Lineage()
    licence: str = Field("", max_length=10_000)
    notes: str = Field("", max_length=100_000)

    @model_validator(mode="after")
    def _files_agree(self) -> Self:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("files: a path is listed twice")
        for field, path in self._named_files():
            if path not in paths:
                raise ValueError(f"{field} '{path}' is not listed in files")
        return self

    def _named_files(self) -> Iterator[tuple[str, str]]:
        yield "model_file", self.model_file
        for field in ("contract_file", "reference_file", "card_file"):
            if path := getattr(self, field):
                yield field, path
        if self.requirements.lock_file:
            yield "requirements.lock_file", self.requirements.lock_file
        for path in self.golden.samples if self.golden else ():
            yield "golden.samples", path

    def canonical(self) -> bytes:
        """Return the bytes that the digest is made of: JSON, keys sorted, no spaces, ASCII.

        What has its default is left out: a field that a later Bascule adds changes no digest.
        """
        values = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    def digest(self) -> str:
        """Return the bundle's address: sha256 of the canonical manifest, in hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def content_digest(self) -> str:
        """Return a digest of what is served and promised: two packings of one content are equal.

        Left out are the number, where and when it was packed, what was measured there (memory),
        what only people read (card, notes, licence, lineage), and golden samples with made-up
        inputs: their outputs are this machine's, so another one would not find its own content.
        Samples that somebody brought are a promise, and count.
        """
        values = self.model_dump(
            mode="json",
            exclude_defaults=True,
            include={
                "name": True,
                "format": True,
                "model_file": True,
                "files": True,
                "config": True,
                "inputs": True,
                "outputs": True,
                "max_batch_rows": True,
                "requirements": {"profiles", "lock_file", "dependencies", "deterministic"},
                "contract_file": True,
                "reference_file": True,
            },
        )
        values.setdefault("requirements", {})  # also where only what was measured stands in it
        golden = self.golden
        is_made_up = golden is not None and golden.generated
        left_out = {self.card_file, *(golden.samples if golden and is_made_up else ())}
        kept = [file for file in values["files"] if file["path"] not in left_out]
        values["files"] = sorted(kept, key=lambda file: str(file["path"]))
        if golden is not None and not is_made_up:
            values["golden"] = golden.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def pretty(self) -> bytes:
        """Return the manifest as it is stored: the same values, for people."""
        return json.dumps(self.model_dump(mode="json"), indent=2).encode() + b"\n"


def require_inner_path(path: str) -> str:
    """Return a path that a manifest may list.

    Raises:
        InvalidArgumentError: It may not.
    """
    if len(path) > MAX_PATH_CHARACTERS:
        raise InvalidArgumentError(
            f"'{path[:80]}…' cannot be a file of a bundle: its path has {len(path)} characters, at "
            f"most {MAX_PATH_CHARACTERS}: rename the file"
        )
    try:
        return _inner_path(path)
    except ValueError as error:
        raise InvalidArgumentError(
            f"'{path[:80]}' cannot be a file of a bundle: it {error}: rename the file"
        ) from error


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
