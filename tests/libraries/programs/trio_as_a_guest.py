"""Trio runs as a guest of the loop, and each can wait for the other."""

import asyncio
import signal
from typing import Any

import loop_under_test
import trio


async def guest(told: asyncio.Event) -> str:
    with trio.fail_after(5):
        await trio.sleep(0.01)
        told.set()
        return await trio.to_thread.run_sync(lambda: "from trio")


async def main() -> None:
    loop_under_test.check()
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    done: asyncio.Future[Any] = loop.create_future()
    trio.lowlevel.start_guest_run(
        guest,
        told,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=done.set_result,
        # The loop has a wake-up descriptor while it runs, which Trio would warn of.
        host_uses_signal_set_wakeup_fd=True,
    )
    async with asyncio.timeout(5):
        await told.wait()
        assert (await done).unwrap() == "from trio"


asyncio.run(main())
assert signal.set_wakeup_fd(-1) == -1
