"""pdb stops in a coroutine, steps over what it awaits, and shows its variables."""

import asyncio
import io
import pdb
import sys

import loop_under_test


async def waits(seconds: float) -> str:
    before = "slept"
    after = await asyncio.sleep(seconds, before + " well")
    queue: asyncio.Queue[str] = asyncio.Queue()
    await queue.put(after)
    return await queue.get()


async def main() -> str:
    loop_under_test.check()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(waits(0.01))
    return task.result()


commands = io.StringIO("\n".join(["continue", "next", "next", "p 'after: ' + after", "where", "clear 1", "continue"]))
shown = io.StringIO()
debugger = pdb.Pdb(stdin=commands, stdout=shown, nosigint=True, readrc=False)
debugger.use_rawinput = False
first_line = waits.__code__.co_firstlineno + 1
assert debugger.set_break(__file__, first_line) is None
result = debugger.runcall(asyncio.run, main())
sys.settrace(None)
text = shown.getvalue()
assert result == "slept well", result
for expected in (
    '-> before = "slept"',
    "-> after = await asyncio.sleep",
    "'after: slept well'",
    "-> queue: asyncio.Queue",
):
    assert expected in text, f"{expected} is not in:\n{text}"
