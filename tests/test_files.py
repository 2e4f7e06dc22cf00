"""Folders that one process has to itself."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from quantus_vit import files
from quantus_vit.cli.result_folder import result_folder
from quantus_vit.files import locked


def test_a_locked_folder_keeps_others_out_until_it_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    with locked(folder), pytest.raises(ValueError, match=rf"another run \(process {os.getpid()}\) is writing into"):
        locked(folder).__enter__()
    with locked(folder):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match=r"the result folder '.*out' is a file; name a folder"):
        locked(tmp_path / "out").__enter__()


def test_a_file_system_without_locks_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(files, "_lock", refuse)
    with pytest.raises(OSError, match=r"the file system gives no locks .*; take a folder on another: '.*out'"):
        locked(tmp_path / "out").__enter__()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs the rights of Unix")
def test_a_place_that_cannot_be_written_is_told_before_the_work() -> None:
    """As nobody, since root may write wherever the file system is not read-only."""
    place = Path(tempfile.mkdtemp())
    (place / "closed").mkdir()
    user = os.geteuid()
    try:
        place.chmod(0o755)
        (place / "closed").chmod(0o555)
        if user == 0:
            os.seteuid(65534)
        for out in (place / "closed", place / "closed" / "new" / "deeper"):
            with pytest.raises(PermissionError, match=r"nothing can be written into '.*closed' \(Permission denied\)"):
                result_folder(str(out))
    finally:
        os.seteuid(user)
        shutil.rmtree(place)


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path) -> None:
    assert result_folder(str(tmp_path / "new")) == tmp_path / "new"
    assert list(tmp_path.iterdir()) == []
