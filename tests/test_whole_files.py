"""Files are written whole or not at all, and nothing else of the user's is touched."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from accelsim.base.whole_files import whole_file, write_text


def test_what_goes_wrong_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("before")
    with pytest.raises(ValueError, match="halfway"), whole_file(path) as stream:
        stream.write(b"half")
        raise ValueError("halfway")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["r.csv"]


def test_a_file_named_like_a_part_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "r.csv.part").write_text("mine")
    write_text("new", tmp_path / "r.csv")
    assert (tmp_path / "r.csv.part").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["r.csv", "r.csv.part"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, file = tmp_path / "r.csv", tmp_path / "there" / "real.csv"
    link.symlink_to(file)
    for text in ("first", "second"):
        write_text(text, link)
        assert link.is_symlink() and file.read_text() == f"{text}\n"


def test_the_mode_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    write_text("first", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    path.chmod(0o600)
    write_text("second", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_pipe_is_written_and_stays(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_text("through", pipe)
    reader.join(timeout=60)
    assert read == [b"through\n"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_written_and_stays() -> None:
    write_text("gone", Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
