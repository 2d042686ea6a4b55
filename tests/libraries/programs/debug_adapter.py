"""debugpy, as editors use it: a breakpoint in a coroutine, a step over what it awaits, the variables, the end."""

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
from typing import Any

import debugpy  # type: ignore[import-not-found, unused-ignore]
import loop_under_test

LIMIT_S = 40.0


async def waits(seconds: float) -> str:
    before = "slept"
    after = await asyncio.sleep(seconds, before + " well")
    return after.strip()


FIRST_LINE = waits.__code__.co_firstlineno + 1


async def main() -> None:
    loop_under_test.check()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(waits(0.01))
    print(task.result())


class Editor:
    """The editor's end of the protocol: JSON behind a header that says its length."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self.file = self.connection.makefile("rb")
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: Any) -> int:
        number = next(self.numbers)
        text = json.dumps({"seq": number, "type": "request", "command": command, "arguments": arguments}).encode()
        self.connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
        return number

    def receive(self) -> dict[str, Any]:
        size = 0
        while (line := self.file.readline().strip()) or not size:
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        message: dict[str, Any] = json.loads(self.file.read(size))
        return message

    def answer(self, number: int) -> dict[str, Any]:
        while True:
            message = self.receive()
            if message["type"] == "response" and message["request_seq"] == number:
                assert message["success"], message
                body: dict[str, Any] = message.get("body") or {}
                return body
            if message["type"] == "event":
                self.events.append(message)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.answer(self.send(command, **arguments))

    def event(self, name: str) -> dict[str, Any]:
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    body: dict[str, Any] = event.get("body") or {}
                    return body
            message = self.receive()
            if message["type"] == "event":
                self.events.append(message)

    def stopped_at(self) -> tuple[int, int]:
        """The number and the line of the frame at which the program has stopped."""
        thread = self.event("stopped")["threadId"]
        frame = self.ask("stackTrace", threadId=thread)["stackFrames"][0]
        assert frame["name"] == "waits", frame
        return frame["id"], frame["line"]


def debugged() -> None:
    """What runs in the debugged process."""
    port = debugpy.listen(("127.0.0.1", 0))[1]
    print(port, flush=True)
    debugpy.wait_for_client()
    asyncio.run(main())


def edited() -> None:
    """What the editor does."""
    command = loop_under_test.command(__file__, "debugged")
    # It warns otherwise that it does not stop in the standard library's frozen modules.
    environment = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            editor = Editor(int(process.stdout.readline()))
            editor.ask("initialize", adapterID="test", linesStartAt1=True, pathFormat="path")
            attached = editor.send("attach", justMyCode=True)
            editor.event("initialized")
            editor.ask("setBreakpoints", source={"path": __file__}, breakpoints=[{"line": FIRST_LINE}])
            editor.ask("configurationDone")
            editor.answer(attached)
            lines = []
            for _ in range(2):
                frame, line = editor.stopped_at()
                lines.append(line)
                editor.ask("next", threadId=1)
            frame, line = editor.stopped_at()
            lines.append(line)
            assert lines == [FIRST_LINE, FIRST_LINE + 1, FIRST_LINE + 2], lines
            shown = editor.ask("evaluate", expression="before, after", frameId=frame)["result"]
            assert shown == "('slept', 'slept well')", shown
            editor.ask("continue", threadId=1)
            # The adapter, which has this output too, ends behind the editor.
            assert process.stdout.readline().strip() == "slept well"
            editor.event("terminated")
            editor.ask("disconnect")
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()


if "debugged" in sys.argv:
    debugged()
else:
    edited()
