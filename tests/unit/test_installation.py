"""Importing changes nothing; ``install`` and ``uninstall`` change and restore asyncio's names."""

import asyncio
import asyncio.unix_events
import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import ferrio

from .loops import ferrio_only

pytestmark = ferrio_only

MODULES = [asyncio, asyncio.events, asyncio.unix_events, asyncio.base_events, asyncio.runners, asyncio.tasks]

PROBE = """
import asyncio, json, signal, sys
import asyncio.unix_events, asyncio.events, asyncio.base_events, asyncio.selector_events, asyncio.runners
import asyncio.tasks, asyncio.futures, asyncio.streams, asyncio.transports, asyncio.sslproto, asyncio.trsock
import asyncio.protocols, asyncio.locks, asyncio.queues, asyncio.constants, asyncio.format_helpers

def classes_and_modules():
    found = {}
    for module_name, module in sorted(sys.modules.items()):
        if module_name == "asyncio" or module_name.startswith("asyncio."):
            for name, value in vars(module).items():
                if name.startswith("__"):
                    continue
                found[f"{module_name}.{name}"] = id(value)
                if isinstance(value, type):
                    for attribute, member in vars(value).items():
                        found[f"{module_name}.{name}.{attribute}"] = id(member)
    return found

def around():
    return {
        "policy": repr(asyncio.events._event_loop_policy),
        "running": repr(asyncio.events._get_running_loop()),
        "hooks": repr(sys.get_asyncgen_hooks()),
        "excepthook": repr(sys.excepthook),
        "unraisablehook": repr(sys.unraisablehook),
        "sigint": repr(signal.getsignal(signal.SIGINT)),
        "threads": len(__import__("threading").enumerate()),
        "path": list(sys.path),
    }

names, state = classes_and_modules(), around()
import ferrio
names_after, state_after = classes_and_modules(), around()
changed = sorted(set(names.items()) ^ set(names_after.items()))
print(json.dumps({"changed": changed, "state": state == state_after, "before": state, "after": state_after}))
"""


@pytest.fixture(autouse=True)
def _uninstalled_afterwards() -> Iterator[None]:
    yield
    ferrio.uninstall()


def names() -> dict[str, Any]:
    found = {}
    for module in MODULES:
        for name, value in vars(module).items():
            found[f"{module.__name__}.{name}"] = value
            if isinstance(value, type):
                found.update({f"{module.__name__}.{name}.{key}": each for key, each in vars(value).items()})
    return found


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_importing_ferrio_changes_nothing_in_asyncio_nor_around_it() -> None:
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    assert told["changed"] == []
    assert told["after"] == told["before"]
    assert ran.stderr == ""


def test_importing_ferrio_warns_of_nothing() -> None:
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", "import ferrio"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_install_makes_asyncio_run_on_ferrio() -> None:
    ferrio.install()
    assert type(asyncio.run(running_loop())) is ferrio.Loop


def test_install_makes_asyncios_runner_run_on_ferrio() -> None:
    ferrio.install()
    with asyncio.Runner() as runner:
        assert type(runner.get_loop()) is ferrio.Loop


def test_install_makes_every_name_of_asyncios_loop_mean_ferrios() -> None:
    ferrio.install()
    assert asyncio.SelectorEventLoop is ferrio.Loop
    if sys.version_info >= (3, 13):
        assert asyncio.EventLoop is ferrio.Loop
    loop = asyncio.new_event_loop()
    assert type(loop) is ferrio.Loop
    loop.close()


def test_install_reaches_a_default_policy_that_is_made_later() -> None:
    ferrio.install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loop = asyncio.DefaultEventLoopPolicy().new_event_loop()
    assert type(loop) is ferrio.Loop
    loop.close()


def test_install_reaches_other_threads() -> None:
    ferrio.install()
    found: list[type] = []
    thread = threading.Thread(target=lambda: found.append(type(asyncio.run(running_loop()))))
    thread.start()
    thread.join()
    assert found == [ferrio.Loop]


def test_uninstall_restores_every_name() -> None:
    before = names()
    ferrio.install()
    assert names() != before
    ferrio.uninstall()
    assert names() == before
    assert type(asyncio.run(running_loop())) is not ferrio.Loop


def test_installing_twice_is_undone_by_uninstalling_once() -> None:
    before = names()
    ferrio.install()
    ferrio.install()
    ferrio.uninstall()
    assert names() == before


def test_uninstalling_what_was_not_installed_does_nothing() -> None:
    before = names()
    ferrio.uninstall()
    ferrio.uninstall()
    assert names() == before


def test_it_can_be_installed_again() -> None:
    before = names()
    for _ in range(3):
        ferrio.install()
        assert type(asyncio.run(running_loop())) is ferrio.Loop
        ferrio.uninstall()
    assert names() == before


def test_a_loop_made_while_installed_works_after_uninstalling() -> None:
    ferrio.install()
    loop = asyncio.new_event_loop()
    ferrio.uninstall()
    assert loop.run_until_complete(running_loop()) is loop
    loop.close()


def test_a_loop_made_before_installing_stays_what_it_is() -> None:
    loop = asyncio.new_event_loop()
    ferrio.install()
    assert type(loop) is not ferrio.Loop
    assert loop.run_until_complete(running_loop()) is loop
    loop.close()


def test_ferrio_works_the_same_while_installed() -> None:
    ferrio.install()
    assert type(ferrio.run(running_loop())) is ferrio.Loop
    loop = ferrio.EventLoopPolicy().new_event_loop()
    assert type(loop) is ferrio.Loop
    loop.close()
