"""The file under a store: opening and checking it, its tables and columns, transactions, errors.

``Store`` (``explore/store.py``) is what others use; it stands on ``StoreReading``
(``explore/store_reading.py``), and that on the ``StoreFile`` here.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from zlib import crc32

from accelsim.base.errors import InputError
from accelsim.explore.columns import widest

VERSION = 2  # of the tables below
APPLICATION = 0x6163636C  # "accl"
LOCK_S = 30.0  # another writer is waited for so long
CHECKED_BYTES = 300_000_000  # larger files are not checked through before they are read
MOST_ARGUMENTS = 90  # of one function; SQLite takes 100
MOST_COLUMNS = 1900  # of one table; SQLite takes 2000

# Every table has a ``checksum``: of each row's columns as they are in ``COLUMNS``, then those that
# points and machines have grown.
TABLES = """
create table columns(
  id integer primary key, place text not null, name text not null, kind text not null,
  sql text not null, checksum integer not null, unique(place, name));
create table layouts(
  id integer primary key, names text not null unique, checksum integer not null);
create table runs(
  id integer primary key, started real not null, accelsim_version text not null,
  model_version integer not null, host text, pid integer, checksum integer not null);
create table machines(
  id integer primary key, arch text not null, "set" text not null, arch_hash text not null,
  checksum integer not null, unique(arch, "set", arch_hash));
create table items(
  id integer primary key, digest blob not null, workload text not null, layer text not null,
  dataflow text not null, engine text not null, direction text not null, mapping text not null,
  batch integer not null, seed integer not null, model_version integer not null,
  checksum integer not null, unique(digest, workload, layer, dataflow, mapping));
create table points(
  id integer primary key, key blob not null unique, run integer not null, finished real not null,
  status text not null, error text, layout integer not null, checksum integer not null);
create table rows(
  id integer primary key, machine integer not null, item integer not null, key blob not null,
  checksum integer not null, unique(machine, item));
create table studies(
  id integer primary key, name text not null, digest text not null unique, started real not null,
  definition text not null, checksum integer not null);
create table members(
  study integer not null, position integer not null, row integer not null,
  checksum integer not null, primary key(study, position)) without rowid
"""
# What the checksum of a row is of.  A point is known by its key; its id is this file's own affair.
COLUMNS = {
    "columns": "id place name kind sql",
    "layouts": "id names",
    "runs": "id started accelsim_version model_version host pid",
    "machines": 'id arch "set" arch_hash',
    "items": "id digest workload layer dataflow engine direction mapping batch seed model_version",
    "points": "key run finished status error layout",
    "rows": "id machine item key",
    "studies": "id name digest started definition",
    "members": "study position row",
}
# What refers to what: none may be missing.
REFERENCES = {
    "rows": {"machine": "machines", "item": "items"},
    "points": {"run": "runs", "layout": "layouts"},
    "members": {"study": "studies", "row": "rows"},
}
# Columns of the view ``results`` by where they come from: before the axes, between the axes and
# the values of the points, and after those.
BEFORE = {"workload": "i.workload", "layer": "i.layer", "arch": "m.arch"}
BETWEEN = {
    "set": 'm."set"',
    "dataflow": "i.dataflow",
    "engine": "i.engine",
    "direction": "i.direction",
    "mapping": "i.mapping",
    "batch": "i.batch",
    "seed": "i.seed",
    "status": "p.status",
    "error": "p.error",
}
AFTER = {
    "model_version": "i.model_version",
    "accelsim_version": "u.accelsim_version",
    "arch_hash": "m.arch_hash",
    "key": "lower(hex(p.key))",
    "finished": "strftime('%Y-%m-%dT%H:%M:%SZ', p.finished, 'unixepoch')",
}
JOINED = (
    "rows r cross join points p on p.key = r.key cross join machines m on m.id = r.machine "
    "cross join items i on i.id = r.item cross join runs u on u.id = p.run"
)
RESERVED = {  # columns that points and machines have from the beginning
    "points": {"id", "key", "run", "finished", "status", "error", "layout", "checksum"},
    "machines": {"id", "arch", "set", "arch_hash", "checksum"},
}


class StoreError(InputError):
    """A store that cannot be opened, read or written; one line."""


class StoreFile:
    """An open SQLite file with the tables of a store.

    ``points`` and ``machines`` grow columns as results and axes need them.  ``known[place][name]``
    is the kind of a column's values (``columns.Kind``) and what it is called in the table;
    ``layouts`` numbers the sets of columns that points have values in.  Other processes may add
    to both, so each method that uses them begins with ``reload``.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        """Open it, making a new one if there is none and ``create`` says so.  Raises StoreError."""
        self.path = Path(path)
        self.known: dict[str, dict[str, tuple[str, str]]] = {"points": {}, "machines": {}}
        self.layouts: dict[tuple[str, ...], int] = {}
        self._count = -1  # of columns and layouts as they are known here
        self._verified = False  # every row has been found as it was written
        self._inspect(create)
        try:
            self._open("rwc" if create else "rw", create)
        except StoreError as error:
            if create or not self._only_readable(error.__cause__):
                raise
            self._open("ro&immutable=1", create)

    def _open(self, mode: str, create: bool) -> None:
        address = f"{self.path.resolve().as_uri()}?mode={mode}"
        with self.clear():
            self.db = sqlite3.connect(address, uri=True, timeout=LOCK_S, isolation_level=None)
        try:
            with self.clear():
                self._prepare(create)
        except BaseException:
            self.db.close()
            raise

    def _only_readable(self, error: BaseException | None) -> bool:
        """Whether the file lies where nothing can be written beside it, as SQLite wants to even for
        reading, and has all there is: no writer's changes wait beside it.
        """
        refused = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        beside = self.path.with_name(f"{self.path.name}-wal")
        waiting = beside.exists() and beside.stat().st_size > 0
        return isinstance(error, sqlite3.Error) and _code(error) in refused and not waiting

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    # Opening --------------------------------------------------------------------------------------

    def _inspect(self, create: bool) -> None:
        """What can be told without SQLite."""
        if self.path.exists() and not self.path.is_file():
            other = "a directory" if self.path.is_dir() else "something else"
            raise StoreError("must be a file", file=self.path, got=other)
        try:
            with self.path.open("rb") as file:
                head = file.read(16)
        except FileNotFoundError:
            if not create:
                raise StoreError("no such store", file=self.path) from None
            if not self.path.parent.is_dir():
                raise StoreError("no such directory", file=self.path.parent) from None
            return
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise StoreError(f"cannot be opened ({why})", file=self.path) from None
        if head and head != b"SQLite format 3\0":
            rule = "is no accelsim store, nor any SQLite file; it was left as it is"
            raise StoreError(rule, file=self.path)

    def _prepare(self, create: bool) -> None:
        """Make or check the tables, and set up the connection."""
        self.db.execute(f"pragma busy_timeout = {int(LOCK_S * 1000)}")
        self.db.create_function("row_sum", -1, row_sum, deterministic=True)
        application, version, tables = self._at_once()
        if application == 0 and not tables:
            if not create:
                raise StoreError("is empty, no accelsim store", file=self.path)
            self._make()
            application, version, _ = self._at_once()
        self._check(application, version)
        wal = self.db.execute("pragma journal_mode").fetchone()[0] == "wal"
        self.db.execute(f"pragma synchronous = {'normal' if wal else 'full'}")
        self.db.execute("pragma cache_size = -65536")
        self.db.execute("pragma temp_store = memory")
        if self.path.stat().st_size <= CHECKED_BYTES:
            self.verify()
        self.reload()

    def _at_once(self) -> tuple[int, int, int]:
        """The marks of one moment: another process may be making the tables."""
        self.db.execute("begin")
        try:
            return self._marks()
        finally:
            self.db.execute("commit")

    def _marks(self) -> tuple[int, int, int]:
        """Whose file it is, of which version, and how many tables it has."""
        queries = (
            "pragma application_id",
            "pragma user_version",
            "select count(*) from sqlite_master",
        )
        application, version, tables = (int(self.db.execute(q).fetchone()[0]) for q in queries)
        return application, version, tables

    def _check(self, application: int, version: int) -> None:
        """Raises StoreError for a file that is not ours to read."""
        left = "it was left as it is"
        if application != APPLICATION:
            rule = f"is an SQLite file of something else, no accelsim store; {left}"
            raise StoreError(rule, file=self.path)
        if version != VERSION:
            versions = f"of version {version}, this accelsim writes version {VERSION}"
            raise StoreError(f"is a store {versions}: use another file; {left}", file=self.path)
        if self.path.stat().st_size <= CHECKED_BYTES:
            told = self.db.execute("pragma integrity_check(1)").fetchone()[0]
            if told != "ok":
                raise StoreError(f"is damaged ({told}); {left}", file=self.path)

    def _make(self) -> None:
        """The tables of a new store, made once whoever comes first."""
        self.db.execute("pragma page_size = 8192")
        self._wal()
        with self.transaction():
            application, _, tables = self._marks()
            if application or tables:  # another process was quicker
                return
            for statement in TABLES.split(";"):
                self.db.execute(statement)
            self._view()
            self.db.execute(f"pragma application_id = {APPLICATION}")
            self.db.execute(f"pragma user_version = {VERSION}")

    def _wal(self) -> None:
        """Readers beside a writer, where the file system can do it.  SQLite does not wait for
        others by itself here.
        """
        until = time.monotonic() + LOCK_S
        while True:
            try:
                self.db.execute("pragma journal_mode = wal")
                return
            except sqlite3.OperationalError as error:
                busy = _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                if not busy or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    # Checksums ------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Every row is as it was written, and what it refers to is there: asked once, before
        anything is read.  Raises StoreError.
        """
        if self._verified:
            return
        with self.snapshot():  # others may add columns, and then make the view anew
            self._compare()
        self._verified = True

    def _compare(self) -> None:
        for table in COLUMNS:
            if table == "runs":  # by now columns and layouts are known to be right
                self.reload()
            wrong = f"checksum is not {summed(self._checked(table))}"
            count = self.db.execute(f"select count(*) from {table} where {wrong}").fetchone()[0]
            if count:
                self._damaged(f"{count} of its {table} not as written")
        for table, references in REFERENCES.items():
            for name, other in references.items():
                lost = f"select 1 from {table} where {name} not in (select id from {other}) limit 1"
                if self.db.execute(lost).fetchone() is not None:
                    self._damaged(f"{other} are missing")
        known = self.db.execute("select sql from sqlite_master where name = 'results'").fetchone()
        if known != (self._view_text(),):
            self._damaged("its view is not as written")

    def _damaged(self, why: str) -> NoReturn:
        raise StoreError(f"is damaged ({why}); it was left as it is", file=self.path)

    def _checked(self, table: str) -> list[str]:
        """The columns that a table's checksum is of, in their order."""
        grown = self.known.get(table, {}).values()
        return [*COLUMNS[table].split(), *(quoted(sql) for _, sql in grown)]

    def inserting(self, table: str, names: Sequence[str]) -> str:
        """The statement that adds a row with these columns and its checksum, unless there is one
        already that may not be there twice.
        """
        places = {name: f"?{i}" for i, name in enumerate(names, 1)}
        total = summed([places.get(name, "null") for name in self._checked(table)])
        columns, values = ", ".join([*names, "checksum"]), ", ".join([*places.values(), total])
        return f"insert or ignore into {table}({columns}) values ({values})"

    def next_id(self, table: str) -> int:
        """An id that no row of a table has."""
        return int(self.db.execute(f"select coalesce(max(id), 0) + 1 from {table}").fetchone()[0])

    # Columns --------------------------------------------------------------------------------------

    def reload(self) -> None:
        """What columns and layouts there are, if others may have added some."""
        query = "select (select count(*) from columns) + (select count(*) from layouts)"
        count = self.db.execute(query).fetchone()[0]
        if count == self._count:
            return
        self.known = {"points": {}, "machines": {}}
        query = "select place, name, kind, sql from columns order by id"
        for place, name, kind, sql in self.db.execute(query):
            self.known[place][name] = (kind, sql)
        self.layouts = {
            tuple(json.loads(names)): number
            for number, names in self.db.execute("select id, names from layouts")
        }
        self._count = count

    def ensure(self, place: str, kinds: Mapping[str, str]) -> list[str]:
        """The columns of these names as they are called in a table, added or widened where they
        must be.
        """
        known = self.known[place]
        new = [name for name in kinds if name not in known]
        for name in new:
            self._add_column(place, name, kinds[name])
        for name, kind in kinds.items():
            before, sql = known[name]
            wide = widest({kind, before})
            if wide != before:
                total = summed(["id", "place", "name", "?1", "sql"])
                change = f"update columns set kind = ?1, checksum = {total}"
                self.db.execute(f"{change} where place = ?2 and name = ?3", (wide, place, name))
                known[name] = (wide, sql)
        if new:
            self._view()
        return [known[name][1] for name in kinds]

    def _add_column(self, place: str, name: str, kind: str) -> None:
        known = self.known[place]
        taken = {sql.lower() for _, sql in known.values()} | RESERVED[place]
        sql = name
        while sql.lower() in taken:  # SQLite's names do not tell cases apart
            sql += "_"
        if len(taken) >= MOST_COLUMNS:
            rule = (
                f"has {len(taken)} columns, no more fit: use another file for other architectures"
            )
            raise StoreError(rule, file=self.path)
        self.db.execute(f"alter table {place} add column {quoted(sql)}")
        entry = self.inserting("columns", ("id", "place", "name", "kind", "sql"))
        self.db.execute(entry, (self.next_id("columns"), place, name, kind, sql))
        known[name] = (kind, sql)
        self._count += 1

    def layout(self, names: tuple[str, ...]) -> int:
        """The number of a set of columns, in their order."""
        if names not in self.layouts:
            number = self.next_id("layouts")
            entry = self.inserting("layouts", ("id", "names"))
            self.db.execute(entry, (number, json.dumps(names)))
            self.layouts[names] = number
            self._count += 1
        return self.layouts[names]

    def selected(self) -> dict[str, str]:
        """Every column of ``results`` and how it is selected from ``JOINED``."""
        axes = {name: f"m.{quoted(sql)}" for name, (_, sql) in self.known["machines"].items()}
        values = {name: f"p.{quoted(sql)}" for name, (_, sql) in self.known["points"].items()}
        return BEFORE | axes | BETWEEN | values | AFTER

    def _view(self) -> None:
        """The view ``results`` anew, with the columns there are now."""
        self.db.execute("drop view if exists results")
        self.db.execute(self._view_text())

    def _view_text(self) -> str:
        chosen = ", ".join(f"{sql} as {quoted(name)}" for name, sql in self.selected().items())
        return f"CREATE VIEW results as select {chosen} from {JOINED} order by r.id"

    # Changes and errors ---------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Changes that are made whole or not at all."""
        self.db.execute("begin immediate")
        try:
            yield
            self.db.execute("commit")
        except BaseException:
            self._count = -1
            if self.db.in_transaction:
                self.db.execute("rollback")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """One state of the file for all that is read inside, whatever others write meanwhile."""
        if self.db.in_transaction:
            yield
            return
        self.db.execute("begin")
        try:
            yield
        finally:
            if self.db.in_transaction:
                self.db.execute("commit")

    def choose(self, ids: Iterable[int]) -> None:
        """Put ids of rows in the table ``temp.chosen``, for statements that are about them."""
        self.db.execute("create temp table if not exists chosen(id integer primary key)")
        self.db.execute("delete from temp.chosen")
        self.db.executemany("insert into temp.chosen(id) values (?)", ((i,) for i in ids))

    @contextmanager
    def clear(self) -> Iterator[None]:
        """SQLite's errors as one line."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(_reason(error), file=self.path) from error
        except UnicodeDecodeError:
            self._damaged("a text is none")


def _code(error: sqlite3.Error) -> int:
    """SQLite's code without what it says in detail."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _reason(error: sqlite3.Error) -> str:
    kept = "; what was stored is kept"
    locked = f"is locked by another process, waited {LOCK_S:g} s{kept}"
    reasons = {
        sqlite3.SQLITE_BUSY: locked,
        sqlite3.SQLITE_LOCKED: locked,
        sqlite3.SQLITE_FULL: f"cannot be written: the disk is full{kept}",
        sqlite3.SQLITE_IOERR: f"cannot be written or read: the disk is full or failing{kept}",
        sqlite3.SQLITE_CORRUPT: "is damaged; it was left as it is",
        sqlite3.SQLITE_NOTADB: "is damaged, or no SQLite file; it was left as it is",
        sqlite3.SQLITE_READONLY: "is read-only",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    }
    return reasons.get(_code(error), f"cannot be used: {error}")


def row_sum(*values: Any) -> int | None:
    """The checksum of a row, or of some of its columns; None if there is nothing.  Columns at the
    end that have no value do not count, since a table may have grown since the row was written.
    """
    count = len(values)
    while count and values[count - 1] is None:
        count -= 1
    return crc32(_ENCODER.encode(values[:count]).encode()) if count else None


_ENCODER = json.JSONEncoder(default=bytes.hex)


def summed(columns: Sequence[str]) -> str:
    """SQL for the checksum of columns, some at a time: a function takes only so many."""
    starts = range(0, len(columns), MOST_ARGUMENTS)
    parts = [f"row_sum({', '.join(columns[i : i + MOST_ARGUMENTS])})" for i in starts]
    return f"row_sum({', '.join(parts)})"


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever it has in it."""
    return '"' + name.replace('"', '""') + '"'


def marks(count: int) -> str:
    """So many places for values in a statement."""
    return ", ".join("?" * count)
