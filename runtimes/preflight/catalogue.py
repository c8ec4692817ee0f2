"""Every finding that preflight can have: its code, its severity and what it is about.

A code is stable and never used for another thing. The severity here is the worst that the code can
have; a check may report the same thing milder. `bascule preflight --codes` prints this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from runtimes.findings import Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the catalogue."""

    code: str
    severity: Severity
    title: str
    is_waivable: bool = True
    """An operator may allow it for a while, with a reason."""

    @property
    def group(self) -> str:
        """The letter of its group: `F` of `BP-F01`."""
        return self.code[3]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found and what is required, for programs."""

    found: str = ""
    required: str = ""


NOTHING: Final = Evidence()


def _error(code: str, title: str, *, is_waivable: bool = True) -> Entry:
    return Entry(code=code, severity=Severity.ERROR, title=title, is_waivable=is_waivable)


def _warning(code: str, title: str, *, is_waivable: bool = True) -> Entry:
    return Entry(code=code, severity=Severity.WARNING, title=title, is_waivable=is_waivable)


def _info(code: str, title: str) -> Entry:
    return Entry(code=code, severity=Severity.INFO, title=title)


_ENTRIES: Final = (
    _error("BP-F01", "a file is the one that was packed: size and sha256", is_waivable=False),
    _error("BP-F02", "the files of external data are there", is_waivable=False),
    _error("BP-F03", "external data lies within its file", is_waivable=False),
    _error("BP-F04", "no link and no external data leads out of the folder", is_waivable=False),
    _error("BP-F05", "the content is of the declared format", is_waivable=False),
    _error("BP-F06", "sizes are within bounds: 2 GiB of protobuf, no zip bomb", is_waivable=False),
    _error("BP-F07", "every file that the manifest lists is there", is_waivable=False),
    _error("BP-F08", "every file is listed in the manifest", is_waivable=False),
    _error("BP-F09", "the model file is whole and can be read", is_waivable=False),
    _error("BP-F10", "the manifest can be used", is_waivable=False),
    _error("BP-S01", "no pickle imports anything but tensors and containers", is_waivable=False),
    _error("BP-S02", "what can run code when loaded is signed by a trusted key", is_waivable=False),
    _warning("BP-S03", "no native library lies in the bundle", is_waivable=False),
    _error("BP-S04", "the signature is what the registry asks for", is_waivable=False),
    _warning("BP-S05", "only its owner can change the folder and its files", is_waivable=False),
    _warning("BP-S06", "a licence is set, and allowed", is_waivable=False),
    _error("BP-O01", "the engine knows the opsets"),
    _error("BP-O02", "the engine reads the IR version"),
    _error("BP-O03", "custom operators are registered here"),
    _error("BP-O04", "every standard operator exists at its opset"),
    _error("BP-O05", "the engine has kernels for the operators' datatypes"),
    _error("BP-O06", "the device that was asked for runs the model, and not only parts of it"),
    _info("BP-O07", "the opset is not very old"),
    _error("BP-T01", "this torch reads the file version"),
    _error("BP-T02", "the operators belong to torch"),
    _info("BP-T03", "the format has a future"),
    _error("BP-T04", "this torch reads the schema of the archive"),
    _error("BP-T05", "the exported batch dimension is free where batching is claimed"),
    _error("BP-T06", "every parameter and buffer is on the device", is_waivable=False),
    _warning("BP-T07", "the module was saved in evaluation mode"),
    _error("BP-E01", "the device that was asked for is there, and is the one that is used"),
    _error("BP-E04", "one distribution owns the module onnxruntime"),
    _error("BP-E05", "the engine's CUDA and cuDNN libraries can be loaded"),
    _warning("BP-E06", "torch and ONNX Runtime use one major version of CUDA"),
    _error("BP-E07", "the driver is new enough for the engine's CUDA"),
    _error("BP-E08", "packages are those that the bundle pins, or was packed with"),
    _error("BP-E09", "no installed pair of packages is known to fail"),
    _error("BP-E10", "the C library and the architecture suit the engines"),
    _error("BP-E11", "the engine of the format is installed"),
    _warning("BP-E12", "the environment is the one of packing, and of the first placement"),
    _error("BP-H01", "the GPU's compute capability suits the engine's build and the profile"),
    _error("BP-H02", "the GPU has the memory that the model needs"),
    _error("BP-H03", "no part is compiled for one GPU"),
    _error("BP-H04", "the CPU has the instructions that are asked for"),
    _error("BP-H05", "engine threads of all replicas fit the CPUs"),
    _error("BP-H06", "all replicas fit the memory limit"),
    _error("BP-H07", "the GPU can be used: MIG, compute mode, other processes"),
    _error("BP-H08", "a node fits one of the profiles that are asked for", is_waivable=False),
    _warning("BP-H09", "the profile is the first choice"),
    _error("BP-H10", "the profiles that are asked for are defined", is_waivable=False),
    _error("BP-C01", "configured tensors are those of the model"),
    _error("BP-C02", "the first dimension is free where batching is claimed"),
    _error("BP-C03", "rows of a batch do not touch each other", is_waivable=False),
    _error("BP-C04", "batch sizes, delays, timeouts and replicas make sense together"),
    _error("BP-C05", "the configuration can be read", is_waivable=False),
    _error("BP-C06", "names and version numbers can be used", is_waivable=False),
    _warning("BP-C07", "every field of the configuration acts"),
    _error("BP-R01", "golden inputs give the golden outputs, within their tolerance"),
    _error("BP-R02", "outputs are finite"),
    _error("BP-R03", "outputs have the declared shape and datatype"),
    _warning("BP-R04", "runs are within the latency budget"),
    _warning("BP-R05", "the same inputs give the same bits"),
    _warning("BP-R06", "memory does not grow from run to run"),
    _error("BP-R07", "the engine loads the model", is_waivable=False),
    _warning("BP-R08", "the model runs on made-up inputs"),
    _error("BP-D01", "the data contract is about this model and its reference data"),
    _error("BP-D02", "reference and training data are not older than the contract allows"),
    _info("BP-M01", "a model card and golden samples are there"),
)
CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType({entry.code: entry for entry in _ENTRIES})


def found(
    code: str,
    subject: str,
    message: str,
    fix: str,
    *,
    evidence: Evidence = NOTHING,
    severity: Severity | None = None,
) -> Finding:
    """Make a finding of the catalogue.

    Args:
        code: A code of the catalogue.
        subject: What it is about: a file, a tensor, a node, a package.
        message: What is wrong, in one sentence.
        fix: What to do, as an instruction.
        evidence: What was found and required.
        severity: Milder than the catalogue's.
    """
    return Finding(
        code=code,
        severity=severity or CATALOGUE[code].severity,
        subject=subject,
        message=message,
        fix=fix,
        found=evidence.found,
        required=evidence.required,
    )
