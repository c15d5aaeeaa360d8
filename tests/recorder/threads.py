"""The threads of an experiment, and which of their calls belong to the story."""

from recorder import strace_log, symbols, verdict
from recorder.descriptors import Connection, LOOP, RECEIVE
from recorder.recording import Call, Recording, Thread, Wait
from recorder.words import Rank, Words, timeout_ms


class Story:
    """Collects what the threads of an experiment did."""

    def __init__(self, experiment):
        self.experiment = experiment
        self.begin, self.end = experiment.begin, experiment.end
        self.words = Words(experiment.seen, experiment.name)
        self.known = symbols.known_places(experiment.log)
        self.threads, self.waits = [], []
        self.hidden = []    # the names of the calls that are not told
        self.idle = 0       # threads that had nothing to do with it
        self.processes = set()
        self._starts = []   # (call, the thread or process that it starts)
        self._collect()

    def _collect(self):
        log, pid_of = self.experiment.log, self.experiment.seen.pid_of
        started, calls_of = log.started(), {}
        for call in log.calls:
            calls_of.setdefault(call.tid, []).append(call)
        for tid, calls in calls_of.items():
            start = started[tid].start if tid in started else calls[0].start
            end = log.ends[tid][0] if tid in log.ends else None
            if start > self.end or (end is not None and end < self.begin):
                continue
            self.processes.add(pid_of[tid])
            end = self.since(end) if end is not None and end <= self.end else None
            self._add(Thread(tid, pid_of[tid], "", self.since(start), end), calls)
        self.threads.sort(key=lambda thread: (thread.start, thread.tid))
        self.waits.sort(key=lambda wait: wait.start)
        self._label()
        labels = {thread.tid: thread.label for thread in self.threads}
        for call, tid in self._starts:
            call.plain = f"starts {labels.get(tid, 'a thread or a process')}"

    def since(self, moment):
        return round(moment - self.begin, 6)

    def _add(self, thread, calls):
        """Add a thread with those of its calls that belong to the story."""
        waits, hidden, folded = [], [], 0
        serving = None  # the connection whose request it has read, and not answered yet
        for call, next_call in zip(calls, [*calls[1:], None]):
            connection = self.experiment.seen.of_call.get(id(call))
            inside = call.start <= self.end and (call.end is None or call.end >= self.begin)
            meaning = self.words.meaning(call, serving)
            if inside and meaning.rank == Rank.NOISE:
                hidden.append(call.name)
                folded += 1
            elif inside:
                thread.calls.append(self._call(call, next_call, meaning, connection or serving, folded))
                folded = 0
                if strace_log.child(call):
                    self._starts.append((thread.calls[-1], strace_log.child(call)))
                if call.name in LOOP:
                    waits.append(self._wait(call, thread.calls[-1]))
            if isinstance(connection, Connection):
                serving = connection if call.name in RECEIVE and (call.value or 0) > 0 else None
        if _matters(thread, self.end - self.begin):
            self.threads.append(thread)
            self.waits += waits
            self.hidden += hidden
        else:
            self.idle += 1

    def _call(self, call, next_call, meaning, connection, folded):
        stack, source, function = symbols.place(call, next_call, self.known)
        returned = self.since(call.end) if call.end is not None and call.end <= self.end else None
        about = call.name not in LOOP or meaning.waits_for == "delay"
        return Call(call.tid, call.name, call.arguments, call.result, self.since(call.start), returned,
                    source, function, meaning.waits_for, meaning.plain,
                    self.experiment.index(connection) if about else None,
                    stack, meaning.rank == Rank.DETAIL, folded)

    def _wait(self, call, told):
        def name(thing):
            connected = isinstance(thing, Connection)
            return f"{self.experiment.name(thing)} (fd {thing.fd})" if connected else thing

        watched, reported = (list(map(name, things[id(call)]))
                             for things in (self.experiment.seen.watched, self.experiment.seen.reported))
        return Wait(call.tid, told.start, told.end, watched, timeout_ms(call), reported)

    def _label(self):
        """Name the threads for people: main thread, thread 2; worker 1; worker 1, thread 2."""
        several = len(self.processes) > 1
        workers = list(dict.fromkeys(thread.pid for thread in self.threads if _serves(thread)))
        for pid in {thread.pid for thread in self.threads}:
            process = f"worker {workers.index(pid) + 1}" if pid in workers else f"process {pid}"
            own = [thread for thread in self.threads if thread.pid == pid]
            own.sort(key=lambda thread: thread.tid != pid)  # the main thread first
            for number, thread in enumerate(own, 1 if own[0].tid == pid else 2):
                name = "main thread" if number == 1 else f"thread {number}"
                thread.label = (name if not several else process if number == 1 else f"{process}, {name}")


def _serves(thread):
    return any(call.client is not None or call.waits_for == "clients" for call in thread.calls)


def _matters(thread, length):
    """Has a thread served or waited for clients, or slept, or computed for some time?"""
    return (_serves(thread) or any(call.waits_for == "delay" for call in thread.calls) or
            any(call is None and end - start > length / 5
                for start, end, call in verdict.pieces(thread, 0, length, Recording.computing_from)))
