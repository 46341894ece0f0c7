"""The store: one SQLite file of finished points, written by any number of processes, read by
anything that reads SQLite.

    pandas.read_sql("select * from results", sqlite3.connect("runs.sqlite"))

``points`` has a row for every finished point, known by the hash of all that determines it (``key``), with a column for
every value; ``machines`` are architectures with a column for every axis, ``items`` layers under recipes; ``rows`` names
points: an architecture, an item, a key.  ``studies`` and ``members`` say which rows a sweep asked for and in what order.
The view ``results`` puts them together, a line per row whose point is finished.

Every change is one transaction, so that a process killed at any moment leaves whole points and nothing else.  What goes
wrong is a ``StoreError``, one line; what was stored stays.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.base.expression import Expression, ExpressionError
from accelsim.explore.columns import Column, ColumnBlock, Table, column, text_column, widest
from accelsim.explore.plan import SweepPlan, axis_value
from accelsim.results.layer_row import override_text
from accelsim.version import MODEL_VERSION, __version__

VERSION = 1  # of the tables below
APPLICATION = 0x6163636C  # "accl"
LOCK_S = 30.0  # another writer is waited for so long
CHECKED_BYTES = 300_000_000  # larger files are not checked through when they are opened
MOST_COLUMNS = 1900
CHUNK = 900  # keys of one query

_TABLES = """
create table columns(id integer primary key, place text not null, name text not null, kind text not null, sql text not null,
  unique(place, name));
create table layouts(id integer primary key, names text not null unique);
create table runs(id integer primary key, started real not null, accelsim_version text not null, model_version integer not null,
  host text, pid integer);
create table machines(id integer primary key, arch text not null, "set" text not null, arch_hash text not null,
  unique(arch, "set", arch_hash));
create table items(id integer primary key, digest blob not null, workload text not null, layer text not null, dataflow text not null,
  engine text not null, direction text not null, mapping text not null, batch integer not null, seed integer not null,
  model_version integer not null, unique(digest, workload, layer, dataflow, mapping));
create table points(id integer primary key, key blob not null unique, run integer not null, finished real not null,
  status text not null, error text, layout integer not null);
create table rows(id integer primary key, machine integer not null, item integer not null, key blob not null, unique(machine, item));
create table studies(id integer primary key, name text not null, digest text not null unique, started real not null,
  definition text not null);
create table members(study integer not null, position integer not null, row integer not null, primary key(study, position)) without rowid
"""
_BEFORE = {  # columns of results by where they come from
    "workload": "i.workload",
    "layer": "i.layer",
    "arch": "m.arch",
}
_BETWEEN = {
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
_AFTER = {
    "model_version": "i.model_version",
    "accelsim_version": "u.accelsim_version",
    "arch_hash": "m.arch_hash",
    "key": "lower(hex(p.key))",
    "finished": "strftime('%Y-%m-%dT%H:%M:%SZ', p.finished, 'unixepoch')",
}
_JOINED = (
    "rows r cross join points p on p.key = r.key cross join machines m on m.id = r.machine "
    "cross join items i on i.id = r.item cross join runs u on u.id = p.run"
)
_RESERVED = {
    "points": {"id", "key", "run", "finished", "status", "error", "layout"},
    "machines": {"id", "arch", "set", "arch_hash"},
}


class StoreError(InputError):
    """A store that cannot be opened, read or written; one line."""


class Store:
    """An open store.  Use as a context manager, or close it.  Raises StoreError for whatever goes
    wrong with the file.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        """Open it, making a new one if there is none and ``create`` says so."""
        self.path = Path(path)
        self._run: int | None = None
        self._columns: dict[str, dict[str, tuple[str, str]]] = {
            "points": {},
            "machines": {},
        }  # place, name: kind, sql
        self._layouts: dict[tuple[str, ...], int] = {}
        self._count = -1
        self._inspect(create)
        address = f"{self.path.resolve().as_uri()}?mode={'rwc' if create else 'rw'}"
        with self._clear():
            self.db = sqlite3.connect(address, uri=True, timeout=LOCK_S, isolation_level=None)
        try:
            with self._clear():
                self._prepare(create)
        except BaseException:
            self.db.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    # -- opening -----------------------------------------------------------------------------------

    def _inspect(self, create: bool) -> None:
        """What can be told without SQLite."""
        if self.path.exists() and not self.path.is_file():
            raise StoreError(
                "must be a file",
                file=self.path,
                got="a directory" if self.path.is_dir() else "something else",
            )
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
            raise StoreError(
                f"cannot be opened ({(error.strerror or str(error)).lower()})", file=self.path
            ) from None
        if head and head != b"SQLite format 3\0":
            raise StoreError(
                "is no accelsim store, nor any SQLite file; it was left as it is", file=self.path
            )

    def _prepare(self, create: bool) -> None:
        self.db.execute(f"pragma busy_timeout = {int(LOCK_S * 1000)}")
        application, version, tables = self._marks()
        if application == 0 and not tables:
            if not create:
                raise StoreError("is empty, no accelsim store", file=self.path)
            self._make()
            application, version, tables = self._marks()
        if application != APPLICATION:
            raise StoreError(
                "is an SQLite file of something else, no accelsim store; it was left as it is",
                file=self.path,
            )
        if version != VERSION:
            rule = f"is a store of version {version}, this accelsim writes version {VERSION}: use another file; it was left as it is"
            raise StoreError(rule, file=self.path)
        if self.path.stat().st_size <= CHECKED_BYTES:
            told = self.db.execute("pragma quick_check(1)").fetchone()[0]
            if told != "ok":
                raise StoreError(f"is damaged ({told}); it was left as it is", file=self.path)
        wal = self.db.execute("pragma journal_mode").fetchone()[0] == "wal"
        self.db.execute(f"pragma synchronous = {'normal' if wal else 'full'}")
        self.db.execute("pragma cache_size = -65536")
        self.db.execute("pragma temp_store = memory")
        self._reload()

    def _marks(self) -> tuple[int, int, int]:
        """Whose file it is, of which version, and how many tables it has."""
        queries = (
            "pragma application_id",
            "pragma user_version",
            "select count(*) from sqlite_master",
        )
        application, version, tables = (int(self.db.execute(q).fetchone()[0]) for q in queries)
        return application, version, tables

    def _make(self) -> None:
        self.db.execute("pragma page_size = 8192")
        self._wal()
        with self._write():
            application, _, tables = self._marks()
            if application or tables:  # another process was quicker
                return
            for statement in _TABLES.split(";"):
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
                if (
                    _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                    or time.monotonic() > until
                ):
                    raise
                time.sleep(0.02)

    def _reload(self) -> None:
        """What columns and layouts there are, if others may have added some."""
        count = self.db.execute(
            "select (select count(*) from columns) + (select count(*) from layouts)"
        ).fetchone()[0]
        if count == self._count:
            return
        self._columns = {"points": {}, "machines": {}}
        for place, name, kind, sql in self.db.execute(
            "select place, name, kind, sql from columns order by id"
        ):
            self._columns[place][name] = (kind, sql)
        self._layouts = {
            tuple(json.loads(names)): number
            for number, names in self.db.execute("select id, names from layouts")
        }
        self._count = count

    # -- writing -----------------------------------------------------------------------------------

    def begin(
        self,
        plan: SweepPlan,
        name: str,
        *,
        digest: str | None = None,
        position: int = 0,
        definition: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down what a plan asks for: architectures, items, rows, and that the study ``name``
        has them.

        ``digest`` tells the study from others, the plan's own if not given; its rows stand from
        ``position`` on. What is there already is left as it is.
        """
        digest = digest or plan.digest
        with self._clear(), self._write():
            self._reload()
            study = self._study(name, f"{digest} {name}", definition or {})
            having = self.db.execute(
                "select count(*) from members where study = ? and position between ? and ?",
                (study, position, position + plan.rows - 1),
            ).fetchone()[0]
            if having == plan.rows:
                return
            machines = self._machines(plan)
            items = self._items(plan)
            places = [(m, i) for m in machines for i in items]
            keys, points = plan.keys(), plan.row_points.tolist()
            self.db.executemany(
                "insert or ignore into rows(machine, item, key) values (?, ?, ?)",
                ((m, i, keys[p]) for (m, i), p in zip(places, points, strict=True)),
            )
            ids: dict[tuple[int, int], int] = {}
            for m in dict.fromkeys(machines):
                for number, item in self.db.execute(
                    "select id, item from rows where machine = ?", (m,)
                ):
                    ids[m, item] = number
            self.db.executemany(
                "insert or replace into members(study, position, row) values (?, ?, ?)",
                ((study, position + n, ids[place]) for n, place in enumerate(places)),
            )

    def add(self, blocks: Iterable[ColumnBlock], key: Callable[[int], bytes]) -> None:
        """Store finished points in one transaction; ``key`` gives the key of a point's number.
        Those stored already stay as they are.
        """
        with self._clear(), self._write():
            self._reload()
            now = time.time()
            for block in blocks:
                sql = self._ensure(
                    "points", {n: c.kind for n, c in zip(block.names, block.columns, strict=True)}
                )
                layout = self._layout(block.names)
                run = self._this_run()
                names = ", ".join(
                    [
                        "key",
                        "run",
                        "finished",
                        "status",
                        "error",
                        "layout",
                        *(_quoted(s) for s in sql),
                    ]
                )
                marks = ", ".join("?" * (6 + len(sql)))
                keys = [key(i) for i in block.ids.tolist()]
                self.db.executemany(
                    f"insert or ignore into points({names}) values ({marks})",
                    (
                        (k, run, now, status, error, layout, *values)
                        for k, status, error, values in zip(
                            keys, block.status, block.error, block.rows(), strict=True
                        )
                    ),
                )

    def prune(self, where: Expression) -> int:
        """Forget the rows for which an expression over columns holds, and points no row has any
        more.  How many rows it were.
        """
        ids = self._matching(where, None)
        with self._clear():
            with self._write():
                self._choose(ids)
                self.db.execute("delete from rows where id in (select id from temp.chosen)")
                self.db.execute("delete from points where key not in (select key from rows)")
                self.db.execute("delete from members where row not in (select id from rows)")
                self.db.execute("delete from studies where id not in (select study from members)")
                self.db.execute("delete from machines where id not in (select machine from rows)")
                self.db.execute("delete from items where id not in (select item from rows)")
            with suppress(
                sqlite3.OperationalError
            ):  # others are at work or the disk is full: the space is used again later
                self.db.execute("vacuum")
        return len(ids)

    @contextmanager
    def _write(self) -> Iterator[None]:
        """One transaction, whole or not at all."""
        self.db.execute("begin immediate")
        try:
            yield
            self.db.execute("commit")
        except BaseException:
            self._count = -1
            if self.db.in_transaction:
                self.db.execute("rollback")
            raise

    def _this_run(self) -> int:
        if (
            self._run is None
            or self.db.execute("select 1 from runs where id = ?", (self._run,)).fetchone() is None
        ):
            found = self.db.execute(
                "insert into runs(started, accelsim_version, model_version, host, pid) values (?, ?, ?, ?, ?)",
                (time.time(), __version__, MODEL_VERSION, socket.gethostname(), os.getpid()),
            )
            self._run = found.lastrowid
        assert self._run is not None
        return self._run

    def _study(self, name: str, digest: str, definition: Mapping[str, Any]) -> int:
        self.db.execute(
            "insert or ignore into studies(name, digest, started, definition) values (?, ?, ?, ?)",
            (name, digest, time.time(), json.dumps(definition, default=str)),
        )
        return int(
            self.db.execute("select id from studies where digest = ?", (digest,)).fetchone()[0]
        )

    def _machines(self, plan: SweepPlan) -> list[int]:
        points = [plan.overrides(m) for m in range(len(plan.numbers))]
        axes = {
            key: column([axis_value(p[key]) for p in points if key in p]).kind
            for key in plan.space.keys
        }
        sql = dict(zip(axes, self._ensure("machines", axes), strict=True))
        ids = []
        for name, digest, overrides in zip(plan.names, plan.digests, points, strict=True):
            whole = (name, override_text(overrides), digest.hex()[:16])
            names = ", ".join(["arch", '"set"', "arch_hash", *(_quoted(sql[k]) for k in overrides)])
            values = (*whole, *(axis_value(v) for v in overrides.values()))
            self.db.execute(
                f"insert or ignore into machines({names}) values ({', '.join('?' * len(values))})",
                values,
            )
            found = self.db.execute(
                'select id from machines where arch = ? and "set" = ? and arch_hash = ?', whole
            ).fetchone()
            ids.append(int(found[0]))
        return ids

    def _items(self, plan: SweepPlan) -> list[int]:
        ids = []
        for item in plan.items:
            whole = (
                item.digest,
                item.workload,
                item.layer.name,
                item.recipe.short,
                item.recipe.mapping,
            )
            rest = (
                plan.settings.engine,
                item.problem.direction,
                item.problem.N,
                plan.settings.seed,
                MODEL_VERSION,
            )
            self.db.execute(
                "insert or ignore into items(digest, workload, layer, dataflow, mapping, engine, direction, batch, seed, model_version) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*whole, *rest),
            )
            found = self.db.execute(
                "select id from items where digest = ? and workload = ? and layer = ? and dataflow = ? and mapping = ?",
                whole,
            ).fetchone()
            ids.append(int(found[0]))
        return ids

    def _layout(self, names: tuple[str, ...]) -> int:
        if names not in self._layouts:
            found = self.db.execute(
                "insert into layouts(names) values (?)", (json.dumps(names),)
            ).lastrowid
            assert found is not None
            self._layouts[names] = found
            self._count += 1
        return self._layouts[names]

    def _ensure(self, place: str, kinds: Mapping[str, str]) -> list[str]:
        """The columns of these names as they are called in a table, added or widened where they
        must be.
        """
        known = self._columns[place]
        new = [name for name in kinds if name not in known]
        for name in new:
            taken = {sql.lower() for _, sql in known.values()} | _RESERVED[place]
            sql = name
            while sql.lower() in taken:  # SQLite's names do not tell cases apart
                sql += "_"
            if len(taken) >= MOST_COLUMNS:
                raise StoreError(
                    f"has {len(taken)} columns, no more fit: use another file for other architectures",
                    file=self.path,
                )
            self.db.execute(f"alter table {place} add column {_quoted(sql)}")
            self.db.execute(
                "insert into columns(place, name, kind, sql) values (?, ?, ?, ?)",
                (place, name, kinds[name], sql),
            )
            known[name] = (kinds[name], sql)
            self._count += 1
        for name, kind in kinds.items():
            if (wide := widest({kind, known[name][0]})) != known[name][0]:
                self.db.execute(
                    "update columns set kind = ? where place = ? and name = ?", (wide, place, name)
                )
                known[name] = (wide, known[name][1])
        if new:
            self._view()
        return [known[name][1] for name in kinds]

    def _view(self) -> None:
        self.db.execute("drop view if exists results")
        chosen = ", ".join(f"{sql} as {_quoted(name)}" for name, sql in self._sql().items())
        self.db.execute(f"create view results as select {chosen} from {_JOINED} order by r.id")

    # -- reading -----------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The columns of ``results``, in order."""
        with self._clear():
            self._reload()
            return list(self._sql())

    def studies(self) -> list[dict[str, Any]]:
        """Name, start (seconds since 1970), rows and finished rows of every study, oldest first."""
        query = (
            "select s.name, s.started, count(*), count(p.id) from studies s join members b on b.study = s.id join rows r on r.id = b.row "
            "left join points p on p.key = r.key group by s.id order by s.id"
        )
        with self._clear():
            return [
                dict(zip(("name", "started", "rows", "finished"), row, strict=True))
                for row in self.db.execute(query)
            ]

    def stored(self, keys: Sequence[bytes]) -> dict[int, int]:
        """Places in ``keys`` whose points are finished, and the points' ids in this file."""
        found: dict[int, int] = {}
        with self._clear():
            if self.db.execute("select 1 from points limit 1").fetchone() is None:
                return found
            for start in range(0, len(keys), CHUNK):
                part = keys[start : start + CHUNK]
                at = {key: start + i for i, key in enumerate(part)}
                marks = ", ".join("?" * len(part))
                for key, number in self.db.execute(
                    f"select key, id from points where key in ({marks})", part
                ):
                    found[at[key]] = number
        return found

    def fetch(self, points: Mapping[int, int]) -> list[ColumnBlock]:
        """The records of points by their ids here, as ``stored`` gives them; the blocks' ids are
        its keys.
        """
        place = {number: i for i, number in points.items()}
        ids = sorted(place)
        groups: dict[int, list[tuple[int, str, str | None]]] = {}
        with self._clear():
            self._reload()
            names_of = {number: names for names, number in self._layouts.items()}
            for start in range(0, len(ids), CHUNK):
                part = ids[start : start + CHUNK]
                marks = ", ".join("?" * len(part))
                told = f"select id, layout, status, error from points where id in ({marks}) order by id"
                for number, layout, status, error in self.db.execute(told, part):
                    groups.setdefault(layout, []).append((number, status, error))
            blocks = []
            for layout, members in groups.items():
                names = names_of[layout]
                kinds, sql = (
                    zip(*(self._columns["points"][n] for n in names), strict=True)
                    if names
                    else ((), ())
                )
                found: list[tuple[Any, ...]] = []
                for start in range(0, len(members), CHUNK):
                    part = [m[0] for m in members[start : start + CHUNK]]
                    chosen = ", ".join(["id", *(_quoted(s) for s in sql)])
                    rows = self.db.execute(
                        f"select {chosen} from points where id in ({', '.join('?' * len(part))}) order by id",
                        part,
                    )
                    found += rows.fetchall()
                values = list(zip(*found, strict=True))[1:] if names else []
                columns = tuple(_column(v, kind) for v, kind in zip(values, kinds, strict=True))
                numbers = np.array([place[m[0]] for m in members], dtype=np.int64)
                blocks.append(
                    ColumnBlock(
                        numbers,
                        names,
                        columns,
                        tuple(m[1] for m in members),
                        tuple(m[2] for m in members),
                    )
                )
        return blocks

    def table(
        self,
        columns: Sequence[str] | None = None,
        where: Expression | None = None,
        study: str | None = None,
    ) -> Table:
        """Columns of ``results`` (all if not given), the rows for which ``where`` holds, those of
        one study if named.

        Raises InputError for a column or a study there is not, or an expression that cannot be
        worked out.
        """
        with self._clear():
            self._reload()
        sql = self._sql()
        wanted = list(sql) if columns is None else list(columns)
        for name in wanted:
            self._check_name(name, "columns")
        number = None if study is None else self._study_number(study)
        if where is not None:
            ids = self._matching(where, number)
            with self._clear():
                self._choose(ids)
        with self._clear():
            found = self._select(
                [sql[n] for n in wanted], number, chosen=where is not None
            ).fetchall()
        kinds = self._kinds()
        values = list(zip(*found, strict=True)) if found else [()] * len(wanted)
        return Table(
            {n: _column(v, kinds.get(n, "")) for n, v in zip(wanted, values, strict=True)},
            len(found),
        )

    def _select(
        self, chosen_sql: Sequence[str], study: int | None, *, chosen: bool = False
    ) -> sqlite3.Cursor:
        source, order, values = _JOINED, "r.id", ()
        if study is not None:
            source = "members b cross join " + _JOINED.replace(
                "rows r", "rows r on r.id = b.row", 1
            )
            order, values = "b.position", (study,)  # type: ignore[assignment]
        conditions = [
            c
            for c, there in (
                ("b.study = ?", study is not None),
                ("r.id in (select id from temp.chosen)", chosen),
            )
            if there
        ]
        where = f" where {' and '.join(conditions)}" if conditions else ""
        return self.db.execute(
            f"select {', '.join(chosen_sql)} from {source}{where} order by {order}", values
        )

    def _matching(self, where: Expression, study: int | None) -> list[int]:
        """Ids of the rows for which an expression holds."""
        with self._clear():
            self._reload()
        sql = self._sql()
        for name in where.names:
            self._check_name(name, "where")
        with self._clear():
            found = self._select(["r.id", *(sql[n] for n in where.names)], study).fetchall()
        try:
            return [
                row[0] for row in found if where.holds(dict(zip(where.names, row[1:], strict=True)))
            ]
        except ExpressionError as error:
            raise InputError(str(error), key="where", got=where.text) from None

    def _choose(self, ids: Iterable[int]) -> None:
        self.db.execute("create temp table if not exists chosen(id integer primary key)")
        self.db.execute("delete from temp.chosen")
        self.db.executemany("insert into temp.chosen(id) values (?)", ((i,) for i in ids))

    def _check_name(self, name: str, key: str) -> None:
        if name not in (known := self._sql()):
            raise InputError(f"{self.path} has no such column", key=key, got=name, choices=known)

    def _study_number(self, name: str) -> int:
        """The newest study of a name."""
        with self._clear():
            found = dict(self.db.execute("select name, max(id) from studies group by name"))
        if name not in found:
            raise InputError(f"{self.path} has no such study", key="study", got=name, choices=found)
        return int(found[name])

    def _sql(self) -> dict[str, str]:
        """Every column of ``results`` and how it is selected."""
        axes = {name: f"m.{_quoted(sql)}" for name, (_, sql) in self._columns["machines"].items()}
        values = {name: f"p.{_quoted(sql)}" for name, (_, sql) in self._columns["points"].items()}
        return _BEFORE | axes | _BETWEEN | values | _AFTER

    def _kinds(self) -> dict[str, str]:
        texts = dict.fromkeys(("workload", "layer", "arch", "set", "dataflow", "error"), "text")
        return texts | {
            name: kind for place in self._columns.values() for name, (kind, _) in place.items()
        }

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """SQLite's errors as one line."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(_reason(error), file=self.path) from error


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _reason(error: sqlite3.Error) -> str:
    kept = "; what was stored is kept"
    reasons = {
        sqlite3.SQLITE_BUSY: f"is locked by another process, waited {LOCK_S:g} s{kept}",
        sqlite3.SQLITE_LOCKED: f"is locked by another process, waited {LOCK_S:g} s{kept}",
        sqlite3.SQLITE_FULL: f"cannot be written: the disk is full{kept}",
        sqlite3.SQLITE_IOERR: f"cannot be written or read: the disk is full or failing{kept}",
        sqlite3.SQLITE_CORRUPT: "is damaged; it was left as it is",
        sqlite3.SQLITE_NOTADB: "is damaged, or no SQLite file; it was left as it is",
        sqlite3.SQLITE_READONLY: "is read-only",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    }
    return reasons.get(_code(error), f"cannot be used: {error}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _column(values: Sequence[Any], kind: str) -> Column:
    """A column as it was stored: truth values come back from SQLite as 0 and 1, whole floats as
    floats.
    """
    if kind == "bool":
        values = [None if v is None else bool(v) for v in values]
    if kind == "text":
        return text_column(
            np.array(
                [v if v is None or isinstance(v, str) else str(v) for v in values], dtype=object
            )
        )
    return column(values)
