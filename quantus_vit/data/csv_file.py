"""One's own images in a table: a CSV file with a row an image."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .base import Annotation, Record, Task, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .lists import Rows, number, read_rows
from .masks import Boxes, ImageMask
from .places import identity_below, printable
from .splits import Fractions, check_patients, refuse_fractions, select_split, split_named

__all__ = ["CSV", "open_csv"]

_MASK, _BOX = "mask:", "box:"
_TRUTHS = {"0": False, "0.0": False, "1": True, "1.0": True}
_TRIED = 20
"""Images looked for when the table is read, to tell a wrong folder early."""


def open_csv(
    path: str | os.PathLike[str],
    split: str = "Test",
    root: str | os.PathLike[str] | None = None,
    findings: Sequence[str] | None = None,
    fractions: Fractions | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open the images that a CSV file lists.

    Parameters
    ----------
    path : path
        Columns: ``path`` (below ``root``, or absolute); ``label`` (the class), or one column of 0 and 1 a finding;
        optional ``patient``, ``split`` ("Train", "Val", "Test"), ``mask:<finding>`` (an image file, below ``root``)
        and ``box:<finding>`` ("x y w h" in pixels of the image file, several boxes parted by ";").
    split : str
        "Train", "Val" or "Test". Without a column ``split`` all images are "Test".
    root : path, optional
        Folder that paths start from; by default that of the CSV file.
    findings : sequence of str, optional
        The columns of 0 and 1. By default, where there is no ``label``, all columns that have no other meaning.
    fractions : tuple of float, optional
        Shares of the splits of a table without them, see :func:`quantus_vit.data.splits.select_split`.
    pixel_range : tuple of float, optional
        Stored values of black and white.

    Returns
    -------
    XrayDataset
        With ``label`` multiclass, the classes of all splits in alphabetical order; with one finding binary; with
        several multilabel.

    Raises
    ------
    FileNotFoundError
        The table is missing, or none of the first images is where it says.
    ValueError
        A column is missing, a cell holds something else, an image has two labels, or a patient is in two splits; the
        message names line, column and value.
    """
    split = check_split(split)
    if os.path.isdir(path):
        raise FileNotFoundError(f"{os.fspath(path)!r} is a folder; csv: takes a table, folder:DIR a folder of images")
    table = read_rows(path, ["path"])
    name = repr(table.path)
    columns = _Columns.of(table, findings)
    if columns.part is not None:
        refuse_fractions(name, fractions)
    base = os.fspath(root) if root is not None else os.path.dirname(os.path.abspath(table.path))
    listed: dict[str, list[Record]] = {}
    for line, cells in table.rows:
        record = columns.record(table, line, cells, base)
        listed.setdefault(columns.split(table, line, cells), []).append(record)
    everything = [record for records in listed.values() for record in records]
    if not everything:
        raise ValueError(f"{name} lists no images")
    if not any(os.path.exists(record.path) for record in everything[:_TRIED]):
        raise FileNotFoundError(
            f"no image {everything[0].path!r}, nor other images of {name}; its paths start from {base!r} (option root)"
        )
    listed = _united(name, listed)
    check_patients(name, listed)
    classes = columns.findings or tuple(sorted({label for record in everything for label in record.labels}))
    if "" in listed:
        records = select_split(name, listed[""], split, fractions)
    elif split in listed:
        records = listed[split]
    else:
        raise ValueError(f"{name} has no {split!r} in its column 'split'; it has {', '.join(map(repr, listed))}")
    title = os.path.splitext(os.path.basename(table.path))[0]
    return XrayDataset(printable(title), classes, columns.task, split, records, pixel_range)


def _united(name: str, listed: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """One record an image: rows of one image must agree, their boxes are united."""
    seen: dict[str, tuple[str, Record]] = {}
    repeated = 0
    for split, records in listed.items():
        for record in records:
            before = seen.get(record.identity)
            if before is None:
                seen[record.identity] = (split, record)
                continue
            repeated += 1
            for word, first, second in (
                ("labels", before[1].labels, record.labels),
                ("patients", before[1].patient, record.patient),
                ("splits", before[0], split),
            ):
                if first != second:
                    raise ValueError(
                        f"{name} lists {record.identity!r} twice, with the {word} {first!r} and {second!r}"
                    )
            seen[record.identity] = (split, _with_boxes_of(name, before[1], record))
    if repeated:
        warnings.warn(
            f"{repeated} rows of {name} name an image of an earlier row; it is taken once, with the boxes of all rows",
            stacklevel=3,
        )
    united: dict[str, list[Record]] = {split: [] for split in listed}
    for split, record in seen.values():
        united[split].append(record)
    return united


def _with_boxes_of(name: str, first: Record, second: Record) -> Record:
    annotations = dict(first.annotations)
    for finding, annotation in second.annotations.items():
        mine, other = annotations.setdefault(finding, annotation).read, annotation.read
        if isinstance(mine, Boxes) and isinstance(other, Boxes):
            boxes = tuple(dict.fromkeys(mine.boxes + other.boxes))
            annotations[finding] = Annotation("box", replace(mine, boxes=boxes))
        elif mine != other:
            raise ValueError(f"{name} lists {first.identity!r} twice, with two masks of {finding!r}; unite them in one")
    return replace(first, annotations=annotations)


@dataclass(frozen=True)
class _Columns:
    """Which column means what: places in a row, and findings by name."""

    path: int
    label: int | None
    patient: int | None
    part: int | None
    findings: tuple[str, ...]
    truths: tuple[int, ...]
    masks: tuple[tuple[str, int], ...]
    boxes: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, table: Rows, findings: Sequence[str] | None) -> _Columns:
        """Read the header."""
        names = table.columns
        repeated = sorted({name for name in names if name and names.count(name) > 1})
        if repeated:
            raise ValueError(f"{table.path!r} has the column {repeated[0]!r} twice")
        label = names.index("label") if "label" in names and findings is None else None
        if isinstance(findings, str):
            findings = [findings] if findings in names else [name.strip() for name in findings.split(",")]
        if findings is None:
            findings = [] if label is not None else [name for name in names if name and not _has_meaning(name)]
        missing = [name for name in findings if name not in names]
        if missing:
            raise ValueError(f"{table.path!r} has no column {missing[0]!r} of a finding; it has {', '.join(names)}")
        if label is None and not findings:
            raise ValueError(f"{table.path!r} needs a column 'label', or one of 0 and 1 for each finding")
        return cls(
            path=names.index("path"),
            label=label,
            patient=names.index("patient") if "patient" in names else None,
            part=names.index("split") if "split" in names else None,
            findings=tuple(findings),
            truths=tuple(names.index(name) for name in findings),
            masks=_annotation_columns(names, _MASK),
            boxes=_annotation_columns(names, _BOX),
        )

    @property
    def task(self) -> Task:
        """What the labels are."""
        if self.label is not None:
            return "multiclass"
        return "binary" if len(self.findings) == 1 else "multilabel"

    def split(self, table: Rows, line: int, cells: list[str]) -> str:
        """The split of a row; "" where the table has none."""
        if self.part is None:
            return ""
        split = split_named(cells[self.part])
        if split is None:
            raise table.error(line, f"split must be Train, Val or Test, got {cells[self.part]!r}")
        return split

    def record(self, table: Rows, line: int, cells: list[str], base: str) -> Record:
        """The record of a row."""
        place = cells[self.path]
        if not place:
            raise table.error(line, "path is empty")
        path = os.path.join(base, place)
        return Record(
            identity=identity_below(path, base),
            path=path,
            patient=(cells[self.patient] or None) if self.patient is not None else None,
            labels=self._labels(table, line, cells),
            annotations=self._annotations(table, line, cells, base, path),
        )

    def _labels(self, table: Rows, line: int, cells: list[str]) -> tuple[str, ...]:
        if self.label is not None:
            if not cells[self.label]:
                raise table.error(line, "label is empty")
            return (cells[self.label],)
        try:
            return tuple(name for name, at in zip(self.findings, self.truths, strict=True) if _TRUTHS[cells[at]])
        except KeyError:
            name, value = next(
                (name, cells[at])
                for name, at in zip(self.findings, self.truths, strict=True)
                if cells[at] not in _TRUTHS
            )
        raise table.error(
            line,
            f"the finding {name!r} must be 0 or 1, got {value!r}; if the column is no finding, remove it or name the "
            "findings with the option findings",
        )

    def _annotations(self, table: Rows, line: int, cells: list[str], base: str, path: str) -> dict[str, Annotation]:
        found = {}
        for finding, at in self.masks:
            if cells[at]:
                found[finding] = Annotation("pixel", ImageMask(os.path.join(base, cells[at])))
        for finding, at in self.boxes:
            if not cells[at]:
                continue
            if finding in found:
                raise table.error(line, f"both mask:{finding} and box:{finding} are given; leave one empty")
            found[finding] = Annotation("box", Boxes(path, _boxes(table, line, finding, cells[at]), path))
        return found


def _has_meaning(name: str) -> bool:
    return name in ("path", "label", "patient", "split") or name.startswith((_MASK, _BOX))


def _annotation_columns(names: tuple[str, ...], prefix: str) -> tuple[tuple[str, int], ...]:
    return tuple((name[len(prefix) :].strip(), at) for at, name in enumerate(names) if name.startswith(prefix))


def _boxes(table: Rows, line: int, finding: str, cell: str) -> tuple[tuple[float, float, float, float], ...]:
    boxes = []
    for text in cell.split(";"):
        words = text.replace(",", " ").split()
        if not words:
            continue
        numbers = [number(table, line, f"box:{finding}", word) for word in words]
        if len(numbers) != 4 or min(numbers[2:]) <= 0 or not all(map(math.isfinite, numbers)):
            raise table.error(line, f"box:{finding} must be 'x y w h' in pixels, got {text.strip()!r}")
        boxes.append((numbers[0], numbers[1], numbers[2], numbers[3]))
    return tuple(boxes)


CSV = DatasetSpec(
    name="csv",
    summary="a table of your own images: path, label or a column of 0 and 1 a finding, patient, split, masks, boxes",
    usage="csv:FILE",
    open=open_csv,
    options={
        "root": "folder that paths start from (that of the CSV file)",
        "findings": "names of the columns of 0 and 1, a sequence or a text with commas between them",
        "fractions": "shares of Train, Val and Test, by patient, of a table without a column split",
        "pixel_range": "stored values of black and white",
    },
)
