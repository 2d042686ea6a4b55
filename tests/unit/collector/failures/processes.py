"""Pipes and child processes that fail."""

import asyncio
import contextlib
import os
import subprocess

from .ways import SHORT_S, FailingProtocol, World, cancelled, expected, fail, failure, timed_out, turns, until_closed


@failure
async def pipes_that_are_none(world: World) -> None:
    for connect in (world.loop.connect_read_pipe, world.loop.connect_write_pipe):
        with (world.folder / "file").open("w+") as file, expected():
            await connect(asyncio.Protocol, file)  # type: ignore[arg-type]


@failure
async def pipes_that_break(world: World) -> None:
    ours, theirs = os.pipe()
    with open(theirs, "wb", 0) as file:
        transport, _ = await world.loop.connect_write_pipe(lambda: FailingProtocol("connection_lost"), file)
        os.close(ours)
        transport.write(b"x")
        await turns()
        transport.close()
        await turns()
    ours, theirs = os.pipe()
    with open(ours, "rb", 0) as file:
        reading, _ = await world.loop.connect_read_pipe(lambda: FailingProtocol("data_received"), file)
        os.write(theirs, b"x")
        await turns()
        os.close(theirs)
        await turns()
        await until_closed(reading)
    ours, theirs = os.pipe()
    with open(ours, "rb", 0) as file, open(theirs, "wb", 0) as other:
        with expected():
            await world.loop.connect_read_pipe(fail, file)
        with expected():
            await world.loop.connect_write_pipe(fail, other)
        for count in range(4):
            await cancelled(world.loop.connect_read_pipe(asyncio.Protocol, os.fdopen(os.dup(ours), "rb", 0)), count)
            await turns()


@failure
async def programs_that_are_not_there(world: World) -> None:
    with expected():
        await asyncio.create_subprocess_exec(str(world.folder / "nothing"))
    with expected():
        await asyncio.create_subprocess_exec(str(world.folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with expected():
        await asyncio.create_subprocess_exec("/bin/true", cwd=str(world.folder / "nothing"))
    with expected():
        await world.loop.subprocess_exec(fail, "/bin/true")
    with expected():
        await world.loop.subprocess_exec(asyncio.SubprocessProtocol)


@failure
async def a_program_that_is_given_up(world: World) -> None:
    process = await asyncio.create_subprocess_exec("/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    await timed_out(world, process.communicate())
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    await asyncio.sleep(SHORT_S)


@failure
async def a_program_that_is_cancelled_while_it_begins(world: World) -> None:
    for count in range(3):
        await cancelled(asyncio.create_subprocess_exec("/bin/true", stdout=subprocess.PIPE), count)
        await asyncio.sleep(SHORT_S)
