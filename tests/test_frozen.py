"""What is shared cannot be changed: models and the mappings in them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

import accelsim as acc
from accelsim.base.frozen import FrozenDict

CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    lambda d: d.__setitem__("more", 1),
    lambda d: d.__delitem__("dram"),
    lambda d: d.update(more=1),
    lambda d: d.setdefault("more", 1),
    lambda d: d.pop("dram"),
    lambda d: d.popitem(),
    lambda d: d.clear(),
    lambda d: d.__ior__({"more": 1}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_level_is_neither_added_nor_taken(change: Callable[[dict[str, Any]], Any]) -> None:
    arch = acc.load_architecture("eyeriss")
    before = dict(arch.levels)
    with pytest.raises(TypeError, match="cannot be changed"):
        change(arch.levels)
    assert arch.levels == before


def test_every_mapping_of_every_shipped_file_is_frozen() -> None:
    models: list[Any] = [acc.load_architecture(n) for n in acc.architectures()]
    models += [acc.load_dataflow(n) for n in acc.dataflows()]
    models += [acc.load_workload(n) for n in acc.workloads()]
    for model in models:
        assert not plain_dicts(model), (type(model).__name__, model.name)
        with pytest.raises(ValidationError):
            model.name = "other"


def plain_dicts(value: Any) -> list[Any]:
    """Dicts that can be changed, anywhere in a model's fields."""
    if hasattr(type(value), "model_fields"):
        return [d for k in type(value).model_fields for d in plain_dicts(getattr(value, k))]
    if isinstance(value, tuple):
        return [d for x in value for d in plain_dicts(x)]
    if isinstance(value, dict):
        below = [d for x in value.values() for d in plain_dicts(x)]
        return below if isinstance(value, FrozenDict) else [value, *below]
    return []


def test_copies_and_pickles_are_equal() -> None:
    arch = acc.load_architecture("eyeriss")
    for twin in (copy.deepcopy(arch), pickle.loads(pickle.dumps(arch))):
        assert twin == arch and twin.levels == arch.levels
        assert isinstance(twin.levels, FrozenDict)
    assert hash(FrozenDict(a=1, b=2)) == hash(FrozenDict(b=2, a=1))
