"""qasync: Qt's loop runs asyncio's, through a selector that Qt asks."""

import asyncio
import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import qasync
from PyQt6.QtCore import QCoreApplication, QTimer


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))
    writer.close()


async def main() -> None:
    ticks: list[None] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(None))
    timer.start(1)
    async with asyncio.timeout(10):
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"text")
        assert await reader.read() == b"text"
        writer.close()
        server.close()
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.put(1))
            assert await queue.get() == 1
        assert await asyncio.gather(asyncio.sleep(0.02, 1), asyncio.wait_for(asyncio.sleep(0, 2), 1)) == [1, 2]
    assert ticks, "Qt's own events were not handled"


application = QCoreApplication([])
loop = qasync.QEventLoop(application)
asyncio.set_event_loop(loop)
with loop:
    assert isinstance(loop, asyncio.SelectorEventLoop)
    loop.run_until_complete(main())
