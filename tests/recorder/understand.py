"""From a log to a Recording."""
from collections import Counter

from kit.printable import printable
from recorder import clients, symbols, verdict
from recorder.recording import Recording
from recorder.threads import Threads

COMPUTING = 0.05  # of a recording: less than that between two calls may be what tracing costs


class NotUnderstood(Exception):
    """A log is of no use: one line that says why."""


def understand(log, folders=()):
    """Return the Recording that a log tells of. Of source files, it has those of the toolkit and those below these
    folders."""
    if not log.calls and log.other_clock:
        raise NotUnderstood("its times are not those of strace -ttt (but of -tt, -t or -r); record with "
                            "strace -f -ttt -T")
    if not log.calls and "probe" not in log.header:
        raise NotUnderstood("this is not a log of strace" if log.unread else "it contains no system call")
    experiment = clients.Experiment(log)
    if not experiment.clients:
        raise NotUnderstood("it contains no request of a client")
    unseen = (any(call.name.startswith("io_uring") for call in log.calls)  # it may accept, read and send so
              and not any(each.accepted for each in experiment.seen.connections))
    if any(client.done for client in experiment.clients) and not experiment.seen.connections and not unseen:
        raise NotUnderstood("the requests were answered, but not by this process")
    if not log.durations and any(call.end is not None for call in log.calls):
        raise NotUnderstood("it does not tell how long the calls took; record with strace -f -ttt -T")
    if experiment.end - experiment.begin < 1e-6:
        raise NotUnderstood("it ends when its first request begins")
    threads = Threads(experiment)
    for client in experiment.clients:
        if client.accepted is None and unseen:
            client.accepted, client.accept_seen = client.connected, False
        clients.count_from(client, experiment.begin)
    duration = threads.since(experiment.end)
    name = printable(log.first("recording")) or "a log of strace"
    recording = Recording(
        name, printable(log.first("command")), printable(log.first("url")), duration,
        threads.threads, experiment.clients, threads.waits, None, "",
        computing_from=round(max(Recording.computing_from, COMPUTING * duration), 3),
        idle_threads=len(threads.others), hidden=dict(Counter(threads.hidden).most_common()),
        sources=symbols.sources(threads.threads, log, folders),
        others=threads.others, upstreams=threads.upstreams(), complete=threads.complete())
    last = max(experiment.clients, key=lambda client: client.start)
    recording.pid = experiment.seen.pid_of.get(last.answered_by or last.read_by or last.accepted_by, 0)
    recording.program = printable(experiment.seen.programs.get(recording.pid, ""))
    recording.serializes, recording.sentence = verdict.judge(
        recording, log.first("slow"), log.first("fast"), asked=bool(experiment.rows))
    return recording
