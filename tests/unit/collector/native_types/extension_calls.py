"""Timers and watches of extensions."""

from typing import Any

from ...c_api import API, News
from .kinds import KINDS, Kind, World

NEWS = News()


def timer(world: World) -> Any:
    """A timer that has been stopped: those of a loop are the loop's until they are due."""
    made = API.timer_start(world.loop, 1000.0, NEWS.function, None)
    API.stop(made)
    NEWS.told.clear()
    return made


KINDS["ExtensionCall"] = Kind(make=timer, ways={})
