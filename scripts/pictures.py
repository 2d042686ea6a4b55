"""Makes the pictures of docs/watching.md: `top` and `dump` on a service of FastAPI, under load and blocked.

    python scripts/pictures.py [FOLDER]      docs/pictures without it

Needs the dependency group `pictures`. A service runs under uvicorn on Ferrio, clients keep asking it, and `python -m
ferrio top` runs in a terminal of its own, from which the last frame is taken. Then one request blocks the loop. What is
shown is drawn by `rich` as it is, without the paths of this machine's folders.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS, LINES = 106, 40
CLIENTS = 6
LIMIT_S = 30.0
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

SERVICE = """\
import asyncio
import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    await asyncio.sleep(0.01)  # a database answers
    return {"item": number, "price": sum(range(number % 1000))}


@app.get("/report")
async def report() -> str:
    time.sleep(8)  # what must not be done in a coroutine
    return "done"
"""

#: A picture fetches nothing: the one of `rich` would fetch its font.
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-family: "DejaVu Sans", Arial, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Terminal:
    """`python -m ferrio top PID` in a terminal of its own."""

    def __init__(self, pid: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        command = [sys.executable, "-m", "ferrio", "top", str(pid)]
        self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self._text = ""

    def frame(self, *, is_blocked: bool) -> str:
        """The next whole frame with figures of a loop that is blocked, or is not."""
        ends = time.monotonic() + LIMIT_S
        self._text = ""
        while time.monotonic() < ends:
            if select.select([self._master], [], [], 0.2)[0]:
                self._text += os.read(self._master, 1 << 16).decode()
            for found in re.findall(re.escape(HOME) + "(.*?)" + re.escape(REST_OF_SCREEN), self._text, re.DOTALL):
                lines = found.replace(REST_OF_LINE, "").split("\r\n")
                if any(line.startswith("loop ") for line in lines) and ("BLOCKED" in found) == is_blocked:
                    return "\n".join(lines)
        raise TimeoutError(self._text)

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(LIMIT_S)
        os.close(self._master)


def dump(pid: int) -> str:
    """What `python -m ferrio dump` writes."""
    command = [sys.executable, "-m", "ferrio", "dump", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout


async def keep_asking(port: int, number: int) -> None:
    """A client that asks again as soon as it has its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(f"GET /items/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None, head
        await reader.readexactly(int(length[1]))
        number += 1


async def ask_until(port: int, ends: asyncio.Event) -> None:
    """Keep the service busy."""
    clients = [asyncio.create_task(keep_asking(port, 1000 * number)) for number in range(CLIENTS)]
    await ends.wait()
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


def begin(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The service, as soon as it answers."""
    (folder / "service.py").write_text(SERVICE)
    command = [sys.executable, "-m", "uvicorn", "--loop", "ferrio:new_event_loop", "--log-level", "warning"]
    environment = os.environ | {"FERRIO_INSPECT": "1", "FERRIO_WATCH": "0.1"}
    service = subprocess.Popen([*command, "--port", str(port), "service:app"], cwd=folder, env=environment)
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return service
        time.sleep(0.1)
    service.kill()
    raise TimeoutError("the service does not begin")


def draw(text: str, command: str, path: Path) -> None:
    """Write a picture of a terminal that shows *text*: long lines are folded, which `top` has the terminal cut."""
    lines = text.rstrip("\n").split("\n")
    if command.startswith("python -m ferrio top"):
        lines = [line[:COLUMNS] for line in lines]
    else:
        lines = [line[at : at + COLUMNS] for line in lines for at in range(0, max(1, len(line)), COLUMNS)]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), legacy_windows=False)
    console.print(Text("\n".join(lines)), no_wrap=True, crop=True)
    path.write_text(console.export_svg(title=command, theme=MONOKAI, code_format=FORMAT, unique_id=path.stem))


def take(folder: Path, pid: int, port: int) -> dict[str, str]:
    """Every picture's text by its name."""
    terminal = Terminal(pid)
    try:
        for _ in range(3):
            busy = terminal.frame(is_blocked=False)
        texts = {"top-busy": busy, "dump-busy": dump(pid)}
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n")
            terminal.frame(is_blocked=True)
            # Not the first: its figures are partly those of before.
            texts |= {"top-blocked": terminal.frame(is_blocked=True), "dump-blocked": dump(pid)}
    finally:
        terminal.close()
    shorter = re.compile(re.escape(str(folder)) + "|" + re.escape(str(Path(sys.prefix).resolve())))
    return {name: shorter.sub("...", text) for name, text in texts.items()}


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "docs" / "pictures"
    target.mkdir(parents=True, exist_ok=True)
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        service = begin(folder, port)
        ends, loop = asyncio.Event(), asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_until_complete, args=(ask_until(port, ends),))
        thread.start()
        try:
            texts = take(folder, service.pid, port)
        finally:
            loop.call_soon_threadsafe(ends.set)
            service.kill()
            service.wait()
            thread.join()
            loop.close()
    for name, text in texts.items():
        draw(text, f"python -m ferrio {name.partition('-')[0]} {service.pid}", target / f"{name}.svg")
        print(target / f"{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
