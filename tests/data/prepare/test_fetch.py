"""Downloads and archives, against a server on this machine that can be told to misbehave."""

from __future__ import annotations

import hashlib
import io
import socket
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import Server, serving

import cl_bench.data.prepare.fetch as fetching
from cl_bench.data.prepare.fetch import fetch, has_md5
from cl_bench.errors import UserError
from cl_bench.utils.archives import Limits, extract, read_members
from cl_bench.utils.files import write_whole


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as one:
        yield one


CONTENT = bytes(range(256)) * 40
PATH = "/set.tar"


def get(server: Server, folder: Path) -> Path:
    return fetch(server.url + PATH, folder / "set.tar", has_md5(hashlib.md5(CONTENT).hexdigest()))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_whole_with_progress_and_is_asked_for_again_only_where_damaged(
    server: Server, tmp_path: Path
) -> None:
    server.files[PATH] = CONTENT
    seen: list[tuple[str, int, int]] = []
    check = has_md5(hashlib.md5(CONTENT).hexdigest())
    target = fetch(server.url + PATH, tmp_path / "deep" / "set.tar", check, lambda *state: seen.append(state))
    assert target.read_bytes() == CONTENT
    assert names(tmp_path / "deep") == ["set.tar"]
    assert seen[-1] == ("download set.tar", len(CONTENT), len(CONTENT))
    fetch(server.url + PATH, target, check)
    assert len(server.requests) == 1
    target.write_bytes(b"damaged")
    assert fetch(server.url + PATH, target, check).read_bytes() == CONTENT


def test_of_two_that_fetch_at_once_one_waits(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: get(server, tmp_path).read_bytes(), range(4)))
    assert found == [CONTENT] * 4
    assert len(server.requests) == 1


def test_a_cut_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.files[PATH], server.cuts[PATH] = CONTENT, [1000, 500]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=1000-", "bytes=1500-"]


def test_a_later_call_goes_on_with_the_part_of_an_earlier_one(server: Server, tmp_path: Path) -> None:
    server.files[PATH], server.cuts[PATH] = CONTENT, [100] * fetching.ATTEMPTS
    with pytest.raises(UserError, match=f"cannot download {server.url}{PATH} in 5 attempts: .*cut after 500 of 10240"):
        get(server, tmp_path)
    assert names(tmp_path) == ["set.tar.part"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == (PATH, "bytes=500-")


@pytest.mark.parametrize(
    ("ranges", "shift", "asked"), [(False, 0, [None, "bytes=1000-"]), (True, 1, [None, "bytes=1000-", None])]
)
def test_a_server_that_sends_all_or_another_range_makes_it_start_over(
    server: Server, tmp_path: Path, ranges: bool, shift: int, asked: list[str | None]
) -> None:
    server.files[PATH], server.cuts[PATH], server.ranges, server.shift = CONTENT, [1000], ranges, shift
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [given for _, given in server.requests] == asked


def test_a_part_that_is_whole_already_is_taken(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT
    (tmp_path / "set.tar.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [(PATH, f"bytes={len(CONTENT)}-")]


def test_a_file_changed_between_attempts_is_an_error_and_the_part_goes(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT
    (tmp_path / "set.tar.part").write_bytes(b"of another file")
    with pytest.raises(UserError, match=f"{server.url}{PATH} is not the expected file .its MD5 is .* deleted"):
        get(server, tmp_path)
    assert names(tmp_path) == []
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_is_an_error(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT[:-1]
    with pytest.raises(UserError, match=f"and not {hashlib.md5(CONTENT).hexdigest()}"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server: Server, tmp_path: Path) -> None:
    server.files[PATH], server.statuses[PATH] = CONTENT, [503, 429]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3
    with pytest.raises(UserError, match=f"cannot download {server.url}/none: the server answered 404 Not Found"):
        fetch(f"{server.url}/none", tmp_path / "none", has_md5(""))
    assert len(server.requests) == 4
    with pytest.raises(UserError, match="'nowhere' is not an address"):
        fetch("nowhere", tmp_path / "none", has_md5(""))


def test_the_waits_double_and_end(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 1.0)
    monkeypatch.setattr(fetching.time, "sleep", waits.append)
    server.statuses[PATH] = [500] * 9
    with pytest.raises(UserError, match="500"):
        get(server, tmp_path)
    assert waits == [1, 2, 4, 8]


def test_no_server_is_one_sentence_with_the_address(tmp_path: Path, server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: the connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/set.tar"
        with pytest.raises(UserError, match=f"cannot download {url} in 5 attempts: Connection refused"):
            fetch(url, tmp_path / "set.tar", has_md5(""))
    assert names(tmp_path) == []


def test_a_silent_server_times_out(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/set.tar"
        with pytest.raises(UserError, match=f"cannot download {url} in 2 attempts: timed out"):
            fetch(url, tmp_path / "set.tar", has_md5(""))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence_with_the_address(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT
    (tmp_path / "set.tar.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=f"cannot store {server.url}{PATH} in .*set.tar.part: No space left on device"):
        get(server, tmp_path)
    assert len(server.requests) == 1
    with pytest.raises(UserError, match="cannot write /dev/full: No space left on device"):
        write_whole(Path("/dev/full"), CONTENT)


def tar_with(path: Path, *entries: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def zip_with(path: Path, info: zipfile.ZipInfo, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def entry(name: str, size: int = 1, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "\\\\host\\evil"])
@pytest.mark.parametrize("suffix", ["tar", "zip"])
def test_an_unsafe_path_is_refused_wanted_or_not(tmp_path: Path, name: str, suffix: str) -> None:
    if suffix == "tar":
        archive = tar_with(tmp_path / "a.tar", entry(name))
    else:
        archive = zip_with(tmp_path / "a.zip", zipfile.ZipInfo(name))
    for wanted in (True, False):
        with pytest.raises(UserError, match=r"a\.(tar|zip) holds the unsafe path .*evil"):
            list(read_members(archive, lambda _, wanted=wanted: wanted))
    assert names(tmp_path) == [archive.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar_with(tmp_path / "a.tar", entry("evil", 0, kind, "/etc/passwd"))
    with pytest.raises(UserError, match="'evil', a link or a device"):
        extract(archive, {"evil": tmp_path / "out"})
    assert names(tmp_path) == ["a.tar"]


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("evil")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    zip_with(tmp_path / "a.zip", info, b"/etc/passwd")
    with pytest.raises(UserError, match="'evil', a link or a device"):
        extract(tmp_path / "a.zip", {"evil": tmp_path / "out"})
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("suffix", ["tgz", "zip"])
def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, suffix: str) -> None:
    size = 1 << 20
    if suffix == "tgz":
        archive = tar_with(tmp_path / "a.tgz", entry("big", size), mode="w:gz")
    else:
        archive = zip_with(tmp_path / "a.zip", zipfile.ZipInfo("big"), b"x" * size)
    assert archive.stat().st_size < size / 100
    with pytest.raises(UserError, match="is cut short, or holds more than 9 members or 1048575 bytes: refused"):
        extract(archive, {"big": tmp_path / "out"}, Limits(9, size - 1))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="holds more than 0 members"):
        extract(archive, {"big": tmp_path / "out"}, Limits(0, size))
    extract(archive, {"big": tmp_path / "out"}, Limits(1, size))
    assert (tmp_path / "out").stat().st_size == size


def test_a_zip_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    archive = zip_with(tmp_path / "a.zip", zipfile.ZipInfo("big"), b"x" * 5000)
    archive.write_bytes(archive.read_bytes().replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(UserError, match=r"a\.zip is damaged"):
        list(read_members(archive, lambda _: True))


def test_members_that_cannot_be_read_are_damage(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as bundle:
        bundle.writestr("m", bytes(range(256)) * 20)
    content = bytearray(archive.read_bytes())
    content[45:60] = bytes(15)
    archive.write_bytes(content)
    with pytest.raises(UserError, match="is damaged or unreadable"):
        list(read_members(archive, lambda _: True))
    zip_with(archive, zipfile.ZipInfo("m"), b"x" * 50)
    encrypted = bytearray(archive.read_bytes())
    encrypted[6] |= 1  # the flag in the member's own header, and in the directory's
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(encrypted)
    with pytest.raises(UserError, match=r"is damaged or unreadable: .*encrypted"):
        list(read_members(archive, lambda _: True))


@pytest.mark.parametrize("mode", ["w", "w:gz", "zip"])
def test_a_truncated_archive_is_damaged(tmp_path: Path, mode: str) -> None:
    if mode == "zip":
        archive = zip_with(tmp_path / "a.zip", zipfile.ZipInfo("m"), b"x" * 5000)
    else:
        archive = tar_with(tmp_path / "a.tar", entry("m", 5000), mode=mode)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match="is damaged or unreadable"):
        extract(archive, {"m": tmp_path / "out"})
    assert not (tmp_path / "out").exists()


def test_only_wanted_members_are_written_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "a.tar", entry("./d", 0, tarfile.DIRTYPE), entry("./d/one"), entry("d/two", 2))
    extract(archive, {"d/one": tmp_path / "to" / "uno"})
    assert names(tmp_path / "to") == ["uno"]
    with pytest.raises(UserError, match=r"a\.tar has no d/three \(1 members are missing\)"):
        extract(archive, {"d/three": tmp_path / "x", "d/two": tmp_path / "y"})
