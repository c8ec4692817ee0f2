"""Who misspelt a name is asked the same question everywhere."""

from pathlib import Path

import pytest

from runtimes.misspelling import did_you_mean

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "lead", "said"),
    [
        ("shap", "", "did you mean shape?"),
        ("shap", "; ", "; did you mean shape?"),
        ("nothing like it", "; ", ""),
    ],
)
def test_the_nearest_name_is_asked_for(name: str, lead: str, said: str) -> None:
    """Where none is near nothing is said, not even what would part it from the rest."""
    assert did_you_mean(name, ("shape", "datatype"), lead) == said


def test_it_is_asked_in_one_place() -> None:
    """Others would find other names near, and say it in other words."""
    asking = [
        str(file.relative_to(ROOT))
        for folder in ("runtimes", "serving", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
        if "difflib" in (text := file.read_text()) or "id you mean" in text
    ]
    assert asking == ["runtimes/misspelling.py"]
