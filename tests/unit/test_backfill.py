"""Files in pieces, bookmarks, and what is sent again: `retuned ingest` without a daemon."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retuned.api import Reply
from retuned.backfill.bookmark import Bookmark, Errand, Tally
from retuned.backfill.piece import Piece, TablePiece, TextPiece
from retuned.backfill.reading import pieces_of
from retuned.backfill.sender import PATIENCE_S, Sender
from retuned.errors import PermanentError, TransientError, Unreachable

TABLE = pa.table({"id": list(range(23)), "x": [n / 2 for n in range(23)]})
LINES = [orjson.dumps(record) + b"\n" for record in TABLE.to_pylist()]


def read(path: Path, position: int = 0, first: int = 0, batch_rows: int = 5) -> list[Piece]:
    opened = pieces_of(path, position=position, first=first, batch_rows=batch_rows)
    with opened as (pieces, _):
        return list(pieces)


def content(pieces: Sequence[Piece]) -> bytes:
    """All records, without the header lines of CSV."""
    found = b""
    for piece in pieces:
        if isinstance(piece, TextPiece):
            found += b"".join(piece.records)
        else:
            table = pa.ipc.open_stream(piece.body()[0]).read_all()
            found += b"".join(orjson.dumps(record) + b"\n" for record in table.to_pylist())
    return found


def write(path: Path) -> None:
    match path.name.partition(".")[2]:
        case "ndjson":
            path.write_bytes(b"".join(LINES))
        case "ndjson.gz":
            path.write_bytes(
                gzip.compress(b"".join(LINES[:9])) + gzip.compress(b"".join(LINES[9:]))
            )
        case "ndjson.zst":
            path.write_bytes(pa.Codec("zstd").compress(b"".join(LINES), asbytes=True))
        case "parquet":
            pq.write_table(TABLE, path, row_group_size=4)
        case "arrow":
            with pa.ipc.new_file(path, TABLE.schema) as sink:
                sink.write_table(TABLE, max_chunksize=3)
        case "arrows":
            with pa.ipc.new_stream(path, TABLE.schema) as sink:
                sink.write_table(TABLE, max_chunksize=9)


# Reading

KINDS = ("ndjson", "ndjson.gz", "ndjson.zst", "parquet", "arrow", "arrows")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_in_pieces_and_from_the_end_of_any_of_them(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"f.{kind}"
    write(path)
    pieces = read(path)
    assert [len(piece) for piece in pieces] == [5, 5, 5, 5, 3]
    assert [piece.first for piece in pieces] == [0, 5, 10, 15, 20]
    assert content(pieces) == b"".join(LINES)
    for number, piece in enumerate(pieces, 1):
        rest = read(path, piece.after, piece.first + len(piece))
        assert content(rest) == content(pieces[number:])
        assert [p.first for p in rest] == [p.first for p in pieces[number:]]


@given(
    lines=st.lists(st.text(alphabet='ab",\n\r ', max_size=8), max_size=30),
    batch_rows=st.integers(1, 7),
)
def test_csv_is_cut_between_records_only(lines: list[str], batch_rows: int) -> None:
    cells = ['"' + line.replace('"', '""') + '",1' for line in lines]
    whole = "".join(f"{cell}\r\n" for cell in cells).encode()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "f.csv"
        path.write_bytes(b"text,x\r\n" + whole)
        pieces = cast("list[TextPiece]", read(path, batch_rows=batch_rows))
        assert content(pieces) == whole
        assert sum(map(len, pieces)) == len(lines)
        for number, piece in enumerate(pieces, 1):
            assert piece.body()[0].startswith(b"text,x\r\n")
            assert all(record.count(b'"') % 2 == 0 for record in piece.records)
            assert content(read(path, piece.after)) == content(pieces[number:])


def test_blank_lines_are_no_records_and_a_last_line_needs_no_break(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'\n{"id": 1}\n\n  \n{"id": 2}')
    (piece,) = read(path)
    assert piece.body()[0] == b'{"id": 1}\n{"id": 2}\n'


def test_a_piece_of_long_lines_is_short(tmp_path: Path) -> None:
    path = tmp_path / "f.ndjson"
    path.write_bytes((b'"' + b"x" * 3_000_000 + b'"\n') * 6)
    assert [len(piece) for piece in read(path, batch_rows=1000)] == [3, 3]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("f.json", b"[]", "jq -c"),
        ("f.xlsx", b"", "expected .json"),
        ("f.parquet.gz", b"", "decompress it"),
        ("f.parquet", b"no parquet", "cannot be read"),
        ("f.arrow", b"no arrow", "cannot be read"),
        ("f.ndjson.gz", b"no gzip", "cannot be read"),
        ("f.csv", b'a,b\n"' + b"x" * 16_000_001, "a quote without an end"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_plain_words(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PermanentError, match=says):
        read(tmp_path / name)


def test_halves_are_the_whole() -> None:
    whole = TablePiece(first=7, table=TABLE.slice(7))
    halves = whole.halves()
    assert [(half.first, len(half)) for half in halves] == [(7, 8), (15, 8)]
    assert content(halves) == content([whole])


# Bookmarks


def errand(path: Path, model: str = "bikes") -> Errand:
    return Errand.of(path, "http://here", model, "rows")


def test_a_bookmark_is_good_for_the_same_errand_only(tmp_path: Path) -> None:
    path = tmp_path / "f.ndjson"
    path.write_bytes(b"one")
    bookmark = Bookmark(path, errand(path))
    assert bookmark.load() == (0, Tally())
    tally = Tally(sent=3, accepted=2, rejected=1, reasons=["record 1: because"])
    bookmark.save(17, tally)
    assert bookmark.path == tmp_path / "f.ndjson.retuned-progress.json"
    assert Bookmark(path, errand(path)).load() == (17, tally)
    assert Bookmark(path, errand(path, "trains")).load() == (0, Tally())
    path.write_bytes(b"two")
    assert Bookmark(path, errand(path)).load() == (0, Tally())
    bookmark.remove()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 2}'])
def test_a_damaged_bookmark_is_none(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "f.ndjson"
    path.write_bytes(b"one")
    bookmark = Bookmark(path, errand(path))
    bookmark.path.write_bytes(damage)
    assert bookmark.load() == (0, Tally())


def test_where_nothing_can_be_written_beside_the_file_the_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.ndjson"
    path.write_bytes(b"one")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Tests may run as root, who may write everywhere.
    monkeypatch.setattr("os.access", lambda *_: False)
    bookmark = Bookmark(path, errand(path))
    bookmark.save(3, Tally())
    assert bookmark.path.parent == tmp_path / "cache" / "retuned"
    assert bookmark.load() == (3, Tally())


# Sending


@dataclass
class Daemon:
    """Answers as told, then by a rule; what it took is kept."""

    answers: list[Reply | Exception] = field(default_factory=list)
    largest: int = 1000
    taken: list[bytes] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def post(self, content: bytes, content_type: str) -> Reply:
        assert content_type == "application/x-ndjson"
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        lines = content.splitlines()
        if len(lines) > self.largest:
            return reply(413, detail="too large")
        if any(line.startswith(b"broken") for line in lines):
            return reply(400, detail="not valid JSON")
        self.taken += lines
        return reply(200, accepted=len(lines), duplicates=0, revised=0, rejected=0, reasons=[])


def reply(status: int, retry_after: float | None = None, **body: object) -> Reply:
    found: Mapping[str, Any] = body
    return Reply(status=status, body=found, retry_after=retry_after)


def send(daemon: Daemon, records: list[bytes]) -> Tally:
    tally = Tally()
    piece = TextPiece(
        first=0, after=0, head=b"", records=records, content_type="application/x-ndjson"
    )
    Sender(daemon.post, tally, wait=daemon.waits.append).send(piece)
    return tally


def test_a_daemon_that_is_busy_or_away_is_asked_again_as_it_wishes() -> None:
    away = Unreachable("nobody")
    daemon = Daemon([away, reply(503, 5.0), reply(429), reply(507, 30.0), away])
    assert send(daemon, LINES).accepted == len(LINES)
    assert daemon.waits == [0.5, 5.0, 2.0, 15.0, 8.0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Unreachable("nobody"), Unreachable), (reply(503, detail="disk full"), TransientError)],
)
def test_after_a_minute_it_gives_up(answer: Reply | Exception, error: type[Exception]) -> None:
    daemon = Daemon([answer] * 100)
    with pytest.raises(error):
        send(daemon, LINES)
    assert PATIENCE_S <= sum(daemon.waits) <= 2 * PATIENCE_S


def test_a_piece_that_is_too_large_is_sent_in_smaller_ones() -> None:
    daemon = Daemon(largest=3)
    assert send(daemon, LINES).sent == len(LINES)
    assert daemon.taken == [line.strip() for line in LINES]


def test_a_record_that_cannot_be_read_costs_no_other() -> None:
    daemon = Daemon()
    tally = send(daemon, [*LINES[:7], b"broken\n", *LINES[7:]])
    assert (tally.sent, tally.accepted, tally.rejected) == (len(LINES) + 1, len(LINES), 1)
    assert tally.reasons == ["record 8: not valid JSON"]
    assert daemon.taken == [line.strip() for line in LINES]


def test_a_file_of_which_nothing_can_be_read_is_given_up_soon() -> None:
    daemon = Daemon()
    with pytest.raises(PermanentError, match="nothing of it can be read.*not valid JSON"):
        send(daemon, [b"broken\n"] * 1000)


def test_records_that_all_are_rejected_are_counted() -> None:
    reasons = [{"index": n, "id": f"r{n}", "reason": "too cold"} for n in range(23)]
    daemon = Daemon([reply(422, rejected=23, reasons=reasons, detail="none")])
    tally = send(daemon, LINES)
    assert (tally.sent, tally.rejected, len(tally.reasons)) == (23, 23, 10)
    assert tally.reasons[1] == "record 2 (id r1): too cold"


@pytest.mark.parametrize("status", [404, 415, 500])
def test_what_trying_again_does_not_mend_is_told_at_once(status: int) -> None:
    daemon = Daemon([reply(status, detail="no such thing")])
    with pytest.raises(PermanentError, match="no such thing"):
        send(daemon, LINES)
    assert daemon.waits == []
