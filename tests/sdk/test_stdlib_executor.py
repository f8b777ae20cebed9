"""The standard library's own tests of executors, run on FlameExecutor, as far as they speak of executors in general.

Not run, and why: tests of worker threads and processes of the library's own pools (names, queues, locks, `initializer`, `mp_context`).
The test package is `libpython3.11-testsuite` on Debian; `scripts/stdlib-tests.sh` fetches it.
"""

from __future__ import annotations

import functools
import sys
import unittest
import warnings
from pathlib import Path

import cloudpickle
import pytest

import flame
from flame.testing.cluster import LocalCluster

HOME = Path(__file__).parents[2] / ".venv" / "stdlib-tests"


def load():
    try:
        import test.test_concurrent_futures as found
    except ImportError:
        import test

        if not (HOME / "test").exists():
            return None
        test.__path__.append(str(HOME / "test"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import test.test_concurrent_futures as found
    return found


library = load()
if library is not None:
    cloudpickle.register_pickle_by_value(library)  # executors have no `test.test_concurrent_futures`
pytestmark = pytest.mark.skipif(
    library is None, reason="no standard library tests here (Debian: libpython3.11-testsuite)"
)

NOT_OURS = {
    "test_interpreter_shutdown": "starts an interpreter per pool class of the library",
    "test_submit_after_interpreter_shutdown": "starts an interpreter per pool class of the library",
    "test_no_stale_references": "waits for a weak reference to an object whose bound method is pickled with it",
    "test_hang_gh83386": "makes its own pools of the library",
    "test_cancel_futures": "counts the threads of the library's pool",
    "test_hang_issue12364": "times the library's worker threads",
    "test_free_reference_yielded_future": "makes the library's futures by hand",
}


if library is not None and sys.version_info[:2] == (3, 11):

    @pytest.fixture(scope="module", autouse=True)
    def cluster():
        with LocalCluster(cpus=8.0) as made, made.connect() as client:
            FlameMixin.executor_type = functools.partial(flame.FlameExecutor, client=client)
            yield made

    class FlameMixin(library.ExecutorMixin):
        executor_type = None

        def setUp(self):
            super().setUp()
            # Functions of the library's test module: executors import them from where we did.
            list(self.executor.map(str, range(self.worker_count)))

    class TestExecutor(FlameMixin, library.ExecutorTest, library.BaseTestCase):
        pass

    class TestWait(FlameMixin, library.WaitTests, library.BaseTestCase):
        pass

    class TestAsCompleted(FlameMixin, library.AsCompletedTests, library.BaseTestCase):
        pass

    class TestShutdown(FlameMixin, library.ExecutorShutdownTest, library.BaseTestCase):
        pass

    for case in (TestExecutor, TestWait, TestAsCompleted, TestShutdown):
        for name, why in NOT_OURS.items():
            if hasattr(case, name):
                setattr(case, name, unittest.skip(why)(lambda self: None))
