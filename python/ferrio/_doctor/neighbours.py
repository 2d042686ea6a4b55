"""Which loop the libraries of this environment take by themselves, and how each is made to take Ferrio.

Nothing is imported: what is installed is read from the environment's metadata.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

from .finding import Finding, State

#: Other loops that libraries may choose by themselves.
UVLOOP = "uvloop"


def version(name: str) -> str | None:
    """That of the distribution *name*; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def asyncios() -> str:
    return "asyncio's loop"


def uvloops_if_there() -> str:
    return "uvloop's loop, because it is installed" if version(UVLOOP) else asyncios()


@dataclass(frozen=True)
class Neighbour:
    #: The distribution's name.
    name: str
    #: Whose loop it takes.
    takes: Callable[[], str]
    #: What makes it take Ferrio's.
    way: str


NEIGHBOURS = (
    Neighbour("uvicorn", uvloops_if_there, "uvicorn --loop ferrio:new_event_loop app:app (from 0.36 on)"),
    Neighbour(
        "gunicorn",
        uvloops_if_there,
        'a worker class: class Worker(UvicornWorker): CONFIG_KWARGS = {"loop": "ferrio:new_event_loop"}',
    ),
    Neighbour("hypercorn", asyncios, "python -m ferrio -m hypercorn app:app"),
    Neighbour("granian", uvloops_if_there, "python -m ferrio -m granian --interface asgi --loop asyncio app:app"),
    Neighbour("aiohttp", asyncios, "web.run_app(app, loop=ferrio.new_event_loop()); clients use the running loop"),
    Neighbour(
        "anyio",
        asyncios,
        'anyio.run(main, backend_options={"loop_factory": ferrio.new_event_loop}); see the guide for pytest',
    ),
    Neighbour("pytest-asyncio", asyncios, "the hook pytest_asyncio_loop_factories in conftest.py; see the guide"),
    Neighbour("tornado", asyncios, "python -m ferrio app.py, or ferrio.install() before it is imported"),
    Neighbour("distributed", asyncios, "python -m ferrio app.py; workers that it starts are on Ferrio too"),
    Neighbour("ipykernel", asyncios, "python -m ferrio -m ipykernel_launcher in the kernel's specification"),
)


def findings() -> list[Finding]:
    found = [
        Finding(f"{each.name} {installed}", f"takes {each.takes()}", State.FINE, f"for Ferrio's: {each.way}")
        for each in NEIGHBOURS
        if (installed := version(each.name))
    ]
    return found or [Finding("servers, clients, test runners", "none that the doctor knows")]
