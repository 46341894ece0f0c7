"""From a store to a frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from accelsim.base.errors import InputError
from accelsim.base.expression import Expression, ExpressionError, parse
from accelsim.explore.columns import Table
from accelsim.explore.store import Store
from accelsim.explore.totals import totals
from accelsim.hardware.architecture import Architecture

if TYPE_CHECKING:
    import pandas as pd


def read_store(
    store: str | os.PathLike[str],
    where: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    study: str | None = None,
    total: bool = False,
) -> pd.DataFrame:
    """The finished rows of a store, those for which the expression ``where`` holds, those of one
    study if named.

    ``columns`` chooses columns; ``total`` sums over the layers of each network, and ``where`` is
    then about the sums. Raises StoreError and InputError.
    """
    with Store(store, create=False) as opened:
        return read_table(opened, where, columns, study=study, total=total).to_frame()


def read_table(
    store: Store,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    study: str | None = None,
    total: bool = False,
) -> Table:
    """The same from an open store, as a table."""
    condition = expression(where, "where") if where is not None else None
    if not total:
        return store.table(columns, condition, study)
    whole = store.table(None, None, study)
    found = totals(
        whole, tuple(n for n in whole.columns if n.split(".")[0] in Architecture.model_fields)
    )
    for key, asked in (("columns", columns or ()), ("where", condition.names if condition else ())):
        for name in asked:
            if name not in found.columns:
                raise InputError(
                    "totals have no such column", key=key, got=name, choices=found.columns
                )
    if condition is not None:
        values = found.select(condition.names)
        try:
            found = found.take(
                np.array(
                    [
                        condition.holds(dict(zip(condition.names, row, strict=True)))
                        for row in values.rows()
                    ],
                    dtype=bool,
                )
            )
        except ExpressionError as error:
            raise InputError(str(error), key="where", got=condition.text) from None
    return found.select(columns) if columns is not None else found


def expression(text: str, key: str) -> Expression:
    """An expression from a command line or a call.  Raises InputError."""
    try:
        return parse(text)
    except ExpressionError as error:
        raise InputError(str(error), key=key) from None
