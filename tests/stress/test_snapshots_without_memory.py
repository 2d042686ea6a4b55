"""The loop's views of its entries where there is no memory for them."""

import asyncio
import contextlib

import pytest

import ferrio

from .loops_compared import NAME

testcapi = pytest.importorskip("_testcapi", reason="this interpreter has no module to make allocations fail with")

pytestmark = pytest.mark.skipif(NAME == "asyncio", reason="asyncio's are no views")


@pytest.mark.parametrize("name", ["_ready", "_scheduled"])
def test_a_view_that_cannot_be_made_is_a_memory_error(name: str) -> None:
    loop = ferrio.new_event_loop()
    handles: list[asyncio.Handle] = [loop.call_soon(print), loop.call_later(60, print)]
    raised: list[type[BaseException]] = []
    for failing in range(3):
        try:
            testcapi.set_nomemory(failing, failing + 1)
            try:
                getattr(loop, name)
            finally:
                testcapi.remove_mem_hooks()
        except BaseException as error:  # a panic's is no `Exception`
            raised.append(type(error))
    for handle in handles:
        handle.cancel()
    with contextlib.closing(loop):
        assert set(raised) == {MemoryError}
