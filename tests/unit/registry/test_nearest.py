"""What somebody is told who names what there is not."""

import pytest

from serving.registry.nearest import nearest


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("resnt", {"resnet", "iris"}, "did you mean resnet?"),
        ("zzz", {"resnet", "iris"}, "there are iris, resnet"),
        ("zzz", set(), "nothing is there yet (bascule push)"),
        (
            "zzz",
            {f"m{number:02}" for number in range(12)},
            "there are m00, m01, m02, m03, m04, m05, m06, m07, m08, m09 and 2 more",
        ),
    ],
)
def test_the_nearest_name_or_the_first_ones_are_told(name: str, known: set[str], told: str) -> None:
    """One that is like it, else those that there are, and how many more."""
    assert nearest(name, known) == told
