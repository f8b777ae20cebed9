"""A backup: every journal of a cluster in one file, taken while the cluster runs, restored into either engine.

The file is a gzip stream of records, each a length and a MessagePack array: Begin; for each journal Head, its snapshot, Turn, its rows,
Tail; End. Rows keep their checksums, Tail and End count what came, End also carries a SHA-256 of everything in front of it: a file that was
cut or changed is refused, and nothing of it is restored.

What is restored gets a new history id. Clients that were told of tasks behind the backup then hear HistoryLost instead of meeting other
tasks under the same numbers. The epoch goes on far behind the one of the backup, so that no lease of a later life is taken for a new one.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from flame.core.base.errors import InvalidArgument, NotFound, StorageCorrupt, StorageRefused
from flame.store.port import Row

FORMAT = 1
"""Of the file."""
EPOCHS_AHEAD = 1000
MAX_RECORD = 256 * 1024 * 1024
_LENGTH = 4

Progress = Callable[[int, int], None]
"""Told every so often: rows so far, bytes of their bodies."""


class Begin(msgspec.Struct, array_like=True, tag="begin", frozen=True):
    format: int
    created: float


class Head(msgspec.Struct, array_like=True, tag="journal", frozen=True):
    name: str
    epoch: int
    history: str
    covered: int


class Stored(msgspec.Struct, array_like=True, tag="row", frozen=True):
    """A row as it lies there, with the checksum that was written beside it. In a snapshot `position` counts from 1."""

    position: int
    session: str
    version: int
    crc: int
    body: bytes

    @property
    def intact(self) -> bool:
        return Row(self.position, self.session, self.version, self.body).checksum == self.crc


class Turn(msgspec.Struct, array_like=True, tag="rows", frozen=True):
    """The snapshot is complete; what follows are rows of the journal."""


class Tail(msgspec.Struct, array_like=True, tag="tail", frozen=True):
    snapshot: int
    rows: int


class End(msgspec.Struct, array_like=True, tag="end", frozen=True):
    records: int
    digest: str


Record = Begin | Head | Stored | Turn | Tail | End
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Record)


class Reading(Protocol):
    """A consistent view of one journal."""

    head: Head

    def snapshot(self) -> Iterator[Stored]: ...
    def rows(self) -> Iterator[Stored]: ...


class Writing(Protocol):
    """Journals that appear together, or not at all."""

    def begin(self, head: Head) -> None: ...
    def snapshot(self, rows: Iterable[Stored]) -> None: ...
    def rows(self, rows: Iterable[Stored]) -> None: ...


class Place(Protocol):
    """Where the journals of a cluster are."""

    def reading(self) -> contextlib.AbstractContextManager[Iterator[Reading]]:
        """Its journals, one behind the other. Raises NotFound when there are none."""

    def writing(self) -> contextlib.AbstractContextManager[Writing]:
        """What was written counts when the block ends without an error. Raises StorageRefused for a journal that has rows."""


# -- out -----------------------------------------------------------------------------------------------------------------------


class _Sink:
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self.records = file, hashlib.sha256(), 0

    def put(self, record: Record) -> None:
        raw = _encoder.encode(record)
        framed = len(raw).to_bytes(_LENGTH, "little") + raw
        self._hash.update(framed)
        self._file.write(framed)
        self.records += 1

    def end(self) -> None:
        self.put(End(self.records, self._hash.hexdigest()))


class _Count:
    def __init__(self, progress: Progress | None) -> None:
        self._progress, self.rows, self.bytes = progress, 0, 0

    def __call__(self, row: Stored) -> None:
        self.rows += 1
        self.bytes += len(row.body)
        if self._progress is not None and self.rows % 64 == 0:
            self._progress(self.rows, self.bytes)

    def done(self) -> tuple[int, int]:
        if self._progress is not None:
            self._progress(self.rows, self.bytes)
        return self.rows, self.bytes


def export(source: Place, file: Path, progress: Progress | None = None) -> tuple[int, int]:
    """Write every journal of `source`, which may be in use, to `file` (mode 0600); it appears when it is complete.

    Returns rows and bytes of their bodies. Raises NotFound, StorageCorrupt for a row that does not match its checksum.
    """
    count = _Count(progress)
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as raw:
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed, source.reading() as journals:
                sink = _Sink(packed)  # type: ignore[arg-type]
                sink.put(Begin(FORMAT, time.time()))
                for journal in journals:
                    _export(journal, sink, count)
                sink.end()
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return count.done()


def _export(journal: Reading, sink: _Sink, count: _Count) -> None:
    sink.put(journal.head)
    sizes = []
    for rows, what in ((journal.snapshot(), "snapshot row"), (journal.rows(), "row")):
        before = count.rows
        for row in rows:
            if not row.intact:
                raise StorageCorrupt(
                    f"{what} {row.position} of the journal {journal.head.name} does not match its checksum",
                    hint="restore an earlier backup; this one was not written",
                )
            sink.put(row)
            count(row)
        sizes.append(count.rows - before)
        if len(sizes) == 1:
            sink.put(Turn())
    sink.put(Tail(*sizes))


# -- in ------------------------------------------------------------------------------------------------------------------------


class _Tap:
    """Records of a file, one behind the other; keeps the sum of what it gave. Raises StorageCorrupt for a damaged file."""

    def __init__(self, file: Path) -> None:
        self._file, self._hash, self.records = file, hashlib.sha256(), 0
        self._packed = gzip.open(file, "rb")  # noqa: SIM115 - closed by `close`

    def take(self) -> Record:
        prefix = self._read(_LENGTH)
        length = int.from_bytes(prefix, "little")
        if length > MAX_RECORD:
            raise self.damaged("a record has an impossible length")
        raw = self._read(length)
        try:
            record: Record = _decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise self.damaged(str(error)) from None
        if isinstance(record, End) and (record.records, record.digest) != (self.records, self._hash.hexdigest()):
            raise self.damaged("its checksum is another")
        self._hash.update(prefix)
        self._hash.update(raw)
        self.records += 1
        return record

    def _read(self, length: int) -> bytes:
        try:
            found = self._packed.read(length)
        except (EOFError, zlib.error, OSError) as error:
            raise self.damaged(str(error)) from None
        if len(found) != length:
            raise self.damaged("it ends too early")
        return found

    def expect(self, kind: type[Any]) -> Any:
        record = self.take()
        if not isinstance(record, kind):
            raise self.damaged(f"{type(record).__name__} where {kind.__name__} belongs")
        return record

    def finish(self) -> None:
        try:
            more = self._packed.read(1)
        except (EOFError, zlib.error, OSError) as error:
            raise self.damaged(str(error)) from None
        if more:
            raise self.damaged("something follows its end")

    def damaged(self, why: str) -> StorageCorrupt:
        return StorageCorrupt(f"{self._file} is damaged: {why}", hint="nothing was restored; take another backup")

    def close(self) -> None:
        self._packed.close()


def restore(file: Path, target: Place, progress: Progress | None = None) -> tuple[int, int]:
    """Write the journals of `file` into `target`, under a new history id: all of them or nothing.

    Returns rows and bytes of their bodies. Raises NotFound, StorageCorrupt for a damaged file, StorageRefused for one of a newer release
    and for a target that has rows.
    """
    if not file.is_file():
        raise NotFound(f"{file} is no file")
    count = _Count(progress)
    with contextlib.closing(_Tap(file)) as tap:
        begin = tap.expect(Begin)
        if begin.format != FORMAT:
            raise StorageRefused(
                f"{file} has format {begin.format}; this release reads {FORMAT}", hint="use a newer release"
            )
        with target.writing() as writing:
            while isinstance(record := tap.take(), Head):
                _restore(record, tap, writing, count)
            if not isinstance(record, End):
                raise tap.damaged(f"{type(record).__name__} where a journal belongs")
            tap.finish()
    return count.done()


def _restore(head: Head, tap: _Tap, writing: Writing, count: _Count) -> None:
    if not head.name:
        raise tap.damaged("a journal without a name")
    writing.begin(msgspec.structs.replace(head, epoch=head.epoch + EPOCHS_AHEAD, history=secrets.token_hex(8)))
    before = count.rows
    writing.snapshot(_until(Turn, tap, count))
    middle = count.rows
    ended: list[Tail] = []
    writing.rows(_until(Tail, tap, count, ended))
    if [(tail.snapshot, tail.rows) for tail in ended] != [(middle - before, count.rows - middle)]:
        raise tap.damaged(f"rows of the journal {head.name} are missing")


def _until(
    kind: type[Turn] | type[Tail], tap: _Tap, count: _Count, ended: list[Tail] | None = None
) -> Iterator[Stored]:
    last = 0
    while isinstance(record := tap.take(), Stored):
        if not record.intact or record.position <= last:
            raise tap.damaged(f"row {record.position} is not what was written")
        last = record.position
        count(record)
        yield record
    if not isinstance(record, kind):
        raise tap.damaged(f"{type(record).__name__} where {kind.__name__} belongs")
    if ended is not None and isinstance(record, Tail):
        ended.append(record)


def place(storage: str | None, data_dir: Path | None) -> Place:
    """PostgreSQL at `storage`, else SQLite in `data_dir`."""
    if storage is not None:
        from flame.store.backup_postgres import PostgresPlace

        return PostgresPlace(storage)
    if data_dir is None:
        raise InvalidArgument("neither a data directory nor a storage was named")
    from flame.store.backup_sqlite import SqlitePlace

    return SqlitePlace(data_dir)
