"""prompt_toolkit asks an input hook, which runs a toolkit's own loop, whenever its loop would wait."""

import asyncio
import selectors
import threading
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.eventloop import InputHookContext, new_eventloop_with_inputhook
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

asked: list[int] = []


def hook(context: InputHookContext) -> None:
    # What a toolkit does: its own events until there is input.
    asked.append(context.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(context.fileno(), selectors.EVENT_READ)
        assert selector.select(10), "nobody ended the hook"


loop = new_eventloop_with_inputhook(hook)
assert loop.run_until_complete(asyncio.sleep(0.01, "slept")) == "slept"
assert asked, "the hook was not asked"
loop.close()

asked.clear()
with create_pipe_input() as given:
    session: Any = PromptSession(input=given, output=DummyOutput())
    threading.Timer(0.3, given.send_text, ["typed\n"]).start()
    assert session.prompt("> ", inputhook=hook) == "typed"
assert asked, "the hook was not asked while the prompt waited"

asked.clear()
with create_pipe_input() as given:
    session = PromptSession(input=given, output=DummyOutput())
    threading.Timer(0.1, given.send_text, ["again\n"]).start()
    assert session.prompt("> ") == "again"
assert not asked
