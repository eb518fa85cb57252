import json
import os
from pathlib import Path

import pytest

from deblur_cli.errors import PhotoError
from deblur_cli.journal import BusyError, Journal, results_in, stamp_of

MADE_WITH = {"weights": "abc", "strength": 1.0}


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def finish(folder: Path, source: Path, target: Path) -> None:
    with Journal(folder) as journal:
        journal.claim([target])
        journal.add(source, stamp_of(source), target, MADE_WITH)


@pytest.mark.parametrize("name", ["a.jpg", "ä ö%[1]\n.jpg", b"\xff\xfe.jpg", "x" * 251 + ".jpg"])
def test_what_is_written_is_read_again_whatever_the_name(name: str | bytes, tmp_path: Path) -> None:
    name = os.fsdecode(name)
    source, target = write(tmp_path / "in" / name), write(tmp_path / "out/sub" / name, b"result")
    finish(tmp_path / "out", source, target)
    journal = Journal(tmp_path / "out").read()
    entry = journal.entry(target)
    assert entry
    assert journal.is_of(entry, source, stamp_of(source))
    assert (entry.target_size, entry.made_with) == (6, MADE_WITH)
    assert results_in(tmp_path / "out") == [str(target)]
    assert all(line.isascii() for line in (tmp_path / "out/.deblur-journal.jsonl").read_text().splitlines())


def test_paths_are_relative_so_that_the_whole_may_be_moved(tmp_path: Path) -> None:
    source, target = write(tmp_path / "here/in/a.jpg"), write(tmp_path / "here/out/a.jpg")
    finish(tmp_path / "here/out", source, target)
    (tmp_path / "here").rename(tmp_path / "there")
    journal = Journal(tmp_path / "there/out").read()
    entry = journal.entry(tmp_path / "there/out/a.jpg")
    assert entry
    moved = tmp_path / "there/in/a.jpg"
    assert journal.is_of(entry, moved, stamp_of(moved))


def test_one_folder_by_two_names_is_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path / "out", write(tmp_path / "a.jpg"), write(tmp_path / "out/a.jpg"))
    monkeypatch.chdir(tmp_path)
    assert Journal(Path("out")).read().entry(Path("out/a.jpg"))
    assert Journal(Path("./out/../out")).read().entry(Path("out/a.jpg"))


def test_the_later_line_holds(tmp_path: Path) -> None:
    source, target = write(tmp_path / "a.jpg"), write(tmp_path / "out/a.jpg")
    finish(tmp_path / "out", source, target)
    write(target, b"longer")
    finish(tmp_path / "out", source, target)
    entry = Journal(tmp_path / "out").read().entry(target)
    assert entry
    assert entry.target_size == 6


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_line_cut_short_by_a_crash_is_cut_off(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "out/.deblur-journal.jsonl"
    first, second = tmp_path / "out/1.jpg", tmp_path / "out/2.jpg"
    finish(tmp_path / "out", write(tmp_path / "1.jpg"), write(first))
    whole = file.read_bytes()
    finish(tmp_path / "out", write(tmp_path / "2.jpg"), write(second))
    file.write_bytes(file.read_bytes()[:-cut])
    journal = Journal(tmp_path / "out").read()
    assert journal.entry(first)
    assert not journal.entry(second)
    finish(tmp_path / "out", tmp_path / "2.jpg", second)
    assert file.read_bytes().startswith(whole)
    assert [json.loads(line) for line in file.read_bytes().splitlines()]
    assert Journal(tmp_path / "out").read().entry(second)


@pytest.mark.parametrize(
    "line", ["", "null", "[]", "7", '{"source": 1}', '{"from": "the future"}', "\x00\x00"]
)
def test_a_line_that_makes_no_sense_says_nothing(line: str, tmp_path: Path) -> None:
    finish(tmp_path, write(tmp_path / "in/1.jpg"), write(tmp_path / "1.jpg"))
    with (tmp_path / ".deblur-journal.jsonl").open("a") as file:
        file.write(line + "\n")
    finish(tmp_path, write(tmp_path / "in/2.jpg"), write(tmp_path / "2.jpg"))
    journal = Journal(tmp_path).read()
    assert journal.entry(tmp_path / "1.jpg")
    assert journal.entry(tmp_path / "2.jpg")


def test_a_claim_tells_whose_an_unfinished_target_is(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.claim([tmp_path / "1.jpg", tmp_path / "2.jpg"])
        source = write(tmp_path / "in/1.jpg")
        journal.add(source, stamp_of(source), write(tmp_path / "1.jpg"), MADE_WITH)
    again = Journal(tmp_path).read()
    assert again.claimed(tmp_path / "2.jpg")
    assert not again.claimed(tmp_path / "3.jpg")
    assert again.unfinished() == [tmp_path / "2.jpg"]


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    assert not Journal(tmp_path / "out").read().results()
    assert not (tmp_path / "out").exists()


def test_two_batches_in_one_folder_are_refused_and_shares_are_not(tmp_path: Path) -> None:
    with Journal(tmp_path, "1-of-2"), Journal(tmp_path, "2-of-2"):
        for share in ("", "1-of-2"):
            with pytest.raises(BusyError, match=r"another deblur batch is writing here\n.*--shard"):
                Journal(tmp_path, share).__enter__()
    with Journal(tmp_path), pytest.raises(BusyError):
        Journal(tmp_path, "1-of-2").__enter__()
    with Journal(tmp_path):
        pass


def test_what_another_share_is_writing_is_not_ours_to_sweep(tmp_path: Path) -> None:
    with Journal(tmp_path, "1-of-2") as first:
        first.claim([tmp_path / "1.jpg"])
        with Journal(tmp_path, "2-of-2") as second:
            assert second.unfinished() == []
            second.claim([tmp_path / "2.jpg"])
    assert Journal(tmp_path, "2-of-2").read().unfinished() == [tmp_path / "2.jpg"]
    assert Journal(tmp_path).read().unfinished() == [tmp_path / "1.jpg", tmp_path / "2.jpg"]


def test_all_shares_journals_are_read(tmp_path: Path) -> None:
    for number in ("1", "2"):
        source, target = write(tmp_path / f"in/{number}.jpg"), write(tmp_path / f"{number}.jpg")
        with Journal(tmp_path, f"{number}-of-2") as journal:
            journal.add(source, stamp_of(source), target, MADE_WITH)
    assert len(Journal(tmp_path).read().results()) == 2


def test_a_folder_that_takes_no_journal(tmp_path: Path) -> None:
    write(tmp_path / "file")
    with pytest.raises(
        PhotoError, match=r"file/out/.deblur-journal.jsonl: the journal cannot be written: Not a dir"
    ):
        Journal(tmp_path / "file/out").__enter__()


def test_lines_are_synced_at_most_once_a_second_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    now = [100.0]
    monkeypatch.setattr("os.fsync", synced.append)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    source, target = write(tmp_path / "in/1.jpg"), write(tmp_path / "1.jpg")
    with Journal(tmp_path) as journal:
        for now[0] in (100, 100.2, 100.9, 101.0, 101.5):
            journal.add(source, stamp_of(source), target, MADE_WITH)
        assert len(synced) == 2
    assert len(synced) == 3


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = write(tmp_path / "in/1.jpg"), write(tmp_path / "1.jpg")
    finish(tmp_path, source, target)
    before = (tmp_path / ".deblur-journal.jsonl").read_bytes()

    class Full:
        def __init__(self, file: object) -> None:
            self.file = file
            self.calls = 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write(self, data: bytes) -> int:
            self.calls += 1
            if self.calls > 1:
                raise OSError(28, "No space left on device")
            return int(self.file.write(data[:10]))  # type: ignore[attr-defined]

    with Journal(tmp_path) as journal:
        journal._log._files[0] = Full(journal._log._files[0])  # type: ignore[attr-defined,call-overload]
        with pytest.raises(OSError, match="No space"):
            journal.add(source, stamp_of(source), target, MADE_WITH)
    assert (tmp_path / ".deblur-journal.jsonl").read_bytes() == before


def test_what_is_done_again_is_claimed_again(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in/1.jpg"), write(tmp_path / "1.jpg")
    with Journal(tmp_path) as journal:
        journal.claim([target])
        journal.add(source, stamp_of(source), target, MADE_WITH)
    with Journal(tmp_path) as journal:
        assert journal.unfinished() == []
        journal.claim([target])
    again = Journal(tmp_path).read()
    assert again.unfinished() == [target]
    assert again.results() == [str(target)]


def test_the_journal_that_was_written_last_holds(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in/1.jpg"), write(tmp_path / "1.jpg")
    for moment, (share, strength) in enumerate((("", 1.0), ("1-of-1", 0.5), ("", 0.25))):
        with Journal(tmp_path, share) as journal:
            journal.add(source, stamp_of(source), target, {"strength": strength})
        name = f".deblur-journal{'.' if share else ''}{share}.jsonl"
        os.utime(tmp_path / name, (moment, moment))
        entry = Journal(tmp_path).read().entry(target)
        assert entry is not None
        assert entry.made_with == {"strength": strength}
