"""Programs in a row, each reading what the one before it writes, and what the last one writes as it comes.

    python -m ferrio examples/pipeline.py "tr A-Z a-z" "tr -cs a-z '\\n'" "sort" "uniq -c" "sort -rn" < book.txt

The first reads this program's input. When one of them fails, the others are ended and so is this program, with its
status; `--seconds` limits all of them together.
"""

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import AsyncGenerator
from typing import IO

Source = IO[bytes] | int

MOST_BYTES_IN_A_LINE = 1 << 20


class Failed(Exception):
    def __init__(self, command: str, status: int) -> None:
        super().__init__(f"{command}: ended with {status}")
        self.status = status


async def start(commands: list[str], source: Source) -> list[asyncio.subprocess.Process]:
    """Start all; between two of them is a pipe of the kernel's, so what they pass on does not come through here."""
    processes = []
    try:
        for number, command in enumerate(commands):
            if number < len(commands) - 1:
                next_source, target = os.pipe()
            else:
                next_source, target = -1, asyncio.subprocess.PIPE
            try:
                processes.append(
                    await asyncio.create_subprocess_exec(
                        *shlex.split(command), stdin=source, stdout=target, limit=MOST_BYTES_IN_A_LINE
                    )
                )
            finally:
                # Only the children have the ends of the pipes, or no reader would see an end.
                if number:
                    os.close(source)  # type: ignore[arg-type]
                if target >= 0:
                    os.close(target)
                source = next_source
    except BaseException:
        if isinstance(source, int) and source >= 0:
            os.close(source)
        await end(processes)
        raise
    return processes


async def end(processes: list[asyncio.subprocess.Process]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    for process in processes:
        await process.wait()


async def lines(commands: list[str], source: Source) -> AsyncGenerator[bytes, None]:
    """The lines of the last program.

    Raises:
        Failed: A program ended with another status than 0.
    """
    processes = await start(commands, source)
    try:
        output = processes[-1].stdout
        assert output is not None
        async for line in output:
            yield line
        for command, process in zip(commands, processes, strict=True):
            status = await process.wait()
            # A program whose reader has had enough, like the one before `head`, has not failed.
            if status and (status != -signal.SIGPIPE or process is processes[-1]):
                raise Failed(command, status)
    finally:
        await end(processes)


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", nargs="+")
    parser.add_argument("--seconds", type=float, help="for all together")
    arguments = parser.parse_args()
    try:
        async with asyncio.timeout(arguments.seconds):
            async with contextlib.aclosing(lines(arguments.command, sys.stdin.buffer)) as found:
                async for line in found:
                    sys.stdout.buffer.write(line)
        sys.stdout.flush()
    except Failed as failure:
        print(failure, file=sys.stderr)
        return failure.status if failure.status > 0 else 128 - failure.status
    except TimeoutError:
        print(f"not done after {arguments.seconds} s", file=sys.stderr)
        return 124
    except OSError as error:
        print(error, file=sys.stderr)
        return 127
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
