"""A notebook's kernel runs cells, those that await too, and hears an interrupt."""

import asyncio
import os
from typing import Any

import loop_under_test
from jupyter_client.manager import AsyncKernelManager

CELLS = [
    ("1 + 1", "2"),
    ("import asyncio; type(asyncio.get_running_loop()).__module__.partition('.')[0]", repr(loop_under_test.NAME)),
    ("await asyncio.sleep(0.01, 'slept')", "'slept'"),
    (
        "async with asyncio.timeout(5): shown = await asyncio.gather(*[asyncio.sleep(0, n) for n in range(3)])\nshown",
        "[0, 1, 2]",
    ),
    ("t = asyncio.create_task(asyncio.sleep(0.01, 'task'))", None),
    ("await t", "'task'"),
    ("import nest_asyncio; nest_asyncio.apply(); asyncio.run(asyncio.sleep(0.01, 'nested'))", "'nested'"),
    ("await asyncio.sleep(0.01, 'after that')", "'after that'"),
]


async def result_of(client: Any, cell: str) -> str | None:
    identity = client.execute(cell, stop_on_error=False)
    shown = None
    while True:
        message = await client.get_iopub_msg(timeout=20)
        if message["parent_header"].get("msg_id") != identity:
            continue
        content = message["content"]
        match message["msg_type"]:
            case "execute_result":
                shown = content["data"]["text/plain"]
            case "error":
                return str(content["ename"])
            case "status" if content["execution_state"] == "idle":
                return shown


async def main() -> None:
    manager = AsyncKernelManager()
    manager.kernel_spec.argv = [*loop_under_test.command("-m", "ipykernel_launcher"), "-f", "{connection_file}"]
    await manager.start_kernel(env={**os.environ, "JUPYTER_PLATFORM_DIRS": "1"})
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=30)
        for cell, expected in CELLS:
            shown = await result_of(client, cell)
            assert shown == expected, f"{cell}: {shown!r}"
        asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(manager.interrupt_kernel()))
        assert await result_of(client, "import time; time.sleep(20)") == "KeyboardInterrupt"
        assert await result_of(client, "2 + 2") == "4"
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


asyncio.run(main())
