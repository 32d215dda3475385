"""The worker thread: what replaces what, what is taken over, and what never happens off the main thread."""

from __future__ import annotations

import threading
import time

import pytest
import slicer

LONGEST_S = 60  # a busy computer lets a thread wait


@pytest.fixture
def worker(sammed2d):
    from SAMMed2DSlicer.inference.worker import Worker

    worker = Worker()
    yield worker
    worker.stop()


def job(work=lambda stop: None, done=None, kind="latest", **more):
    from SAMMed2DSlicer.inference.worker import Job

    return Job(work, done.append if done is not None else lambda result: None, kind=kind, **more)


def work(name, log):
    """Work that is done at once, and says so."""

    def at_once(should_stop):
        log.append(name)
        return name

    return at_once


def until_told(name, log, has_begun=None, may_end=None):
    """Work that goes on until it is told to stop, and says so, or until it may end."""

    def goes_on(should_stop):
        if has_begun is not None:
            has_begun.set()
        while not should_stop():
            if may_end is not None and may_end.is_set() and not should_stop():
                return name
            time.sleep(0.002)
        log.append(f"{name} stopped")
        return None

    return goes_on


def begin_long(worker, name, log, done, kind="latest", may_end=None, **more):
    """Submit work that goes on until it is told to stop, or may end; returns its job once it has begun."""
    has_begun = threading.Event()
    begun = worker.submit(job(until_told(name, log, has_begun, may_end), done, kind, **more))
    assert has_begun.wait(LONGEST_S)
    return begun


def wait(worker):
    ends = time.perf_counter() + LONGEST_S
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


def test_what_work_tells_comes_on_the_main_thread_before_its_result(worker):
    came = []

    def telling(stop):
        for number in (1, 2):
            worker.tell(lambda number=number: came.append((number, threading.current_thread())))
        return 3

    worker.submit(job(telling, done=came))
    wait(worker)
    assert came == [(1, threading.main_thread()), (2, threading.main_thread()), 3]


def test_the_newest_request_replaces_the_one_before(worker):
    log, done = [], []
    begin_long(worker, "a", log, done)
    worker.submit(job(until_told("b", log), done))
    worker.submit(job(work("c", log), done))
    wait(worker)
    assert log[0] == "a stopped" and log[-1] == "c" and done == ["c"]


def test_a_request_of_somebody_else_replaces_nothing(worker):
    log, done, may_end = [], [], threading.Event()
    begin_long(worker, "a", log, done, may_end=may_end, owner="one")
    worker.submit(job(work("b", log), done, owner="other"))
    may_end.set()
    wait(worker)
    assert done == ["a", "b"]


def test_tasks_are_never_dropped_and_requests_go_first(worker):
    log, done, may_end = [], [], threading.Event()
    begin_long(worker, "first", log, done, "task", may_end)
    worker.submit(job(work("second", log), done, "task"))
    worker.submit(job(work("request", log), done))
    may_end.set()
    wait(worker)
    assert done == ["first", "request", "second"]


def test_work_ahead_gives_way_at_once(worker):
    log, done = [], []
    begin_long(worker, "ahead", log, done, "ahead")
    worker.submit(job(work("request", log), done))
    wait(worker)
    assert log == ["ahead stopped", "request"] and done == ["request"]


def test_a_cancelled_job_is_not_taken_over(worker):
    log, done = [], []
    begin_long(worker, "a", log, done).cancel()
    wait(worker)
    assert log == ["a stopped"] and done == []


def test_cancelling_all_drops_what_waits_and_stops_what_runs(worker):
    log, done = [], []
    begin_long(worker, "a", log, done, "task")
    worker.submit(job(work("b", log), done, "task"))
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
        assert may_end.wait(LONGEST_S)
        return "late"

    worker.submit(job(late, done))
    assert has_begun.wait(LONGEST_S)
    worker.submit(job(work("new", log), done))
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
