"""Pure: do the installed engines, libraries and packages suit a version?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from runtimes.facts import NodeFacts
from runtimes.findings import Finding, Severity
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.choice import Choice, choice_of
from runtimes.preflight.subject import PackedEnvironment, Pins, Subject
from runtimes.profile_fit import version_numbers

# Oldest driver of each major version of CUDA, from NVIDIA's compatibility table.
MIN_DRIVERS: Final = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
MIN_GLIBC: Final = (2, 28)
"""Of the wheels of both engines: manylinux_2_28."""
ARCHITECTURES: Final = frozenset({"x86_64", "aarch64", "AMD64", "arm64"})
ENGINE_OF_FORMAT: Final = {
    "onnx": "onnxruntime",
    "torchscript": "torch",
    "torch_export": "torch",
}
TWINS: Final = {"onnxruntime": "onnxruntime-gpu", "onnxruntime-gpu": "onnxruntime"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadPair:
    """Two packages that fail together, as far as it is known."""

    first: str
    first_below: tuple[int, ...]
    second: str
    second_from: tuple[int, ...]
    effect: str
    fix: str


KNOWN_BAD: Final = (
    BadPair(
        first="onnxruntime",
        first_below=(1, 19),
        second="numpy",
        second_from=(2,),
        effect="it was built for NumPy 1 and cannot be imported with NumPy 2",
        fix="python -m pip install 'onnxruntime-gpu>=1.19'",
    ),
    BadPair(
        first="torch",
        first_below=(2, 3),
        second="numpy",
        second_from=(2,),
        effect="it was built for NumPy 1: tensors cannot be turned into arrays",
        fix="python -m pip install 'torch>=2.3'",
    ),
)


def check_environment(subject: Subject) -> Iterator[Finding]:
    """Yield what does not suit a version in the software of its node."""
    yield from _pins(subject.pins)
    choice = choice_of(subject)
    if subject.placement is None or choice is None:
        return
    node, engine = subject.placement.node, ENGINE_OF_FORMAT.get(subject.format, "")
    yield from _system(node, subject.packed)
    yield from _engine(node, engine)
    if choice.is_cuda:
        yield from _cuda(node, engine, choice)
    if subject.packed is not None:
        yield from _packed(node, engine, subject.packed)
    yield from _known_bad(node)


def _pins(pins: Pins) -> Iterator[Finding]:
    if pins.problem:
        yield found("BP-E08", "lock file", pins.problem, "correct the lock file and pack again")
    if pins.policy == "isolate" or not pins.mismatches:
        return
    first = pins.mismatches[0]
    more = f" (and {len(pins.mismatches) - 1} more)" if len(pins.mismatches) > 1 else ""
    yield found(
        "BP-E08",
        first.name,
        f"{first.name} {first.wanted} is pinned and {first.found or 'none'} is installed{more}",
        pins.command or "install what the bundle pins",
        evidence=Evidence(first.found, first.wanted),
        severity=Severity.ERROR if pins.policy == "refuse" else Severity.WARNING,
    )


def _system(node: NodeFacts, packed: PackedEnvironment | None) -> Iterator[Finding]:
    name, _, number = node.libc.partition(" ")
    glibc = version_numbers(number)
    if name == "musl" or (glibc and glibc < MIN_GLIBC):
        yield found(
            "BP-E10",
            "libc",
            f"the C library is {node.libc}, and the engines' wheels need glibc 2.28",
            "use an image with glibc 2.28 or newer, such as Debian 12 or Ubuntu 22.04",
            evidence=Evidence(node.libc, "glibc >= 2.28"),
        )
    if node.machine not in ARCHITECTURES:
        yield found(
            "BP-E10",
            "architecture",
            f"there is no engine for {node.machine}",
            "use a node with an x86-64 or a 64-bit ARM processor",
            evidence=Evidence(node.machine, "x86_64, aarch64"),
        )
    elif packed and packed.machine and packed.machine != node.machine:
        yield found(
            "BP-E10",
            "architecture",
            f"it was packed on {packed.machine} and shall run on {node.machine}: results differ in "
            "their last bits",
            "replay its golden samples here before it takes traffic (--dynamic)",
            evidence=Evidence(node.machine, packed.machine),
            severity=Severity.WARNING,
        )


def _engine(node: NodeFacts, engine: str) -> Iterator[Finding]:
    facts = node.onnxruntime if engine == "onnxruntime" else node.torch
    if engine and facts is None:
        package = "onnxruntime-gpu" if engine == "onnxruntime" else "torch"
        yield found(
            "BP-E11",
            engine,
            f"{engine} is not installed on the node, and nothing else runs this format",
            f"python -m pip install {package}",
            evidence=Evidence("", engine),
        )
    ort = node.onnxruntime
    if engine == "onnxruntime" and ort and len(ort.distributions) > 1:
        both = " and ".join(ort.distributions)
        yield found(
            "BP-E04",
            "onnxruntime",
            f"{both} are both installed and write over each other's files",
            f"python -m pip uninstall -y {' '.join(ort.distributions)} && "
            "python -m pip install onnxruntime-gpu",
            evidence=Evidence(both, "one of them"),
        )


def _cuda(node: NodeFacts, engine: str, choice: Choice) -> Iterator[Finding]:
    if not node.gpus or engine not in {"onnxruntime", "torch"}:
        return  # the hardware checks say that there is none
    facts = node.onnxruntime if engine == "onnxruntime" else node.torch
    if facts is None or (engine == "onnxruntime" and len(_distributions(node)) > 1):
        return
    if not facts.cuda_version:
        wheel = "onnxruntime-gpu" if engine == "onnxruntime" else "a CUDA build of torch"
        yield found(
            "BP-E05",
            engine,
            f"{engine} {facts.version} was built without CUDA, and profile {choice.profile.name} "
            "asks for a GPU",
            f"install {wheel}, or serve the model with profile cpu",
            evidence=Evidence("a CPU build", "a CUDA build"),
        )
        return
    old = tuple(_old_driver(node, engine, facts.cuda_version))
    yield from old
    if facts.cuda_problem and not old:
        yield found(
            "BP-E05",
            engine,
            f"{engine} {facts.version} needs CUDA {facts.cuda_version} and cannot load it: "
            f"{facts.cuda_problem}",
            "python -m pip install 'bascule[gpu]', or serve the model with profile cpu",
            evidence=Evidence(facts.cuda_problem, f"CUDA {facts.cuda_version}"),
        )
    yield from _two_cudas(node)


def _distributions(node: NodeFacts) -> tuple[str, ...]:
    return node.onnxruntime.distributions if node.onnxruntime else ()


def _old_driver(node: NodeFacts, engine: str, cuda: str) -> Iterator[Finding]:
    major = (version_numbers(cuda) or (0,))[0]
    oldest = MIN_DRIVERS.get(major, "")
    if node.driver and oldest and version_numbers(node.driver) < version_numbers(oldest):
        yield found(
            "BP-E07",
            "driver",
            f"NVIDIA driver {node.driver} is older than {oldest}, which CUDA {major} of {engine} "
            "needs",
            f"install NVIDIA driver {oldest} or newer, or an {engine} for an older CUDA",
            evidence=Evidence(node.driver, f">= {oldest}"),
        )


def _two_cudas(node: NodeFacts) -> Iterator[Finding]:
    ort = node.onnxruntime.cuda_version if node.onnxruntime else ""
    torch = node.torch.cuda_version if node.torch else ""
    majors = [version_numbers(text)[:1] for text in (ort, torch)]
    if ort and torch and majors[0] != majors[1]:
        yield found(
            "BP-E06",
            "cuda",
            f"ONNX Runtime uses CUDA {ort} and torch CUDA {torch}: a process that loads both has "
            "two cuDNN",
            "install builds for one major version of CUDA, or keep the formats in pools of their "
            "own",
            evidence=Evidence(f"{ort}, {torch}", "one major version"),
        )


def _packed(node: NodeFacts, engine: str, packed: PackedEnvironment) -> Iterator[Finding]:
    names = ("numpy", engine) if engine else ("numpy",)
    packages = [(n, _version(packed.packages, n), _version(node.packages, n)) for n in names]
    for name, then, now in [("python", packed.python, node.python), *packages]:
        before, here = version_numbers(then), version_numbers(now)
        if not before or not here or before[:2] == here[:2]:
            continue
        is_major = before[0] != here[0]
        remedy = (
            f"use a node with Python {before[0]}"
            if name == "python"
            else f"python -m pip install '{name}=={before[0]}.*'"
        )
        yield found(
            "BP-E08",
            name,
            f"it was packed with {name} {then} and shall run with {now}",
            f"{remedy}, or pack the bundle again here"
            if is_major
            else "replay its golden samples here (--dynamic), or pack the bundle again",
            evidence=Evidence(now, then),
            severity=Severity.ERROR if is_major else Severity.INFO,
        )


def _version(packages: Mapping[str, str], name: str) -> str:
    """Return the version of a package, or of the one that stands for it."""
    return packages.get(name) or packages.get(TWINS.get(name, ""), "")


def _known_bad(node: NodeFacts) -> Iterator[Finding]:
    for pair in KNOWN_BAD:
        first, second = _version(node.packages, pair.first), _version(node.packages, pair.second)
        if (
            first
            and second
            and version_numbers(first) < pair.first_below
            and version_numbers(second) >= pair.second_from
        ):
            yield found(
                "BP-E09",
                pair.first,
                f"{pair.first} {first} fails with {pair.second} {second}: {pair.effect}",
                pair.fix,
                evidence=Evidence(f"{first}, {second}", ""),
            )
