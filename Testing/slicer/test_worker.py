"""The worker thread: what replaces what, what is taken over, and what never happens off the main thread."""

from __future__ import annotations

import threading
import time

import pytest
import slicer


@pytest.fixture
def worker(sammed2d):
    from SAMMed2DSlicer.inference.worker import Worker

    worker = Worker()
    yield worker
    worker.stop()


def job(work=lambda stop: None, done=None, kind="latest", **more):
    from SAMMed2DSlicer.inference.worker import Job

    return Job(work, done.append if done is not None else lambda result: None, kind=kind, **more)


def slow(name, log, seconds=0.1):
    """Work that asks whether to stop, and says how it ended."""

    def work(should_stop):
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            if should_stop():
                log.append(f"{name} stopped")
                return None
            time.sleep(0.002)
        log.append(name)
        return name

    return work


def wait(worker):
    ends = time.perf_counter() + 10
    while worker.is_pending:
        assert time.perf_counter() < ends
        slicer.app.processEvents()


def test_work_runs_in_one_other_thread_and_results_come_on_the_main_thread(worker):
    threads, main = [], []
    for _ in range(3):
        worker.submit(job(lambda stop: threads.append(threading.current_thread()), kind="task"))
    worker.submit(job(kind="task", on_error=main.append, done=None))
    from SAMMed2DSlicer.inference.worker import Job

    worker.submit(Job(lambda stop: 5, lambda result: main.append((result, threading.current_thread())), kind="task"))
    wait(worker)
    assert len(set(threads)) == 1 and threads[0] is not threading.main_thread()
    assert main == [(5, threading.main_thread())]


def test_the_newest_request_replaces_the_one_before(worker):
    log, done = [], []
    for name in "abc":
        worker.submit(job(slow(name, log), done))
        time.sleep(0.01)
    wait(worker)
    assert log[0] == "a stopped" and "b" not in log and done == ["c"]


def test_a_request_of_somebody_else_replaces_nothing(worker):
    log, done = [], []
    worker.submit(job(slow("a", log), done, owner="one"))
    worker.submit(job(slow("b", log), done, owner="other"))
    wait(worker)
    assert done == ["a", "b"]


def test_tasks_are_never_dropped_and_requests_go_first(worker):
    log, done = [], []
    worker.submit(job(slow("first", log), done, "task"))
    time.sleep(0.02)
    worker.submit(job(slow("second", log, 0), done, "task"))
    worker.submit(job(slow("request", log, 0), done))
    wait(worker)
    assert done == ["first", "request", "second"]


def test_work_ahead_gives_way_at_once(worker):
    log, done = [], []
    worker.submit(job(slow("ahead", log, 5), done, "ahead"))
    time.sleep(0.02)
    began = time.perf_counter()
    worker.submit(job(slow("request", log, 0), done))
    wait(worker)
    assert log == ["ahead stopped", "request"] and done == ["request"]
    assert time.perf_counter() - began < 1


def test_a_cancelled_job_is_not_taken_over(worker):
    log, done = [], []
    running = worker.submit(job(slow("a", log), done))
    time.sleep(0.02)
    running.cancel()
    wait(worker)
    assert log == ["a stopped"] and done == []


def test_cancelling_all_drops_what_waits_and_stops_what_runs(worker):
    log, done = [], []
    worker.submit(job(slow("a", log, 5), done, "task"))
    worker.submit(job(slow("b", log, 5), done, "task"))
    time.sleep(0.02)
    worker.cancel_all()
    wait(worker)
    assert log == ["a stopped"] and done == []


def test_errors_are_handed_over(worker):
    errors = []
    worker.submit(job(lambda stop: 1 / 0, on_error=errors.append))
    wait(worker)
    assert isinstance(errors[0], ZeroDivisionError)


def test_an_error_while_taking_over_does_not_end_the_work(worker):
    from SAMMed2DSlicer.inference.worker import Job

    done = []
    worker.submit(Job(lambda stop: 1, lambda result: 1 / 0, kind="task"))
    worker.submit(job(lambda stop: 2, done, "task"))
    wait(worker)
    assert done == [2]
    assert isinstance(slicer.app.errors.pop(), ZeroDivisionError)


def test_scripts_can_wait_for_a_result_or_an_error(worker):
    assert worker.call(lambda stop: 7) == 7
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda stop: 1 / 0)
    assert not worker.is_pending


def test_stopping_ends_the_thread_and_a_later_job_starts_another(worker):
    threads = []
    worker.call(lambda stop: threads.append(threading.current_thread()))
    worker.stop()
    assert not threads[0].is_alive()
    assert worker.call(lambda stop: 1) == 1


def test_a_result_that_was_there_before_its_work_looked_is_taken_over(worker):
    """Else whoever asked would ask for it again: the answer came just when something newer was asked."""
    log, done, has_begun, may_end = [], [], threading.Event(), threading.Event()

    def late(should_stop):
        has_begun.set()
        may_end.wait(10)
        return "late"

    worker.submit(job(late, done))
    has_begun.wait(10)
    worker.submit(job(slow("new", log, 0.01), done))
    may_end.set()
    wait(worker)
    assert done == ["late", "new"]


def test_the_thread_holds_nothing_of_what_it_has_done(worker):
    import gc
    import weakref

    class Asker:
        def take(self, result):
            pass

    asker = Asker()
    gone = weakref.ref(asker)
    worker.submit(job(kind="task"))
    from SAMMed2DSlicer.inference.worker import Job

    worker.submit(Job(lambda stop: None, asker.take))
    wait(worker)
    del asker
    gc.collect()
    assert gone() is None
