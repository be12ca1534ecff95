"""What is known of files, folder by folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cl_bench.data import index


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "cache"))


def test_what_is_kept_of_a_folder_is_neither_read_nor_written_for_another(tmp_path: Path) -> None:
    index.write("hashes", 1, tmp_path / "a", {"1.jpg": [1, 2, "x"]})
    first = index.place("hashes", tmp_path / "a").read_bytes()
    index.write("hashes", 1, tmp_path / "b", {"1.jpg": [3, 4, "y"]})
    assert index.place("hashes", tmp_path / "a").read_bytes() == first
    assert index.read("hashes", 1, tmp_path / "a") == {"1.jpg": [1, 2, "x"]}
    assert index.read("hashes", 1, tmp_path / "b") == {"1.jpg": [3, 4, "y"]}
    assert index.read("readings", 1, tmp_path / "a") == {}


def test_a_folder_is_the_same_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert index.place("hashes", Path("a")) == index.place("hashes", tmp_path / "a")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"schema": 1, "files": {"a": 3}}', b'{"schema": 1}', b"\xff", b'{"a": ']
)
def test_what_is_damaged_is_nothing(tmp_path: Path, content: bytes) -> None:
    index.write("hashes", 1, tmp_path, {"1.jpg": [1]})
    index.place("hashes", tmp_path).write_bytes(content)
    assert index.read("hashes", 1, tmp_path) == {}


def test_another_schema_is_nothing(tmp_path: Path) -> None:
    index.write("hashes", 1, tmp_path, {"1.jpg": [1]})
    assert index.read("hashes", 2, tmp_path) == {}


def test_files_are_dealt_out_by_their_folders(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "1", tmp_path / "b" / "1", tmp_path / "a" / "2"]
    assert index.by_folder(paths) == {tmp_path / "a": [paths[0], paths[2]], tmp_path / "b": [paths[1]]}


def test_a_folder_whose_name_is_no_text_has_an_index(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    index.write("hashes", 1, folder, {"1.jpg": [1]})
    assert index.read("hashes", 1, folder) == {"1.jpg": [1]}
