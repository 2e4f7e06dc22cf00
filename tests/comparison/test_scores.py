from __future__ import annotations

import math

import pytest

from quantus_vit.comparison.scores import CsvLog, Failure, Score

ROW = Score(
    'folder, "quoted"/x (1).png',
    "Non-COVID",
    "a, b|c",
    "Non-COVID",
    "TransformerLRP",
    "FaithfulnessEstimate[baseline=0.0]",
    0.1 + 0.2,
)


def test_rows_come_back_exactly(tmp_path) -> None:
    log = CsvLog(tmp_path / "scores.csv", Score)
    log.append([ROW])
    assert CsvLog(tmp_path / "scores.csv", Score).rows == log.rows == [ROW]
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == "path,label,predicted,target,method,metric,score"


def test_nan_comes_back(tmp_path) -> None:
    CsvLog(tmp_path / "scores.csv", Score).append([Score("a", "x", "", "", "m", "f", math.nan)])
    (row,) = CsvLog(tmp_path / "scores.csv", Score).rows
    assert math.isnan(row.score)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_line_cut_anywhere_is_dropped_and_the_log_goes_on(tmp_path, cut: int) -> None:
    path = tmp_path / "scores.csv"
    log = CsvLog(path, Score)
    log.append([ROW])
    whole = path.read_bytes()
    log.append([ROW])
    path.write_bytes(path.read_bytes()[:-cut])
    again = CsvLog(path, Score)
    assert again.rows == [ROW]
    assert path.read_bytes() == whole
    again.append([ROW])
    assert CsvLog(path, Score).rows == [ROW, ROW]


def test_a_cut_header_starts_anew(tmp_path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("path,lab")
    CsvLog(path, Score).append([ROW])
    assert CsvLog(path, Score).rows == [ROW]


def test_foreign_files_are_refused(tmp_path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"is damaged at line 1: the columns are a, b; expected path, label"):
        CsvLog(path, Score)
    path.write_text("path,label,predicted,target,method,metric,score\na,0,0,0,m,f,good\n")
    with pytest.raises(ValueError, match=r"scores\.csv' is damaged at line 2: could not convert"):
        CsvLog(path, Score)
    CsvLog(tmp_path / "long.csv", Score).append([ROW] * 3)
    content = (tmp_path / "long.csv").read_bytes().splitlines(keepends=True)
    for damage in (b"Foo\n", b"\xff\xfe\n", b'"open\n', b"a,b,c\n", b"\x00\n"):
        path.write_bytes(b"".join([*content[:2], damage, *content[2:]]))
        with pytest.raises(ValueError, match=r"scores\.csv' is damaged at line [1-5]: "):
            CsvLog(path, Score)

    path.write_bytes(b"".join([*content[:2], b"Foo\n", *content[2:]]))
    with pytest.raises(ValueError, match="line 3: 1 columns, expected 7"):
        CsvLog(path, Score)


def test_rows_are_replaced_as_a_whole(tmp_path) -> None:
    log = CsvLog(tmp_path / "scores.csv", Score)
    log.append([ROW, ROW])
    log.replace([ROW])
    assert log.rows == CsvLog(tmp_path / "scores.csv", Score).rows == [ROW]
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_names_that_are_no_text_are_written_with_escapes(tmp_path) -> None:
    log = CsvLog(tmp_path / "errors.csv", Failure)
    log.append([Failure("r\u00f6ntgen.png", "x", "", "", "image", "no file '\udcff.png'")])
    (row,) = CsvLog(tmp_path / "errors.csv", Failure).rows
    assert (row.path, row.error) == ("r\u00f6ntgen.png", "no file '\\udcff.png'")
