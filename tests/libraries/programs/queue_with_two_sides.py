"""janus: a queue with a side for threads and one for tasks."""

import asyncio

import janus
import loop_under_test


async def main() -> None:
    loop_under_test.check()
    queue: janus.Queue[int] = janus.Queue(maxsize=5)

    def put() -> None:
        for number in range(100):
            queue.sync_q.put(number)
        queue.sync_q.join()

    async with asyncio.timeout(30):
        thread = asyncio.get_running_loop().run_in_executor(None, put)
        for number in range(100):
            assert await queue.async_q.get() == number
            queue.async_q.task_done()
        await thread
        await queue.aclose()


asyncio.run(main())
