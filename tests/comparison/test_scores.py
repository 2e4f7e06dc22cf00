from __future__ import annotations

import math

import pytest

from quantus_vit.comparison.scores import CsvLog, Score

ROW = Score('folder, "quoted"/x (1).png', 1, 2, 1, "TransformerLRP", "FaithfulnessEstimate[baseline=0.0]", 0.1 + 0.2)


def test_rows_come_back_exactly(tmp_path) -> None:
    log = CsvLog(tmp_path / "scores.csv", Score)
    log.append([ROW])
    assert CsvLog(tmp_path / "scores.csv", Score).rows == log.rows == [ROW]
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == "path,label,predicted,target,method,metric,score"


def test_nan_comes_back(tmp_path) -> None:
    CsvLog(tmp_path / "scores.csv", Score).append([Score("a", 0, -1, -1, "m", "f", math.nan)])
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
    with pytest.raises(ValueError, match=r"scores\.csv' has columns \['a', 'b'\]"):
        CsvLog(path, Score)
    path.write_text("path,label,predicted,target,method,metric,score\na,0,0,0,m,f,good\n")
    with pytest.raises(ValueError, match=r"scores\.csv', line 2: could not convert"):
        CsvLog(path, Score)
