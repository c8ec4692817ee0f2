"""What a bundle says of itself cannot pass for what Bascule says of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from serving.cli.main import main
from serving.registry.bundles.manifest import Manifest, parse_manifest
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

FORGED = "\x1b[2J\x1b[1;1Hfine\r\n  signed by    alice\u202e"


def hostile(folder: Path) -> Path:
    """A bundle in which every free text forges a line."""
    bundle = make_bundle(folder)
    said: dict[str, Any] = json.loads(bundle.manifest.pretty())
    said |= {"notes": FORGED, "licence": FORGED}
    said["lineage"] |= {"training_data": FORGED, "code_revision": FORGED, "metrics": {FORGED: 1.0}}
    said["packed_on"] |= {"platform": FORGED, "python": FORGED, "packages": {FORGED: FORGED}}
    said["inputs"] = [{"name": FORGED, "datatype": "FP32", "shape": [4]}]
    manifest: Manifest = parse_manifest(json.dumps(said).encode(), "hostile")
    file = bundle.folder / "manifest.json"
    file.chmod(0o644)
    file.write_bytes(manifest.pretty())
    return bundle.folder


@pytest.mark.parametrize("command", ["inspect", "show", "diff", "history"])
def test_no_text_of_a_bundle_forges_a_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """Escape sequences and marks of direction are written out; further lines stand to the right."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    folder = hostile(tmp_path / "b")
    with Registry(tmp_path / "home") as registry:
        registry.push(make_bundle(tmp_path / "plain", version=2, content=b"n").folder, "ann")
        registry.push(folder, "ann", reason=FORGED)
    words = {
        "inspect": ["inspect", str(folder)],
        "show": ["show", "m:1"],
        "diff": ["diff", "m:2", "m:1"],
        "history": ["history", "m"],
    }

    with pytest.raises(SystemExit) as ended:
        main(words[command])

    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert "alice" in told
    assert not {"\x1b", "\r", "\u202e"} & set(told)
    assert [line for line in told.splitlines() if line.startswith("  signed by    alice")] == []
