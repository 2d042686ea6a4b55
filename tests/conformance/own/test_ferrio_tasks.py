"""CPython's `test_tasks` and its relatives over `ferrio.Task` and `ferrio.Future`.

The suites are written to be run over several classes. They make loops of their own, most of them not Ferrio's.
"""

import asyncio
import sys
import unittest
from asyncio import futures, tasks

from test.test_asyncio import test_futures2, test_tasks
from test.test_asyncio import utils as test_utils

import ferrio


def tearDownModule():
    test_tasks.tearDownModule()


class NativeTasks:
    all_tasks = staticmethod(asyncio.all_tasks)
    current_task = staticmethod(asyncio.current_task)


class FerrioTask_FerrioFuture_Tests(
    NativeTasks, test_tasks.BaseTaskTests, test_tasks.SetMethodsTest, test_utils.TestCase
):
    Task = ferrio.Task
    Future = ferrio.Future

    def test_del__log_destroy_pending_segfault(self):
        async def coro():
            pass

        task = self.new_task(self.loop, coro())
        self.loop.run_until_complete(task)
        with self.assertRaises(AttributeError):  # noqa: PT027 - a unittest suite
            del task._log_destroy_pending


@test_tasks.add_subclass_tests
class FerrioTask_FerrioFuture_SubclassTests(NativeTasks, test_tasks.BaseTaskTests, test_utils.TestCase):
    Task = ferrio.Task
    Future = ferrio.Future


class FerrioTask_PyFuture_Tests(NativeTasks, test_tasks.BaseTaskTests, test_utils.TestCase):
    Task = ferrio.Task
    Future = futures._PyFuture


class FerrioTask_CFuture_Tests(NativeTasks, test_tasks.BaseTaskTests, test_utils.TestCase):
    Task = ferrio.Task
    Future = futures._CFuture


class CTask_FerrioFuture_Tests(NativeTasks, test_tasks.BaseTaskTests, test_utils.TestCase):
    Task = tasks._CTask
    Future = ferrio.Future


class PyTask_FerrioFuture_Tests(test_tasks.BaseTaskTests, test_utils.TestCase):
    Task = tasks._PyTask
    Future = ferrio.Future
    # Since 3.14 the two implementations keep the running task and all tasks apart.
    all_tasks = staticmethod(getattr(tasks, "_py_all_tasks", tasks.all_tasks))
    current_task = staticmethod(getattr(tasks, "_py_current_task", tasks.current_task))


@test_tasks.add_subclass_tests
class FerrioTaskSubclass_PyFuture_Tests(NativeTasks, test_tasks.BaseTaskTests, test_utils.TestCase):
    Task = ferrio.Task
    Future = futures._PyFuture


class FerrioCurrentLoopTests(test_tasks.BaseCurrentLoopTests, test_utils.TestCase):
    current_task = staticmethod(tasks.current_task)

    def new_task(self, coro):
        return ferrio.Task(coro, loop=self.loop)


class FerrioFutures2Tests(test_futures2.FutureTests, unittest.IsolatedAsyncioTestCase):
    cls = ferrio.Task


if sys.version_info >= (3, 12):
    from test.test_asyncio import test_eager_task_factory as eager

    class FerrioEagerTaskFactoryLoopTests(eager.EagerTaskFactoryLoopTests, test_utils.TestCase):
        Task = ferrio.Task

    class NonEagerFerrioTaskTests(eager.BaseNonEagerTaskFactoryTests, test_utils.TestCase):
        Task = ferrio.Task

    class EagerFerrioTaskTests(eager.BaseEagerTaskFactoryTests, test_utils.TestCase):
        Task = ferrio.Task


if sys.version_info >= (3, 14):
    from test.test_asyncio import test_free_threading, test_graph

    class FerrioCallStackTests(test_graph.CallStackTestBase, unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            self._classes = asyncio.Future, asyncio.Task
            asyncio.Future, asyncio.Task = ferrio.Future, ferrio.Task

        def tearDown(self):
            asyncio.Future, asyncio.Task = self._classes

    class FerrioFreeThreadingTests(test_free_threading.TestFreeThreading, unittest.TestCase):
        def factory(self, loop, coro, **kwargs):
            return ferrio.Task(coro, loop=loop, **kwargs)

    class EagerFerrioFreeThreadingTests(FerrioFreeThreadingTests):
        def factory(self, loop, coro, eager_start=True, **kwargs):
            return ferrio.Task(coro, loop=loop, eager_start=eager_start, **kwargs)


if __name__ == "__main__":
    unittest.main()
