"""Programs as peers: started on the loop under test, killed when a test leaves them."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def running(command: Sequence[str | Path], *, reads: bool = True) -> AsyncIterator[Process]:
    """Run *command* with pipes; without *reads* its standard input is empty."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=PIPE if reads else DEVNULL, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def output_of(command: Sequence[str | Path], given: bytes | None = None) -> bytes:
    """What *command* writes; fails if its status is not 0."""
    async with running(command, reads=given is not None) as process:
        output, errors = await process.communicate(given)
    assert process.returncode == 0, (command, process.returncode, errors)
    return output
