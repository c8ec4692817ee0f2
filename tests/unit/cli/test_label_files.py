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


def test_a_file_that_a_spreadsheet_has_saved_is_read(tmp_path: Path) -> None:
    """It begins with a byte order mark, which is no part of the first column's name."""
    file = tmp_path / "labels.csv"
    file.write_bytes(b"\xef\xbb\xbfprediction_id,label\r\nid-1,cat\r\n")

    assert [json.loads(body) for body in read_label_posts(str(file))] == [
        [{"prediction_id": "id-1", "label": "cat"}]
    ]


def test_only_the_end_of_a_line_ends_a_line_of_json(tmp_path: Path) -> None:
    """JSON may have what Python takes for one: U+2028 is a character like others."""
    file = tmp_path / "labels.jsonl"
    label = {"prediction_id": "id-1", "label": "two\u2028lines"}
    file.write_text(f"{json.dumps(label, ensure_ascii=False)}\n\n", encoding="utf-8")

    assert [json.loads(body) for body in read_label_posts(str(file))] == [[label]]
