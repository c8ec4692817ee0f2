"""Asks torch what it is. Imports it, which takes over a second; starts nothing on a GPU."""

import warnings

import torch
from torch._export.serde.schema import SCHEMA_VERSION

from runtimes.facts import TorchFacts


def ask() -> TorchFacts:
    """Return what the installed torch says of itself."""
    built_for = torch.version.cuda or ""
    # The public functions say nothing of architectures on a node without a GPU, and nothing of the
    # version of files at all.
    architectures = torch._C._cuda_getArchFlags() if built_for else None  # noqa: SLF001  see above
    major, minor = (int(number) for number in SCHEMA_VERSION)
    return TorchFacts(
        version=str(torch.__version__),
        cuda_version=built_for,
        cuda_architectures=tuple((architectures or "").split()),
        max_file_version=int(torch._C._get_max_operator_version()),  # noqa: SLF001  see above
        max_pt2_schema=(major, minor),
        cuda_problem=cuda_problem() if built_for else "",
    )


def cuda_problem() -> str:
    """Return why torch cannot use CUDA here, in its own words; empty where it can."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return ""
    first = str(told[0].message).partition("(Triggered")[0].strip() if told else ""
    return first or "torch sees no CUDA device"
