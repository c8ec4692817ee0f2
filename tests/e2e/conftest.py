"""One instance on Ray for all tests that ask nothing special of it: `test_everyday_*.py`.

A start of Ray takes a minute on a busy machine. These files are the last ones of this folder, and
`test_everyday_the_end.py` is the last of them: no second Ray runs beside this one for long.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ray_instance import Instance, instance
from tests.fakes import models
from tests.fakes.sequence_models import ACCUMULATOR_CONFIG, accumulator
from tests.fakes.wheels import write_wheel

TWO_INSTANCES = "instance_group { count: 2 kind: KIND_CPU }"
SCALED = """
max_batch_size: 0
parameters { key: "min_replicas" value { string_value: "0" } }
parameters { key: "max_replicas" value { string_value: "2" } }
parameters { key: "scale_target_calls" value { string_value: "1" } }
parameters { key: "scale_down_delay" value { string_value: "2s" } }
parameters { key: "idle_to_zero" value { string_value: "4s" } }
"""


@pytest.fixture(scope="package")
def running() -> Iterator[Instance]:
    """An instance with a dashboard.

    Beside `plain` and `pair` it has `sums`, which is stateful and asks for two instances, `nap`,
    which is scaled, and `pinned`, which pins a package and is to be isolated.
    """
    with instance() as made:
        write_model(made, "sums", accumulator(), TWO_INSTANCES + ACCUMULATOR_CONFIG)
        write_model(made, "nap", models.slow(), SCALED)
        wheels = made.home / "wheels"
        write_wheel(wheels, "triton", "99.1")
        pip = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        made.environment |= pip
        made.environment["BASCULE_MODEL_CONTROL_MODE"] = "poll"  # a test changes a model's file
        push_pinned(made, made.home / "pack")
        started = made.up()
        assert started.returncode == 0, started.stderr
        yield made


def write_model(made: Instance, name: str, content: bytes, config: str) -> None:
    """Put a model into the instance's repository."""
    folder = made.home / "models" / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(content)
    (folder / "config.pbtxt").write_text(config)


def push_pinned(made: Instance, folder: Path) -> None:
    """Pack and push the version that pins a package."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(models.tiny())
    (folder / "lock.txt").write_text("triton==99.1\n")
    lock = ("--lock", str(folder / "lock.txt"), "--dependencies", "isolate")
    words = ("--name", "pinned", "--version", "1", *lock)
    bundle = str(folder / "bundle")
    packed = made.run("pack", str(folder / "model.onnx"), *words, "--output", bundle)
    assert packed.returncode == 0, packed.stderr
    pushed = made.run("push", bundle)
    assert pushed.returncode == 0, pushed.stderr
