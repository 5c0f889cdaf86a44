"""The one thread that the models run on: it takes what waits, batches it, and tells each asker its own answer.

Answers that are written share every step (see `decode`); labels are chosen between two steps, those of one service
together. Encoding and everything else about a request happens elsewhere.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from course_utils.data.records import Record
from course_utils.errors import CourseError
from course_utils.inference.choose import choose
from course_utils.inference.classify import classify, has_classes
from course_utils.serving.adapters import Host
from course_utils.serving.decode import Flight
from course_utils.serving.limits import Refused
from course_utils.serving.prompts import Readers
from course_utils.serving.store import Served
from course_utils.serving.work import CANCELLED, STOP, Choosing, Writing

ROWS = 16  # in one step, and in one batch of labels
PREFILL = 2048  # tokens of new prompts in one go: those who are being answered wait meanwhile
QUEUE = 256
LINGER = 0.005  # seconds that an idle engine waits for others to come, once one has come


class Engine:
    """Local models behind a queue. Thread-safe.

    current: gives what services answer with at the moment, so that the bases are opened with all that they need.
    """

    def __init__(
        self,
        current: Callable[[], list[Served]] = list,
        rows: int = ROWS,
        queue: int = QUEUE,
        log: Callable[[str], None] = print,
    ):
        self.current, self.room, self.limit, self.log = current, rows, queue, log
        self.hosts: dict[tuple[str, str], Host] = {}
        self.flights: dict[tuple[str, str], Flight] = {}
        self.waiting: deque[Writing | Choosing] = deque()
        self.changed = threading.Condition()
        self.closing = False
        self.readers = Readers(log)
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.thread.start()

    def submit(self, work: Writing | Choosing) -> None:
        """Put work into the queue. Raises `Refused` (429 when it is full, 503 when the engine is being stopped)."""
        with self.changed:
            if self.closing:
                raise Refused(503, "shutting_down", "服务正在停止。请稍后再试。", retry_after=10)
            if len(self.waiting) >= self.limit:
                raise Refused(429, "queue_full", f"排队的请求已有 {self.limit} 个。请稍后再试。", retry_after=2)
            self.waiting.append(work)
            self.changed.notify()

    def warm(self) -> None:
        """Open the bases of all current versions, and say one token with each; returns when that is done.

        Raises `CourseError` when one cannot be opened.
        """
        for served in self.current():
            done = threading.Event()
            hello = Record("你好")
            if served.head:
                work = Choosing(served, hello, None)
            else:
                work = Writing(served, self.readers.read(hello, served)[0], max_tokens=1)
            work.told = lambda text, done=done: done.set() if text is None else None
            self.submit(work)
            done.wait()
            if work.error:
                raise work.error

    def close(self) -> None:
        """Finish what has been taken, then stop."""
        with self.changed:
            self.closing = True
            self.changed.notify()
        self.thread.join()

    def _run(self) -> None:
        while True:
            with self.changed:
                idle = not any(flight.rows for flight in self.flights.values())
                while idle and not self.waiting and not self.closing:
                    self.changed.wait()
                if idle and not self.waiting:
                    return
            if idle:
                time.sleep(LINGER)
            for key, works in self._admitted():
                self._start(key, works)
            for flight in self.flights.values():
                if flight.rows:
                    self._safely(flight.step, flight.fail)

    def _admitted(self) -> list[tuple[tuple[str, str], list[Writing | Choosing]]]:
        """Take from the queue, first come first served, what there is room for: batches by base, and labels by task."""
        batches: dict[tuple, list[Writing | Choosing]] = {}
        left: deque[Writing | Choosing] = deque()
        tokens = 0
        with self.changed:
            while self.waiting:
                work = self.waiting.popleft()
                key = (work.served.base, work.served.precision)
                kind = (key, None) if isinstance(work, Writing) else (key, (work.served, work.labels))
                flying = len(self.flights[key].rows) if key in self.flights and isinstance(work, Writing) else 0
                size = len(work.ids) if isinstance(work, Writing) else 0
                fits = flying + len(batches.get(kind, ())) < self.room and (not tokens or tokens + size <= PREFILL)
                if work.cancelled or fits:
                    batches.setdefault(kind, []).append(work)
                    tokens += size
                else:
                    left.append(work)
            self.waiting = left
        return [(kind[0], works) for kind, works in batches.items()]

    def _start(self, key: tuple[str, str], works: list[Writing | Choosing]) -> None:
        for work in (work for work in works if work.cancelled):
            work.outcome = CANCELLED
            work.told(None)
        works = [work for work in works if not work.cancelled]

        def fail(error: Exception) -> None:
            for work in works:
                if not work.outcome:
                    work.fail(error)

        if works:
            self._safely(lambda: self._begin(self._host(key, works), key, works), fail)

    def _begin(self, host: Host, key: tuple[str, str], works: list[Writing | Choosing]) -> None:
        if isinstance(works[0], Choosing):
            self._choose(host, works)
            return
        self.flights[key].join(works)

    def _host(self, key: tuple[str, str], works: list[Writing | Choosing]) -> Host:
        """The base, holding the adapters of `works`, of the services' current versions and of the rows under way."""
        if key not in self.hosts:
            self.hosts[key] = Host(*key, self.log)
            self.flights[key] = Flight(self.hosts[key])
        host, asked = self.hosts[key], {work.served.adapter for work in works}
        if not all(map(host.holds, asked)):
            flying = {work.served.adapter for work in self.flights[key].rows}
            host.arrange(asked | flying | self._current(key))
        return host

    def _current(self, key: tuple[str, str]) -> set[Path | None]:
        """Of the services on this base; one whose folder was deleted is its own callers' trouble, not the others'."""
        here = (served.adapter for served in self.current() if (served.base, served.precision) == key)
        return {adapter for adapter in here if adapter is None or adapter.exists()}

    def _choose(self, host: Host, works: list[Choosing]) -> None:
        served, labels = works[0].served, works[0].labels
        records, model = [work.record for work in works], host.only(served)
        if has_classes(model):
            choices = classify(model, host.tokenizer, records)
        else:
            choices = choose(model, host.tokenizer, records, labels)
        for work, choice in zip(works, choices, strict=True):
            work.choice, work.outcome = choice, STOP
            work.told(None)

    def _safely(self, do: Callable[[], None], fail: Callable[[Exception], None]) -> None:
        """What goes wrong is the askers' to hear; the thread lives on."""
        try:
            do()
        except Exception as error:
            if not isinstance(error, CourseError):
                self.log(f"引擎出错：{type(error).__name__}: {error}")
            fail(error)
