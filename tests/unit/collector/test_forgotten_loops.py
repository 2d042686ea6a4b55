"""A loop that nothing refers to any more, and what is collected with it."""

import gc
import threading
import warnings
import weakref

import pytest

import ferrio

from ..loops import ferrio_only, open_descriptors

pytestmark = ferrio_only


@pytest.mark.parametrize("has_handler", [False, True])
def test_a_loop_closes_when_the_collector_has_closed_its_sockets_before(has_handler: bool) -> None:
    # In which order a cycle's parts are finalized is the collector's affair.
    before = open_descriptors()
    loop = ferrio.new_event_loop()
    if has_handler:
        loop.call_soon(loop.stop)
        loop.run_forever()
    for end in (loop._ssock, loop._csock):
        assert end is not None
        end.close()
    loop.close()
    del loop
    gc.collect()
    assert open_descriptors() == before


def test_many_forgotten_loops_close_without_a_word() -> None:
    gone = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        before = len(open_descriptors())
        for _ in range(300):
            loop = ferrio.new_event_loop()
            loop.call_soon(print)
            gone.append(weakref.ref(loop))
        del loop
        gc.collect()
        assert not any(reference() for reference in gone)
        assert len(open_descriptors()) == before


def test_a_loop_that_is_only_said_to_run_is_collected_with_its_new_tasks() -> None:
    async def nothing() -> None:
        pass

    gone = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10):
            loop = ferrio.new_event_loop()
            loop._thread_id = threading.get_ident()
            task = loop.create_task(nothing())
            task.add_done_callback(lambda _, loop=loop, task=task: None)
            gone.append(weakref.ref(loop))
            loop._thread_id = None
        del loop, task
        gc.collect()
    assert not any(reference() for reference in gone)
