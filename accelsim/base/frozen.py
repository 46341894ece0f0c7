"""Frozen models, and the mappings inside them: nobody changes them after they are made.

``Frozen`` is the base of what is read from files and made in Python: architectures, dataflows,
mappings, layers, workloads.  pydantic's ``frozen`` keeps an attribute from being set anew, not the
dict it holds from being changed.  Models are shared between layers, threads and caches, so fields
that are mappings are declared as ``FixedDict`` and hold a ``FrozenDict``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
)
from pydantic_core import CoreSchema

from accelsim.base.first_error import first_error

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:  # its name is pydantic's own affair
    ModelMetaclass = type(BaseModel)

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dict that cannot be changed; ``dict(it)`` is a copy that can."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("this mapping cannot be changed; change a copy of it, dict(...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        """Equal mappings have equal hashes; pydantic copies a default only if it has none."""
        return hash(frozenset(self.items()))

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As a default it is written into JSON schemas like any dict."""
        return handler(dict[Any, Any])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as a whole, since it cannot be filled key by key."""
        return type(self), (dict(self),)


# The type of a model's field: a dict in files and schemas, frozen when it has been checked.
FixedDict = Annotated[dict[K, V], AfterValidator(FrozenDict)]
SomeFixedDict = Annotated[dict[K, V], Field(min_length=1), AfterValidator(FrozenDict)]


class _OneLine(ModelMetaclass):
    """A class whose call raises InputError, one line, where pydantic would write a page.  Models
    that are validated, alone or inside others, do not pass here.
    """

    if not TYPE_CHECKING:

        def __call__(self, *args: Any, **data: Any) -> Any:
            try:
                return super().__call__(*args, **data)
            except ValidationError as error:
                raise first_error(error, data, self, "", None, ()) from None


class Frozen(BaseModel, metaclass=_OneLine):
    """Strict, frozen, and no keys but those named: a mistyped key is an error, not a default.
    Calling it raises InputError.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
