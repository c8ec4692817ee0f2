"""The example of GitOps that ships: a file that `bascule apply` takes."""

from pathlib import Path

from serving.cli.apply_plan import Seen, differences
from serving.cli.models_file import read_models_file

EXAMPLE = Path(__file__).parents[3] / "deploy" / "gitops" / "models.yaml"


def test_the_shipped_file_is_valid() -> None:
    """Every field is known, every value within its bounds, every plan can work."""
    assert [(one.model, one.version) for one in read_models_file(EXAMPLE)] == [
        ("fraud-score", 7),
        ("resnet", 3),
    ]


def test_a_diff_of_the_shipped_file_says_what_would_change() -> None:
    """Where other versions are live: approvals that are to be required, and two rollouts."""
    seen = Seen(
        live={"fraud-score": 6, "resnet": 2},
        versions={"fraud-score": frozenset({6, 7}), "resnet": frozenset({2, 3})},
        rules={},
        latest={},
    )
    found = differences(read_models_file(EXAMPLE), seen, retry=False)
    assert [one.text for one in found] == [
        "approvals 0 → 2",
        "live 6 → 7, canary 1%:10m, 10%:2000, 50%:10m",
        "live 2 → 3, blue-green",
    ]
    assert [one.blocked for one in found] == ["", "", ""]
