"""The annotations of everything public can be evaluated, as frameworks do that look at signatures."""

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Iterator

import pytest

import ferrio

from .loops import ferrio_only

pytestmark = ferrio_only


def public_modules() -> Iterator[types.ModuleType]:
    yield ferrio
    for info in pkgutil.walk_packages(ferrio.__path__, "ferrio."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            yield importlib.import_module(info.name)


def is_ours(found: object) -> bool:
    return (getattr(found, "__module__", None) or "").partition(".")[0] == "ferrio"


def public_objects() -> Iterator[tuple[str, object]]:
    """Classes and functions written in Python, methods and properties among them."""
    for module in public_modules():
        names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
        for name, found in ((name, getattr(module, name)) for name in names):
            full_name = f"{module.__name__}.{name}"
            if isinstance(found, types.FunctionType) and is_ours(found):
                yield full_name, found
            elif isinstance(found, type) and is_ours(found):
                yield full_name, found
                for attribute in dir(found):
                    method = inspect.getattr_static(found, attribute)
                    method = getattr(method, "__func__", getattr(method, "fget", method))
                    is_public = not attribute.startswith("_") or attribute == "__init__"
                    if is_public and isinstance(method, types.FunctionType) and is_ours(method):
                        yield f"{full_name}.{attribute}", method


OBJECTS = dict(public_objects())


@pytest.mark.parametrize("name", OBJECTS)
def test_the_annotations_of_what_is_public_can_be_evaluated(name: str) -> None:
    typing.get_type_hints(OBJECTS[name])


def test_what_is_looked_at_is_not_little() -> None:
    assert {"ferrio.run", "ferrio.Loop", "ferrio.Loop.sock_accept", "ferrio.Runner.__init__", "ferrio.watch"} <= {
        *OBJECTS
    }
    assert typing.get_type_hints(ferrio.new_event_loop)["return"] is ferrio.Loop
