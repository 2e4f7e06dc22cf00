"""Where the files of a run go: one picture, or a folder with pictures, sheets, maps and a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .formats import FORMATS, PictureFormat, format_of_name
from .inputs import InputImage, distinct, plain

__all__ = ["Places"]


@dataclass(frozen=True)
class Places:
    """The outputs of a run.

    Parameters
    ----------
    out : pathlib.Path
        The folder, or the one file.
    is_file : bool
        Which of them.
    formats : tuple of PictureFormat
    methods : tuple of str
        Labels of the methods.
    """

    out: Path
    is_file: bool
    formats: tuple[PictureFormat, ...]
    methods: tuple[str, ...]

    @classmethod
    def of(
        cls, out: str, formats: Sequence[str] | None, images: Sequence[InputImage], methods: Sequence[str]
    ) -> Places:
        """Decide where files go, and refuse before the work what cannot be written.

        Parameters
        ----------
        out : str
            A file whose name ends as one of a format; or a folder.
        formats : sequence of str, optional
            Names of formats; by default what the file's name says, or PNG.
        images : sequence of InputImage
        methods : sequence of str

        Raises
        ------
        ValueError
            An unknown format, or an end of the name that is none; several pictures for one file; one of the images as
            the file.
        FileNotFoundError
            The folder of the file is missing.
        """
        if not out.strip():
            raise ValueError("--out is empty; name a picture or a folder")
        path, named = Path(out), format_of_name(out)
        chosen = tuple(FORMATS[name] for name in dict.fromkeys(formats or ()))
        if named is None or path.is_dir():
            if path.is_file() or (path.suffix and not path.is_dir()):
                ends = ", ".join(suffix for entry in FORMATS for suffix in entry.suffixes)
                raise ValueError(f"--out must be a folder, or end with one of {ends}, got {out!r}")
            return cls(path, False, chosen or (FORMATS["png"],), tuple(methods))
        if len(images) * len(methods) > 1:
            raise ValueError(
                f"--out {out!r} is one picture, but the images ({len(images)}) and methods ({len(methods)}) need "
                f"{len(images) * len(methods)}; name a folder"
            )
        if chosen and chosen != (named,):
            raise ValueError(f"--out {out!r} is {named.name}, --format says {', '.join(e.name for e in chosen)}")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"no folder {str(path.parent)!r} to write {path.name!r} into")
        if any(os.path.realpath(path) == os.path.realpath(image.path) for image in images):
            raise ValueError(f"--out {out!r} is the image itself, which would be overwritten; name another file")
        return cls(path, True, (named,), tuple(methods))

    def prepare(self) -> None:
        """Make the folder."""
        if not self.is_file:
            self.out.mkdir(parents=True, exist_ok=True)

    def path(self, image: InputImage, method: str, entry: PictureFormat) -> Path:
        """File of one map in one format."""
        if self.is_file:
            return self.out
        spelled = dict(zip(self.methods, distinct(plain(name) for name in self.methods), strict=True))
        return self.out / f"{image.name}-{spelled[method]}{entry.suffix}"

    @property
    def sheet_suffix(self) -> str:
        """End of the names of contact sheets: PDF where all pictures are."""
        return ".pdf" if [entry.name for entry in self.formats] == ["pdf"] else ".png"
