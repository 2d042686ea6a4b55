"""gevent's patch_all, before asyncio is imported: asyncio's own waits and gevent's go on beside each other.

What waits has to ask gevent's selector: the loop is given one. Without, it would wait in the kernel, and greenlets,
which threads are here too, would stand still meanwhile.
"""

from gevent import monkey

monkey.patch_all()

import asyncio  # noqa: E402
import selectors  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
import loop_under_test  # noqa: E402


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))
    writer.close()


async def main() -> None:
    loop_under_test.check()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"text")
        assert await reader.read() == b"text"
        writer.close()
        server.close()
        assert await asyncio.to_thread(time.sleep, 0.001) is None
        woken = asyncio.Event()
        threading.Timer(0.01, loop.call_soon_threadsafe, [woken.set]).start()
        await woken.wait()
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0


ticks: list[None] = []


def tick() -> None:
    for _ in range(3):
        gevent.sleep(0.001)
        ticks.append(None)


greenlet = gevent.spawn(tick)
with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.DefaultSelector())) as runner:
    runner.run(main())
greenlet.join(timeout=5)
assert len(ticks) == 3
