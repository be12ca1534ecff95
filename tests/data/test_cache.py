"""Hashes, fingerprints and decoded images that are computed once."""

import copy
import json
import multiprocessing
import os
import pickle
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.data import cache, index
from cl_bench.data.base import Boxes, Example, Split
from cl_bench.data.images import decode_image, decode_mask
from cl_bench.errors import UserError

DECODED: list[str] = []


def noisy_decode(path: Path, size: int) -> np.ndarray:
    DECODED.append(path.name)
    return decode_image(path, size)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    DECODED.clear()
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CL_BENCH_CACHE_LIMIT_MB", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path):
    made = [tmp_path / f"{index}.png" for index in range(3)]
    for number, path in enumerate(made):
        Image.effect_noise((20, 12), 40 + number).convert("RGB").save(path)
    return made


def same(images, paths, size=8):
    return len(images) == len(paths) and all(
        np.array_equal(images[index], decode_image(path, size)) for index, path in enumerate(paths)
    )


def stored(place):
    return sorted((place / "images").iterdir())


def test_images_are_decoded_once(paths, place):
    assert same(cache.resized("key", paths, 8, noisy_decode), paths)
    DECODED.clear()
    images = cache.resized("key", paths, 8, noisy_decode)
    assert same(images, paths)
    assert DECODED == []
    assert [path.suffix for path in stored(place)] == [".npy"]
    with pytest.raises(IndexError):
        images[3]


def test_what_is_given_out_is_the_callers_own(paths):
    images = cache.resized("key", paths, 8, decode_image)
    images[0][:] = 0
    assert type(images[0]) is np.ndarray
    assert images[0].dtype == np.uint8
    assert same(images, paths)


def test_key_size_and_decoder_have_files_of_their_own(paths, place):
    for path in paths:
        Image.new("L", (20, 12), 7).save(path.with_suffix(".mask.png"))
    masks = [path.with_suffix(".mask.png") for path in paths]
    cache.resized("key", paths, 8, decode_image)
    cache.resized("other", paths, 8, decode_image)
    assert cache.resized("key", paths, 16, decode_image)[0].shape == (16, 16, 3)
    assert (cache.resized("key", masks, 8, decode_mask)[2] == np.full((8, 8), 7)).all()
    assert len(stored(place)) == 4


def test_over_the_limit_nothing_is_stored(paths, place, monkeypatch):
    need = 3 * 8 * 8 * 3
    assert same(cache.resized("key", paths, 8, noisy_decode, limit_bytes=need - 1), paths)
    assert not place.exists()
    monkeypatch.setenv("CL_BENCH_CACHE_LIMIT_MB", "0")
    assert same(cache.resized("key", paths, 8, noisy_decode), paths)
    assert not place.exists()
    assert same(cache.resized("key", paths, 8, noisy_decode, limit_bytes=need), paths)
    assert len(stored(place)) == 1
    monkeypatch.setenv("CL_BENCH_CACHE_LIMIT_MB", "much")
    with pytest.raises(UserError, match="CL_BENCH_CACHE_LIMIT_MB must be a whole number of megabytes, not 'much'"):
        cache.resized("new", paths, 8, decode_image)


def torn(content):
    return content[:-1]


def longer(content):
    return content + b"x"


def empty(content):
    return b""


def garbage(content):
    return b"PK" + b"\x80" * len(content)


def flipped(content):
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


def pickled(content):
    return pickle.dumps({"a": 1})


@pytest.mark.parametrize("damage", [torn, longer, empty, garbage, flipped, pickled])
def test_damaged_files_are_made_again(paths, place, damage):
    cache.resized("key", paths, 8, decode_image)
    (file,) = stored(place)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert same(cache.resized("key", paths, 8, decode_image), paths)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("wrong", [np.zeros((3, 8, 8, 3)), np.zeros((2, 8, 8, 3), np.uint8), np.zeros(4, np.uint8)])
def test_files_of_another_shape_or_type_are_made_again(paths, place, wrong):
    cache.resized("key", paths, 8, decode_image)
    (file,) = stored(place)
    np.save(file, wrong)
    assert same(cache.resized("key", paths, 8, decode_image), paths)


def test_a_file_that_cannot_be_decoded_leaves_nothing_behind(paths, place):
    paths[2].write_bytes(b"broken")
    with pytest.raises(UserError, match=r"2\.png cannot be decoded"):
        cache.resized("key", paths, 8, decode_image)
    assert stored(place) == []


def test_a_full_disk_is_said_and_leaves_nothing_behind(paths, place, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*\.npy: No space left on device"):
        cache.resized("key", paths, 8, decode_image)
    assert stored(place) == []


def test_pickles_and_copies_carry_no_pixels(paths):
    images = cache.resized("key", paths, 64, decode_image)
    content = pickle.dumps(images)
    assert len(content) < 1000
    assert same(pickle.loads(content), paths, 64)
    assert same(copy.deepcopy(images), paths, 64)


def test_no_paths_give_no_images():
    assert len(cache.resized("key", [], 8, decode_image)) == 0


def race(arguments):
    paths, place = arguments
    os.environ["CL_BENCH_CACHE"] = str(place)
    cache.file_hashes(paths)
    return same(cache.resized("key", paths, 8, noisy_decode), paths)


def test_processes_may_race(paths, place):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert all(pool.map(race, [(paths, place)] * 8, chunksize=1))
    assert len(stored(place)) == 1
    assert same(cache.resized("key", paths, 8, noisy_decode), paths)
    assert DECODED == []


def age(path, seconds=100):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - seconds * 10**9))


def test_hash_is_the_sha256_and_is_looked_up(paths, place, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED_NS", -1)
    expected = [sha256(path.read_bytes()).hexdigest() for path in paths]
    assert cache.file_hashes(paths) == expected
    monkeypatch.setattr(cache, "file_hash", lambda path: pytest.fail(f"{path} was read again"))
    assert cache.file_hashes(paths) == expected
    assert cache.file_hashes([paths[1]])[0] == expected[1]


def test_changed_files_are_hashed_again(paths):
    age(paths[0])
    before = cache.file_hashes([paths[0]])[0]
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[::-1])  # as long as before
    assert cache.file_hashes([paths[0]])[0] == sha256(content[::-1]).hexdigest() != before
    state = paths[0].stat()
    paths[0].write_bytes(content)  # within one tick of the clock, as a coarse file system would have it
    os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert cache.file_hashes([paths[0]])[0] == before


def test_what_took_the_place_of_a_file_with_its_size_and_time_is_hashed_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED_NS", -1)
    for folder, content in (("one", b"1"), ("two", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(content)
        age(tmp_path / folder / "file")
    path, link = tmp_path / "one" / "file", tmp_path / "link"
    link.symlink_to(tmp_path / "one")
    expected = [sha256(content).hexdigest() for content in (b"1", b"2")]
    assert cache.file_hashes([path, link / "file"]) == [expected[0]] * 2
    link.unlink()
    link.symlink_to(tmp_path / "two")
    assert cache.file_hashes([link / "file"]) == [expected[1]]
    (tmp_path / "two" / "file").replace(path)
    assert cache.file_hashes([path]) == [expected[1]]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 2, "files": {"a": 3}}', '{"schema": 1, "files": {}}', '{"a": ', "[" * 100_000]
)
def test_a_damaged_index_is_made_again(paths, place, content, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED_NS", -1)
    kept = index.place("hashes", paths[0].parent)
    kept.parent.mkdir(parents=True)
    kept.write_text(content)
    assert cache.file_hashes([paths[0]])[0] == sha256(paths[0].read_bytes()).hexdigest()
    assert list(json.loads(kept.read_text())["files"]) == [paths[0].name]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.jpg cannot be read"):
        cache.file_hashes([tmp_path / "gone.jpg"])


def boxes(x=1.5, label=0, crowd=False):
    return Boxes(np.array([[x, 2, 3, 4]], np.float32), np.array([label], np.int64), np.array([crowd]))


def test_fingerprint_does_not_depend_on_the_folder(paths, tmp_path):
    def split(root):
        return Split(("a", "b"), tuple(Example(f"n{i}", root / f"{i}.png", root / "2.png") for i in range(2)))

    shutil.copytree(tmp_path, tmp_path.parent / "elsewhere")
    here = cache.fingerprint(split(tmp_path))
    assert here == cache.fingerprint(split(tmp_path.parent / "elsewhere"))
    assert len(here) == 64
    Image.new("L", (20, 12), 3).save(tmp_path / "2.png")
    assert here != cache.fingerprint(split(tmp_path))


@pytest.mark.parametrize("target", [3, boxes()])
def test_fingerprint_depends_on_all_that_counts(paths, target):
    first = Split(("a", "b"), (Example("x", paths[0], target), Example("y", paths[1], 0)))

    def changed(**values):
        return replace(first, examples=(replace(first.examples[0], **values), first.examples[1]))

    others = [
        replace(first, classes=("b", "a")),
        replace(first, examples=first.examples[:1]),
        changed(name="z"),
        changed(image=paths[2]),
        changed(target=4),
        *(changed(target=boxes(**part)) for part in ({"x": 1.25}, {"label": 1}, {"crowd": True})),
    ]
    prints = [cache.fingerprint(split) for split in [first, *others]]
    assert len(set(prints)) == len(prints)
    assert cache.fingerprint(replace(first, notes=("said",))) == prints[0]
    assert cache.fingerprint(changed(target=np.int64(4))) == cache.fingerprint(changed(target=4))


def test_targets_that_no_json_holds_are_refused(paths):
    with pytest.raises(UserError, match="cannot be fingerprinted"):
        cache.fingerprint(Split(("a",), (Example("x", paths[0], object()),)))
