"""Files and folders that are whole at any moment."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from cl_bench.errors import UserError
from cl_bench.utils.files import whole_folder, write_whole
from cl_bench.utils.hashing import file_hash


def test_writes_are_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"cannot write .*file: No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert write_whole(tmp_path / "file", b"").stat().st_mode == plain.stat().st_mode


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    assert file_hash(write_whole(tmp_path / "file", content)) == hashlib.sha256(content).hexdigest()


def test_a_link_stays_one_and_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    write_whole(link, b"whole")
    assert link.is_symlink()
    assert target.read_bytes() == b"whole"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, b"heard")
        assert os.read(reading, 9) == b"heard"
    finally:
        os.close(reading)
    assert pipe.is_fifo()


def test_a_folder_is_there_whole_or_not_at_all_and_the_first_one_stays(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"

    def fail(error: BaseException) -> None:
        with whole_folder(folder) as draft:
            (draft / "file").touch()
            raise error

    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(UserError, match=f"cannot write to {folder.parent}: No space left"):
        fail(OSError(28, "No space left on device"))
    assert list(folder.parent.iterdir()) == []
    with whole_folder(folder, shared=True) as late, whole_folder(folder) as draft:
        (draft / "file").write_text("first")
        (late / "file").write_text("second")
    with pytest.raises(UserError, match=f"cannot write to {folder.parent}: "), whole_folder(folder) as draft:
        (draft / "file").write_text("not shared")
    assert list(folder.parent.iterdir()) == [folder]
    assert (folder / "file").read_text() == "first"
    (tmp_path / "plain").mkdir()
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode
