"""A seed's program: which calls it makes, chosen from what the variables hold as it runs."""

import asyncio
import gc
import random
import socket
from collections.abc import Callable
from typing import Any

from fuzz import values
from fuzz.calls import ARGUMENTS, SIGNATURES, TEMPLATES, TYPES, Template, kinds_of, members

#: Kinds that are literals only.
ALWAYS_LITERAL = frozenset(["deed", "kind", "short", "index", "port", "delay", "count", "name"])
TURN = Template("turn({loop})")
WAIT = Template("wait_a_little({loop})")


class Seed:
    """Draws and makes the calls of one program.

    Each call's text is given to *note* before the call is made.
    """

    def __init__(self, seed: int, calls: int, note: Callable[[str], None], only: str = "") -> None:
        self.chance = random.Random(seed)
        self.calls = calls
        self.note = note
        self.types = [entry for entry in TYPES if only in entry[0]] or TYPES
        self.made = 0

    def run(self) -> None:
        """Make the program's calls; an interrupt between two of them ends none."""
        while self.made < self.calls:
            try:
                while self.made < self.calls:
                    self.step()
            except KeyboardInterrupt:
                continue

    def step(self) -> None:
        roll = self.chance.random()
        if self.made == 0:
            self.make_call(1, "new_loop()", values.new_loop)
        elif self.made == 1:
            self.make_call(2, "v[1].create_future()", lambda: values.v[1].create_future())
        elif roll < 0.12:
            self.fill(TURN if self.chance.random() < 0.93 else WAIT)
        elif roll < 0.50:
            self.fill(self.pick(TEMPLATES["make"]))
        elif roll < 0.62:
            self.fill(self.pick(TEMPLATES["slot"]))
        elif roll < 0.70:
            self.fill(self.pick(TEMPLATES["odd"]))
        elif roll < 0.90:
            self.member()
        elif roll < 0.97:
            self.wrong_receiver()
        else:
            slot = self.slot()
            self.make_call(slot, f"v.__setitem__({slot}, None)", lambda: values.v.__setitem__(slot, None))

    def pick(self, things: list) -> Any:
        return things[int(self.chance.random() * len(things))]

    def slot(self) -> int:
        # The first loop and future are replaced seldom.
        return int(self.chance.random() * 21) + 3 if self.chance.random() < 0.97 else int(self.chance.random() * 24)

    def make_call(self, slot: int, text: str, function: Callable[[], Any]) -> None:
        keeps_error = self.chance.random() < 0.02
        self.note(f"call({slot}, lambda: {text}{', keeps_error=True' if keeps_error else ''})\n")
        self.made += 1
        values.call(slot, function, keeps_error)

    def argument(self, kind: str) -> tuple[str, Callable[[], Any]]:
        """An argument's text, and what makes it."""
        if kind == "slot":
            slot = self.slot()
            return str(slot), lambda: slot
        if kind == "x":
            start = int(self.chance.random() * 24)
            for index in (*range(start, 24), *range(start)):
                if "x" in kinds_of(type(values.v[index])):
                    return f"v[{index}]", lambda: values.v[index]
            return "v[2]", lambda: values.v[2]
        if kind == "type":
            name, found = self.pick(self.types)
            return name, lambda: found
        roll = self.chance.random()
        literals = ARGUMENTS.get(kind)
        if kind in ALWAYS_LITERAL or (literals is not None and roll < 0.6):
            return self.pick(literals)
        if kind != "any" and roll < 0.95:
            start = int(self.chance.random() * 24)
            for index in (*range(start, 24), *range(start)):
                if kind in kinds_of(type(values.v[index])):
                    return f"v[{index}]", lambda: values.v[index]
            if literals is not None:
                return self.pick(literals)
        if self.chance.random() < 0.5:
            index = int(self.chance.random() * 24)
            return f"v[{index}]", lambda: values.v[index]
        return self.pick(ARGUMENTS["any"])

    def arguments(self, kinds: list[str]) -> tuple[list[str], list[Callable[[], Any]]]:
        texts, makers = [], []
        for kind in kinds:
            text, maker = self.argument(kind)
            texts.append(text)
            makers.append(maker)
        return texts, makers

    def fill(self, template: Template) -> None:
        texts, makers = self.arguments(template.kinds)
        if template.text.startswith("{x}.__init__") and isinstance(makers[0](), asyncio.Task | socket.socket):
            # `_asyncio` crashes when a task's second __init__ fails, and a socket's forgets its descriptor.
            return
        function = template.function
        self.make_call(self.slot(), template.filled(texts), lambda: function(*[maker() for maker in makers]))

    def method_arguments(self, name: str) -> tuple[list[str], list[Callable[[], Any]]]:
        kinds = SIGNATURES.get(name)
        if kinds is not None and self.chance.random() < 0.7:
            return self.arguments(kinds.split())
        return self.arguments(["any"] * int(self.chance.random() * 4))

    def member(self) -> None:
        """A method, attribute, setter or deleter of a variable."""
        receiver, get = self.argument("x")
        names = members(type(get()))
        if not receiver.startswith("v") or not names:
            return
        name = self.pick(names)
        roll = self.chance.random()
        if roll < 0.6:
            texts, makers = self.method_arguments(name)
            text = f"{receiver}.{name}({', '.join(texts)})"
            self.make_call(self.slot(), text, lambda: getattr(get(), name)(*[maker() for maker in makers]))
        elif roll < 0.75:
            self.make_call(self.slot(), f"{receiver}.{name}", lambda: getattr(get(), name))
        elif roll < 0.93:
            text, maker = self.argument("any" if self.chance.random() < 0.7 else "x")
            self.make_call(0, f"setattr({receiver}, {name!r}, {text})", lambda: setattr(get(), name, maker()))
        else:
            self.make_call(0, f"delattr({receiver}, {name!r})", lambda: delattr(get(), name))

    def wrong_receiver(self) -> None:
        """What a type has, called with something else in place of its object."""
        label, kind = self.pick(self.types)
        names = members(kind)
        if not names:
            return
        name = self.pick(names)
        receiver, get = self.argument("x" if self.chance.random() < 0.5 else "any")
        roll = self.chance.random()
        texts, makers = self.method_arguments(name)
        rest = "".join(f", {text}" for text in texts)
        if roll < 0.6:
            text = f"{label}.{name}({receiver}{rest})"
            self.make_call(self.slot(), text, lambda: getattr(kind, name)(get(), *[maker() for maker in makers]))
            return
        if roll < 0.75:
            text, slot = f"{label}.{name}.__get__({receiver}, {label})", self.slot()
            self.make_call(slot, text, lambda: getattr(kind, name).__get__(get(), kind))
        elif roll < 0.9:
            value, make = self.argument("any")
            text, slot = f"{label}.{name}.__set__({receiver}, {value})", 0
            self.make_call(slot, text, lambda: getattr(kind, name).__set__(get(), make()))
        else:
            text, slot = f"{label}.{name}.__delete__({receiver})", 0
            self.make_call(slot, text, lambda: getattr(kind, name).__delete__(get()))


def run_seed(seed: int, calls: int, note: Callable[[str], None], only: str = "") -> int:
    """Run a seed's program to its end and clear up; returns how many calls it made."""
    program = Seed(seed, calls, note, only)
    program.run()
    note("finish()\n")
    while True:
        try:
            values.finish()
            if seed % 4 == 0:
                gc.collect()
            break
        except KeyboardInterrupt:
            continue
    return program.made
