"""What a file of labels says is what is posted."""

import json
from pathlib import Path

from serving.cli.label_files import read_label_posts


def test_names_of_classes_stay_as_a_file_writes_them(tmp_path: Path) -> None:
    """A number is one only if it is written like one."""
    texts = ["7", "-2", "0.5", "1.0", "01", "1_0", "nan", "inf", "1e3", "fraud"]
    lines = [f"id-{at},{text},{at}" for at, text in enumerate(texts)]
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(["prediction_id,label,row", *lines]))
    (body,) = read_label_posts(str(file))
    found = json.loads(body)

    assert [one["label"] for one in found] == [7, -2, 0.5, 1.0, *texts[4:]]
    assert [one["row"] for one in found] == list(range(len(texts)))
