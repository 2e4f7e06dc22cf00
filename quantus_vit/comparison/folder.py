"""The result folder: one run at a time, one set of settings, and the logs that a run writes and a rerun goes on from.

Knows the protocol and the rows; nothing of how a score is made.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..files import locked
from .maps import MapStore
from .pictures import PictureStore
from .protocol import Protocol, load_config, save_config
from .scores import CsvLog, Curve, Failure, MaskArea, Note, Prediction, Score, TieBreak

__all__ = ["PICTURES", "SHARES", "Logs", "prepare"]

PICTURES = "pictures"
"""Folder of the cases' pictures."""

SHARES = "processes"
"""Folder of the logs of a run's processes, where there are several; see :mod:`.shares`."""


@dataclass(frozen=True)
class Logs:
    """The files of a run that grow, its maps, and the pictures of its cases, where it keeps them."""

    scores: CsvLog[Score]
    tie_breaks: CsvLog[TieBreak]
    predictions: CsvLog[Prediction]
    failures: CsvLog[Failure]
    notes: CsvLog[Note]
    curves: CsvLog[Curve]
    mask_areas: CsvLog[MaskArea]
    maps: MapStore
    pictures: PictureStore | None

    @classmethod
    def open(cls, folder: Path) -> Logs:
        """Read what is there; files that are missing are made.

        Raises
        ------
        ValueError
            A file is damaged; the message names it and the line.
        """
        return cls(
            CsvLog(folder / "scores.csv", Score),
            CsvLog(folder / "tie_breaks.csv", TieBreak),
            CsvLog(folder / "predictions.csv", Prediction),
            CsvLog(folder / "errors.csv", Failure),
            CsvLog(folder / "notes.csv", Note),
            CsvLog(folder / "curves.csv", Curve),
            CsvLog(folder / "mask_areas.csv", MaskArea),
            MapStore(folder / "maps"),
            PictureStore(folder / PICTURES),
        )

    def tables(self) -> dict[str, CsvLog[Any]]:
        """The files of rows, by their names here."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, CsvLog)}

    def clear(self) -> None:
        """Empty all of them."""
        for log in self.tables().values():
            log.replace([])
        self.maps.clear()
        if self.pictures is not None:
            self.pictures.clear()

    def absorb_shares(self, folder: Path) -> None:
        """Take over what the processes of a run have written into logs of their own, and remove these.

        A row that is here already is not taken twice, so that a crash in the middle costs nothing.

        Raises
        ------
        ValueError
            One of these processes is still writing, or a file is damaged.
        OSError
            A file cannot be written or removed.
        """
        if not (folder / SHARES).is_dir():
            return
        for place in sorted((folder / SHARES).glob("rank*")):
            with locked(place):
                shared = Logs.open(place).tables()
            for name, log in self.tables().items():
                held = set(map(repr, log.rows))  # by what stands in the file: nan is no value that equals itself
                log.append(row for row in shared[name].rows if repr(row) not in held)
        shutil.rmtree(folder / SHARES)

    def arrange(self, cases: Sequence[tuple[str, str]]) -> None:
        """Bring the rows into the order of their cases (path, label); rows of no such case come last.

        What is written before the score or prediction that it belongs to, a run that was killed in between has written
        twice: the last one belongs to it, and stays.
        """
        order = {case: number for number, case in enumerate(cases)}
        for log in self.tables().values():
            written_first = log.row_type in (TieBreak, Curve, MaskArea)
            once = list({row.key: row for row in log.rows}.values()) if written_first else log.rows
            rows = sorted(once, key=lambda row: order.get((row.path, row.label), len(order)))
            if list(map(id, rows)) != list(map(id, log.rows)):
                log.replace(rows)


def prepare(folder: Path, protocol: Protocol, environment: Mapping[str, Any]) -> Logs:
    """Make sure that what lies in a folder comes from the same settings, and save these.

    A folder with settings but without a score, as a run leaves that failed at once, is begun anew.

    Raises
    ------
    ValueError
        The folder holds scores of other settings (the message lists the differences), or a damaged file, or a
        process of an earlier run is still writing into it.
    """
    config = folder / "config.json"
    if not config.exists():
        if (folder / "scores.csv").exists():
            raise ValueError(f"{str(folder)!r} holds a scores.csv without config.json; take another folder")
        save_config(config, protocol, environment)
        return Logs.open(folder)
    logs = Logs.open(folder)
    logs.absorb_shares(folder)
    differences = _differences(config, protocol, has_scores=bool(logs.scores.rows))
    if differences and logs.scores.rows:
        raise ValueError(
            f"{str(folder)!r} holds scores of other settings; take another folder, or the settings of before. "
            f"Different: {'; '.join(differences)}"
        )
    if differences:
        logs.clear()
    save_config(config, protocol, environment)
    return logs


def _differences(config: Path, protocol: Protocol, has_scores: bool) -> list[str]:
    try:
        return protocol.differences(load_config(config))
    except ValueError as error:
        if has_scores:
            raise
        return [str(error)]
