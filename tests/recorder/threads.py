"""The threads of an experiment: what each did with its time, and which of its calls belong to the story."""
from collections import Counter

from kit.printable import printable
from recorder import account, strace_log, symbols, waiting
from recorder.account import Part
from recorder.descriptors import ACCEPT, LOOP, RECEIVE, SEND, Connection, Request
from recorder.lengths import duration
from recorder.meaning import LONG, Meanings, Rank, waits
from recorder.recording import Call, Recording, Thread, Upstream, Wait
from recorder.waiting import Cause

OFTEN = 6  # as many waits for the same are told one by one
WOKEN = {"lock", "thread"}  # a wait that another thread ends
ASLEEP = {"server", "file", "child", "names"}  # who waits for one of these takes part, and does not only idle


class Threads:
    """Collects what the threads of an experiment did."""

    def __init__(self, experiment):
        self.experiment, self.seen = experiment, experiment.seen
        self.begin, self.end = experiment.begin, experiment.end
        self.causes = waiting.Causes(experiment.log, self.seen, experiment.name)
        self.meanings = Meanings(self.seen, self.causes, experiment.name)
        self.known = symbols.known_places(experiment.log)
        self.threads, self.others, self.waits = [], [], []
        self.hidden = []    # the names of the calls that are not told
        self._starts = []   # (call, the thread or process that it starts)
        self._collect()

    def _collect(self):
        log, pid_of = self.experiment.log, self.seen.pid_of
        started = log.started()
        calls_of = {tid: [] for tid in pid_of if tid not in started}
        for call in log.calls:
            calls_of.setdefault(call.tid, []).append(call)
        processors = self._processors(log)
        self.pause = account.pause([[(call.start, call.end) for call in calls] for calls in calls_of.values()])
        before = {int(tid) for tid, _ in log.fields("thread", r"(\d+) of (\d+)")}  # these were running already
        for tid, calls in calls_of.items():
            if not calls and tid not in before:
                continue
            first = calls[0].start if calls else self.end
            start = started[tid].start if tid in started else self.begin if tid in before else first
            end = log.ends[tid][0] if tid in log.ends else None
            if start > self.end or (end is not None and end < self.begin):
                continue
            end = self.since(end) if end is not None and end <= self.end else None
            thread = Thread(tid, pid_of[tid], "", self.since(start), end, runs_tasks=pid_of[tid] in self.seen.tasks)
            processor = processors.get(tid, account.Processor())
            if tid in started:
                processor.samples.append((thread.start, 0.0, 0.0))
            processor.samples.sort()
            self._add(thread, calls, self.since(first) if tid in before else None, processor)
        self.threads.sort(key=lambda thread: (thread.start, thread.tid))
        self.others.sort(key=lambda thread: (thread.start, thread.tid))
        self.waits.sort(key=lambda wait: wait.start)
        self._label()
        labels = {thread.tid: thread.label for thread in [*self.threads, *self.others]}
        for call, tid in self._starts:
            call.plain = f"starts {labels.get(tid, 'a thread or a process')}"
        for thread in self.threads:
            for call in thread.calls:
                woken = call.waits_for == "lock" or call.waits_for == "thread" and not call.of
                if woken and call.by in labels:
                    call.plain = f"waits until {labels[call.by].replace('main', 'the main')} wakes it"

    def since(self, moment):
        return round(moment - self.begin, 6)

    def upstreams(self):
        """What other servers were asked during the experiment."""
        return [Upstream(printable(each.server.name), max(self.since(each.start), 0),
                         None if each.answered is None else self.since(each.answered), each.tid,
                         self.experiment.index(each.request) if each.request else None,
                         self.causes.server(each.server.kind, each.server.name).by)
                for each in self.seen.exchanges
                if each.start <= self.end and (each.answered is None or each.answered >= self.begin)]

    def complete(self):
        """Is no thread missing?"""
        log = self.experiment.log
        children = [strace_log.child(call) for call in log.calls]
        known = {call.tid for call in log.calls} | set(self.seen.pid_of)
        return not log.cut and all(child in known for child in children if child)

    def _processors(self, log):
        """When each thread had a processor: {tid: Processor}."""
        found = {}
        seconds = r"(\d{1,12}\.\d{1,9})"
        for tid, *numbers in log.fields("cpu", rf"(\d{{1,9}}) at {seconds} had {seconds} ready {seconds}"):
            moment, had, ready = map(float, numbers)
            found.setdefault(int(tid), account.Processor()).samples.append((self.since(moment), had, ready))
        return found

    def _add(self, thread, calls, known_from, processor):
        """Add a thread with those of its calls that belong to the story."""
        waits, hidden, folded, timed = [], [], 0, []
        serving = None  # the request that it has read, and not answered yet
        for call, next_call in zip(calls, [*calls[1:], None]):
            file, request = self.seen.of_call.get(id(call)), self.seen.request_of.get(id(call))
            inside = call.start <= self.end and (call.end is None or call.end >= self.begin)
            if inside:
                meaning = self.meanings.of(call, serving)
                told = self._call(call, next_call, meaning, request or file, serving, folded)
                timed.append((told.start, told.end, self._part(call, told)))
                folded = folded + 1 if meaning.rank == Rank.NOISE else 0
                if meaning.rank == Rank.NOISE:
                    hidden.append(call.name)
                else:
                    thread.calls.append(told)
                    if strace_log.child(call):
                        self._starts.append((told, strace_log.child(call)))
                    if call.name in LOOP:
                        waits.append(self._wait(call, told))
            if isinstance(file, Connection):
                serving = request if self.seen.reads.get(id(call)) and (call.value or 0) > 0 else None
        begin, end = max(thread.start, 0), self.since(self.end) if thread.end is None else thread.end
        thread.parts = account.parts(timed, begin, end, known_from, self.pause)
        account.tell_computing(thread.parts, processor)
        thread.calls = self._without_repetitions(thread)
        thread.calls = self._with_what_is_folded(thread)
        if _matters(thread, self.since(self.end)):
            self.threads.append(thread)
            self.waits += waits
            self.hidden += hidden
        else:
            self.others.append(thread)

    def _without_repetitions(self, thread):
        """Fold calls, too, that wait for the same thing again and again."""
        def what(call):
            return call.name, call.waits_for, call.of

        often = Counter(what(call) for call in thread.calls if call.waits_for not in ("", "clients", "delay"))
        most = self.since(self.end) / 5
        folded = [call for call in thread.calls if often[what(call)] > OFTEN and call.client is None or (
            often[what(call)] > OFTEN and call.waits_for in ("server", "names", "file", "lock", "turn"))]
        folded = {id(call) for call in folded if call.end is not None and call.end - call.start < most}
        self.hidden += [call.name for call in thread.calls if id(call) in folded]
        return [call for call in thread.calls if id(call) not in folded]

    def _with_what_is_folded(self, thread):
        """Where many short calls, none of them told, add up to a long wait, tell of them as of one."""
        told, last = [], max(thread.start, 0)
        end = self.since(self.end) if thread.end is None else thread.end
        for call in [*thread.calls, None]:
            start = end if call is None else call.start
            if start - last >= Recording.computing_from:
                told += self._folded(thread, last, start)
            if call is not None:
                told.append(call)
                last = max(last, end if call.end is None else call.end)
        return told

    def _folded(self, thread, begin, end):
        parts = [part for part in account.between(thread.parts, begin, end) if part.kind not in account.OWN]
        totals = account.sums(parts)
        between = sum(part.seconds for part in account.between(thread.parts, begin, end)
                      if part.kind in (account.BETWEEN, account.STARVED, account.CALLS))
        if not totals or totals[0].seconds < max((end - begin - between) / 2, (end - begin) / 4):
            return []
        most = totals[0]
        alike = [part for part in parts if (part.kind, part.name, part.of) == (most.kind, most.name, most.of)]
        each = duration(most.seconds / most.times)
        plain = f"{waits(Cause(most.kind, most.of, most.by), most.name)}, {most.times:,} times, {each} each"
        return [Call(thread.tid, most.name, "", "", alike[0].start, alike[-1].end, None, None, most.kind,
                     plain, of=most.of)]

    def _part(self, call, told):
        cause = self.causes.of(call)
        place = f", called from {told.source}" if told.source else f", called by {told.function}" * bool(told.function)
        by = None if cause.kind in WOKEN and told.end is None else cause.by  # who woke it when all was over
        return Part(cause.kind, 0, 0, printable(cause.of), by, call.name, printable(place))

    def _call(self, call, next_call, meaning, thing, serving, folded):
        stack, source, function = symbols.place(call, next_call, self.known)
        returned = self.since(call.end) if call.end is not None and call.end <= self.end else None
        about = call.name not in LOOP or meaning.waits_for == "delay"
        index = None
        if about:
            index = self.experiment.index(thing) if isinstance(thing, (Connection, Request)) else None
            if index is None and serving is not None and not isinstance(thing, Connection):
                index = self.experiment.index(serving)
        cause = self.causes.of(call)
        return Call(call.tid, call.name, printable(call.arguments), printable(call.result), self.since(call.start),
                    returned, source, printable(function) if function else None, meaning.waits_for,
                    printable(meaning.plain), index, stack, meaning.rank == Rank.DETAIL, folded,
                    printable(cause.of), cause.by,
                    stranger=isinstance(thing, (Connection, Request)) and self.experiment.index(thing) is None)

    def _wait(self, call, told):
        def name(file):
            connected = isinstance(file, Connection)
            return printable(f"{self.experiment.name(file)} (fd {file.fd})" if connected else str(file))

        watched, reported = (list(map(name, files[id(call)])) for files in (self.seen.watched, self.seen.reported))
        epoll = call.name.startswith("epoll")
        known = self.seen.processes[self.seen.pid_of[call.tid]].whole and id(call) not in self.seen.partly
        return Wait(call.tid, told.start, told.end, watched, waiting.timeout_ms(call), reported,
                    known if epoll else bool(watched))

    def _descendants(self, pids):
        """These processes, and those that they started."""
        found = set(pids)
        for tid, call in sorted(self.experiment.log.started().items(), key=lambda item: item[1].start):
            if self.seen.pid_of[call.tid] in found:
                found.add(self.seen.pid_of[tid])
        return found

    # ---- names

    def _label(self):
        """Name the threads for people: main thread, thread 2 (pool-1); worker 1; worker 1, thread 2. The worker that
        served the first client is worker 1, whichever was started first."""
        everybody = [*self.threads, *self.others]
        passing = {self.seen.pid_of[tid] for tid in self.seen.passing}
        told = self.threads
        workers = [pid for pid in dict.fromkeys(thread.pid for thread in told if _serves(thread))
                   if pid not in passing]
        served = {pid: [call.client for thread in told if thread.pid == pid for call in thread.calls
                        if call.client is not None] for pid in workers}
        workers.sort(key=lambda pid: min(served[pid], default=len(self.experiment.clients)))
        below = self._descendants(workers or [self.threads[0].pid] if self.threads else [])
        several = len(workers) > 1 or any(thread.pid not in below for thread in everybody)
        serving = workers[0] if workers else told[0].pid if told else 0
        for pid in {thread.pid for thread in everybody}:
            process = f"worker {workers.index(pid) + 1}" if pid in workers else \
                "parent" if pid in passing and len(passing) == 1 else f"process {pid}"
            own = [thread for thread in everybody if thread.pid == pid]
            own.sort(key=lambda thread: thread.tid != pid)  # the main thread first
            main = self.seen.names.get(pid, "")
            for number, thread in enumerate(own, 1 if own[0].tid == pid else 2):
                name = "main thread" if number == 1 else f"thread {number}"
                called = printable(self.seen.names.get(thread.tid, ""))
                if number > 1 and called and called != main and called not in self.seen.programs.get(pid, ""):
                    name += f" ({called})"
                named = several or pid != serving
                thread.label = (name if not named else process if number == 1 else f"{process}, {name}")


def _serves(thread):
    """Has it accepted, read or answered a client, or waited for any? A child may close what it has inherited."""
    return any((call.client is not None and call.name in ACCEPT | RECEIVE | SEND) or call.waits_for == "clients"
               for call in thread.calls)


def _matters(thread, length):
    """Has a thread served or waited for clients, or slept, or waited for something outside, or computed for some
    time?"""
    sleeps = [call for call in thread.calls if call.waits_for == "delay" and call.of != waiting.OR_WOKEN]
    if _serves(thread) or any(call.name not in waiting.FUTEX for call in sleeps):
        return True
    lasting = max(LONG, length / 20)
    if any(call.start >= 0 and call.end and call.end - call.start > length / 3 for call in sleeps):
        return True  # others wake up at times to look after the program
    return (any((part.kind in ASLEEP or part.of == waiting.URING or part.name == strace_log.STOPPED)
                and part.seconds > lasting
                for part in thread.parts) or
            account.longest_computation(thread.parts) > max(length / 5, Recording.computing_from))
