"""A node's facts, measured on the machine that runs the tests and read off recorded texts."""

import pytest

from runtimes.engine_probe import assigned_texts, constants_of
from runtimes.memory import cgroup_memory
from runtimes.node_probe import cpu_of, probe
from tests.fakes.node_facts import T4
from tests.fakes.nvml import NO_LIBRARY, FakeNvml, fake_gpu

XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) CPU
flags\t\t: fpu sse2 avx2 fma avx512f
vmx flags\t: vnmi

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
NEOVERSE = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve bf16\nCPU part\t: 0xd40\n"


def test_this_machine_is_measured() -> None:
    """Every machine has an architecture, a CPU that may be used, memory and a Python."""
    facts = probe(nvml=FakeNvml([fake_gpu()]), labels={"zone": "a"})

    assert facts.gpus == (T4,)
    assert facts.cpu_count >= 1
    assert 0 < facts.free_memory_bytes <= facts.memory_bytes
    assert facts.packages["numpy"]
    assert facts.labels == {"zone": "a"}


def test_no_gpu_is_a_fact_too() -> None:
    """A node without NVML's library has facts like any other."""
    facts = probe(nvml=FakeNvml(problem=NO_LIBRARY))

    assert (facts.gpus, facts.gpu_problem) == ((), "NVML Shared Library Not Found")


@pytest.mark.parametrize(
    ("info", "model", "flags"),
    [
        (XEON, "Intel(R) Xeon(R) CPU", {"fpu", "sse2", "avx2", "fma", "avx512f"}),
        (NEOVERSE, "", {"fp", "asimd", "sve", "bf16"}),
        ("", "", set()),
    ],
    ids=["x86", "arm", "unreadable"],
)
def test_the_kernel_names_the_cpu(info: str, model: str, flags: set[str]) -> None:
    """Model and flags are the first processor's, on x86 and on Arm."""
    assert cpu_of(info) == (model, frozenset(flags))


def test_only_plain_texts_are_read_off_code() -> None:
    """Names that a module assigns texts to are read; all else in it is left alone, and not run."""
    code = "import gone\ncuda: Optional[str] = '13.0'\n__version__ = '2.11.0'\ndebug = False\n"

    assert assigned_texts(code) == {"cuda": "13.0", "__version__": "2.11.0"}
    assert constants_of("bascule_none", "version.py") is None


def test_the_tightest_cgroup_binds() -> None:
    """Limits of all folders above the process are found, in either version of cgroups."""
    files = {
        "/memory.max": "max\n",
        "a/memory.max": "1000\n",
        "a/memory.current": "700\n",
        "a/memory.stat": "anon 500\ninactive_file 150\n",
        "a/b/memory.max": "800\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }

    found = cgroup_memory("0::/a/b\n", lambda name: files.get(name, ""))

    assert found == [(9223372036854771712, 0), (1000, 550), (800, 0)]
