"""``ferrio.asyncio``: all of asyncio's names, Ferrio's objects where it has them, and nothing changed elsewhere."""

import asyncio
import importlib
import subprocess
import sys
import warnings
from typing import Any

import pytest

import ferrio
import ferrio.asyncio
from ferrio._namespace import PRIMITIVES

from .loops import ferrio_only

pytestmark = ferrio_only


def public_names() -> list[str]:
    return sorted({*dir(asyncio), *asyncio.__all__})


@pytest.mark.parametrize("name", public_names())
def test_it_has_every_name_of_asyncio(name: str) -> None:
    assert hasattr(ferrio.asyncio, name)
    assert name in dir(ferrio.asyncio)


def test_star_import_brings_what_asyncios_brings() -> None:
    assert set(ferrio.asyncio.__all__) == set(asyncio.__all__)


def test_a_name_that_asyncio_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'ferrio\.asyncio' has no attribute 'nonsense'"):
        _ = ferrio.asyncio.nonsense  # type: ignore[attr-defined]


def test_its_loops_and_runners_are_ferrios() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert type(ferrio.asyncio.run(loop())) is ferrio.Loop
    with ferrio.asyncio.Runner() as runner:
        assert type(runner.get_loop()) is ferrio.Loop
    assert ferrio.asyncio.SelectorEventLoop is ferrio.Loop
    if sys.version_info >= (3, 13):
        assert ferrio.asyncio.EventLoop is ferrio.Loop
    fresh = ferrio.asyncio.new_event_loop()
    fresh.close()
    assert type(fresh) is ferrio.Loop


def test_its_default_policy_makes_ferrio_loops() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        policy = ferrio.asyncio.DefaultEventLoopPolicy
        deprecated = asyncio.DefaultEventLoopPolicy
    assert policy is ferrio.EventLoopPolicy
    assert deprecated is not policy
    assert len(caught) == (2 if sys.version_info >= (3, 14) else 0)


@pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda primitive: primitive.name)
def test_each_primitive_stands_where_asyncio_has_its_own(primitive: Any) -> None:
    assert getattr(asyncio, primitive.name) is primitive.original
    assert getattr(ferrio.asyncio, primitive.name) is primitive.ours
    if isinstance(primitive.original, type):
        assert issubclass(primitive.ours, primitive.original)


@pytest.mark.parametrize("name", ["queues", "subprocess", "locks", "events", "tasks", "sslproto"])
def test_submodules_are_reachable_in_every_way(name: str) -> None:
    module = importlib.import_module(f"ferrio.asyncio.{name}")
    original = importlib.import_module(f"asyncio.{name}")
    assert getattr(ferrio.asyncio, name) is module
    assert set(dir(original)) <= set(dir(module))
    for public in getattr(original, "__all__", ()):
        assert getattr(module, public) is getattr(ferrio.asyncio, public, getattr(original, public))


def test_submodules_have_private_names_too() -> None:
    assert ferrio.asyncio.events._get_running_loop is asyncio.events._get_running_loop


def test_importing_it_warns_of_nothing_and_changes_no_name_of_asyncio() -> None:
    program = (
        "import asyncio; before = dict(vars(asyncio)); import ferrio.asyncio;"
        "after = dict(vars(asyncio)); print(before.items() == after.items())"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "True\n", "")
