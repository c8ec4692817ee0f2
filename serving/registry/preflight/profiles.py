"""Hardware profiles of an installation: those that are shipped, and those in YAML files.

Every `*.yaml` of a folder maps names to profiles::

    team-l4:
      description: an L4, operators without a CUDA kernel allowed
      device: cuda                  # cpu or cuda
      gpu_count: 1                  # of one replica: 0.5 shares a GPU, 2 takes two
      min_gpu_memory: 20GiB         # sizes: a number of bytes, or with KiB, MiB, GiB, kB, MB, GB
      min_compute_capability: 8.9
      allow_cpu_nodes: true

Other fields: min_cpus, cpu_flags, min_memory, max_compute_capability, min_driver, threads,
precision (fp32 or tf32), gpu_arena.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from runtimes.errors import InvalidArgumentError
from runtimes.misspelling import did_you_mean
from runtimes.profile import NEWEST_CAPABILITY, SHIPPED, HardwareProfile, Precision
from serving.registry.yaml_text import read_yaml

MAX_PROFILES_BYTES: Final = 1 << 20
UNITS: Final = MappingProxyType(
    {
        "": 1,
        "B": 1,
        "kB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "TB": 10**12,
        "KiB": 1 << 10,
        "MiB": 1 << 20,
        "GiB": 1 << 30,
        "TiB": 1 << 40,
    }
)
SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([kKMGT]?i?B|)")
CAPABILITY: Final = re.compile(r"(\d{1,2})\.(\d)")
GPU_FIELDS: Final = (
    "gpu_count",
    "min_gpu_memory",
    "min_compute_capability",
    "max_compute_capability",
    "min_driver",
    "precision",
    "gpu_arena",
    "allow_cpu_nodes",
)


def size_of(value: object) -> object:
    """Return a size in bytes: `16GiB`, `1.5 GB`, or a number as it is.

    Raises:
        ValueError: It is a text that says no size.
    """
    if not isinstance(value, str):
        return value
    found = SIZE.fullmatch(value.strip())
    unit = UNITS.get(found[2]) if found else None
    if found is None or unit is None:
        raise ValueError(f"a size is a number with one of {', '.join(filter(None, UNITS))}")
    return int(float(found[1]) * unit)


def capability_of(value: object) -> object:
    """Return a compute capability as two numbers: `8.9` is (8, 9).

    Raises:
        ValueError: It is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:.1f}" if is_number else str(value)
    found = CAPABILITY.fullmatch(text)
    if found is None or (is_number and float(text) != value):
        raise ValueError("a compute capability is written as 8.9")
    return int(found[1]), int(found[2])


Size = Annotated[int, BeforeValidator(size_of), Field(ge=0, le=1 << 60)]
Capability = Annotated[tuple[int, int], BeforeValidator(capability_of)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Flag = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]


class _Profile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    description: str = Field("", max_length=400)
    device: Literal["cpu", "cuda"]
    min_cpus: int = Field(1, ge=1, le=4096)
    cpu_flags: frozenset[Flag] = Field(frozenset(), max_length=100, strict=False)
    min_memory: Size = 0
    gpu_count: float = Field(1.0, gt=0, le=64, allow_inf_nan=False)
    min_gpu_memory: Size = 0
    min_compute_capability: Capability = (0, 0)
    max_compute_capability: Capability = NEWEST_CAPABILITY
    min_driver: str = Field("", pattern=r"^(\d{1,4}(\.\d{1,4}){0,3})?$")
    threads: int = Field(0, ge=0, le=1024)
    precision: Precision = "fp32"
    gpu_arena: Size = 0
    allow_cpu_nodes: bool = False

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        told = self.model_fields_set.intersection(GPU_FIELDS)
        if self.device == "cpu" and told:
            raise ValueError(f"{', '.join(sorted(told))}: only a profile with device cuda has it")
        if self.gpu_count > 1 and self.gpu_count % 1:
            raise ValueError("gpu_count: a fraction shares one GPU, so more than one are whole")
        if self.min_compute_capability > self.max_compute_capability:
            raise ValueError("min_compute_capability is above max_compute_capability")
        return self

    def to_profile(self, name: str) -> HardwareProfile:
        return HardwareProfile(
            name=name,
            description=self.description,
            device=self.device,
            min_cpus=self.min_cpus,
            cpu_flags=self.cpu_flags,
            min_memory_bytes=self.min_memory,
            gpu_count=self.gpu_count if self.device == "cuda" else 0.0,
            min_gpu_memory_bytes=self.min_gpu_memory,
            min_compute_capability=self.min_compute_capability,
            max_compute_capability=self.max_compute_capability,
            min_driver=self.min_driver,
            threads=self.threads,
            precision=self.precision,
            gpu_arena_bytes=self.gpu_arena,
            allow_cpu_nodes=self.allow_cpu_nodes,
        )


_PROFILES: Final = TypeAdapter(dict[Name, _Profile])


def read_profiles(folder: Path) -> Mapping[str, HardwareProfile]:
    """Return all profiles: the shipped ones, then those of the folder's files in their order.

    Args:
        folder: `BASCULE_HOME/profiles`; it need not be there.

    Raises:
        InvalidArgumentError: A file cannot be read or says something that is no profile, or a name
            is taken; file and field are named.
    """
    found = dict(SHIPPED)
    places = dict.fromkeys(SHIPPED, "a profile that Bascule ships")
    for file in sorted(folder.glob("*.yaml")):
        for name, profile in parse_profiles(_read(file), str(file)).items():
            if name in found:
                raise InvalidArgumentError(
                    f"{file}: profile '{name}' is also {places[name]}: choose another name"
                )
            found[name], places[name] = profile, f"in {file}"
    return MappingProxyType(found)


def parse_profiles(raw: bytes, source: str) -> dict[str, HardwareProfile]:
    """Check and return the profiles of one file.

    Args:
        raw: The file's bytes.
        source: What to call it in messages.

    Raises:
        InvalidArgumentError: It is too long, no YAML, or a field is unknown or wrong.
    """
    if len(raw) > MAX_PROFILES_BYTES:
        raise InvalidArgumentError(
            f"{source}: a file of profiles has at most {MAX_PROFILES_BYTES} bytes, this has more"
        )
    try:
        said = read_yaml(raw)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{source} is no YAML: {error.message}") from error
    try:
        checked = _PROFILES.validate_python(said or {})
    except ValidationError as error:
        raise InvalidArgumentError(f"{source}: {_first_problem(error)}") from error
    return {name: profile.to_profile(name) for name, profile in checked.items()}


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"] if part != "[key]"]
    field = ".".join(place) or "profiles"
    if first["type"] == "extra_forbidden":
        names = _Profile.model_fields
        hint = did_you_mean(place[-1], names) or f"there are {', '.join(names)}"
        return f"{field}: a profile has no such field; {hint}"
    if first["type"] == "missing":
        return f"{field}: is missing"
    said = first["msg"].removeprefix("Value error, ")
    return f"{field}: {said}, got {str(first['input'])[:80]!r}"


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_PROFILES_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error.strerror}") from error
