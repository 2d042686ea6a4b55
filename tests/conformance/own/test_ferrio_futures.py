"""CPython's `test_futures` over `ferrio.Future`."""

import unittest

from test.test_asyncio import test_futures
from test.test_asyncio import utils as test_utils

import ferrio


def tearDownModule():
    test_futures.tearDownModule()


class FutureOfOurs(ferrio.Future):
    pass


class FerrioFutureTests(test_futures.BaseFutureTests, test_utils.TestCase):
    cls = ferrio.Future

    def test_future_del_segfault(self):
        fut = self._new_future(loop=self.loop)
        with self.assertRaises(AttributeError):  # noqa: PT027 - a unittest suite
            del fut._asyncio_future_blocking
        with self.assertRaises(AttributeError):  # noqa: PT027 - a unittest suite
            del fut._log_traceback


class FerrioSubFutureTests(test_futures.BaseFutureTests, test_utils.TestCase):
    cls = FutureOfOurs


class FerrioFutureDoneCallbackTests(test_futures.BaseFutureDoneCallbackTests, test_utils.TestCase):
    def _new_future(self):
        return ferrio.Future(loop=self.loop)


class FerrioSubFutureDoneCallbackTests(test_futures.BaseFutureDoneCallbackTests, test_utils.TestCase):
    def _new_future(self):
        return FutureOfOurs(loop=self.loop)


class FerrioFutureInheritanceTests(test_futures.BaseFutureInheritanceTests, test_utils.TestCase):
    def _get_future_cls(self):
        return ferrio.Future


if __name__ == "__main__":
    unittest.main()
