"""A finding of the doctor: what was looked at, what there is, whether it is as it should be."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """How a finding is to be taken."""

    FINE = "fine"
    #: It works, and something would be better otherwise.
    ADVICE = "advice"
    #: It does not work.
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """``what`` is ``value``; where it is not fine, ``advice`` says what to do."""

    what: str
    value: str
    state: State = State.FINE
    advice: str = ""
