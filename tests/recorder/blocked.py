"""In which system call is each thread of a server blocked while clients wait? Sampled from /proc, which costs
the server nothing. What cannot be seen is not said."""
import time
from collections import Counter

from kit import proc, urls

RUNNING = "running"


def serving(url):
    """Return the processes that listen at a URL, as far as they run on this machine and may be seen."""
    return proc.serving(urls.address(url).port) if urls.is_here(url) else []


def where(pid, tid):
    """Return the system call in which a thread is blocked, or RUNNING; None if it cannot be seen."""
    place = proc.place(pid, tid)
    if place is None or place.state == "R":
        return place and RUNNING
    return place.call or (place.function and f"the kernel's {place.function}")


class Samples:
    """Where the threads of some processes were, at moments in seconds since 1970."""

    def __init__(self, pids):
        self.pids = pids
        self.taken = []
        if pids:
            proc.call_names()  # now: it takes a moment

    def take(self):
        places = {(pid, tid): where(pid, tid) for pid in self.pids for tid in proc.threads(pid)}
        self.taken.append((time.time(), places))

    def between(self, first, last):
        """Return where each thread mostly was between two moments, those omitted that were there for less
        than half of the time; [] if not all of them could be seen."""
        seen = [places for moment, places in self.taken if first <= moment <= last]
        threads = Counter(thread for places in seen for thread in places)
        lasting = sorted(thread for thread, times in threads.items() if times * 2 >= len(seen))
        mostly = [Counter(places.get(thread) for places in seen if thread in places).most_common(1)[0][0]
                  for thread in lasting]
        return mostly if None not in mostly else []


def sentence(places):
    """Tell where threads were, such as "its one thread was in clock_nanosleep"."""
    calls = list(dict.fromkeys(place for place in places if place != RUNNING))
    words = ["in " + " and ".join(filter(None, [", ".join(calls[:-1]), calls[-1]]))] if calls else []
    words += [RUNNING] if RUNNING in places else []
    subject = "its one thread was" if len(places) == 1 else f"its {len(places)} threads were"
    return f"{subject} {', or '.join(words)}"


def summary(places):
    """The same for a table: "accept4, clock_nanosleep"."""
    return ", ".join(dict.fromkeys(places))
