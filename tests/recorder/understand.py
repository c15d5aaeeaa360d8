"""From a log to a Recording."""
from collections import Counter

from recorder import clients, symbols, verdict
from recorder.recording import Recording
from recorder.threads import Story


COMPUTING = 0.05  # of a recording: less than that between two calls may be what tracing costs


class NotUnderstood(Exception):
    """A log is of no use: one line that says why."""


def understand(log):
    """Return the Recording that a log tells of."""
    if not log.calls and "probe" not in log.header:
        raise NotUnderstood("this is not a log of strace" if log.unread else "it contains no system call")
    experiment = clients.Experiment(log)
    if not experiment.clients:
        raise NotUnderstood("it contains no request of a client")
    if any(client.done for client in experiment.clients) and not experiment.seen.connections:
        raise NotUnderstood("the requests were answered, but not by this process")
    if not log.durations:
        raise NotUnderstood("it does not tell how long the calls took; record with strace -f -ttt -T")
    story = Story(experiment)
    for client in experiment.clients:
        clients.count_from(client, experiment.begin)
    duration = story.since(experiment.end)
    recording = Recording(
        log.first("recording") or "a log of strace", log.first("command"), log.first("url"), duration,
        story.threads, experiment.clients, story.waits, None, "",
        computing_from=round(max(Recording.computing_from, COMPUTING * duration), 3),
        idle_threads=story.idle, hidden=dict(Counter(story.hidden).most_common()),
        sources=symbols.sources(story.threads, log))
    recording.serializes, recording.sentence = verdict.judge(
        recording, log.first("slow"), log.first("fast"), asked=bool(experiment.rows))
    return recording
