"""In which system call is each thread of a server blocked while clients wait? Sampled from /proc, which costs
the server nothing. What cannot be seen is not said."""
import re
import time
from collections import Counter

from kit import proc, urls
from recorder import recorder

RUNNING = "running"


def serving(url):
    """Return the processes that serve a URL, as far as they run on this machine and may be seen."""
    return recorder.serving(url) if urls.is_here(url) else []


def where(pid, tid):
    """Return the system call in which a thread is blocked, or RUNNING; None if it cannot be seen."""
    place = proc.place(pid, tid)
    if place is None or place.state == "R":
        return place and RUNNING
    return place.call or (place.function and f"the kernel's {place.function}")


class Samples:
    """Where the threads of some processes were, at moments in seconds since 1970; and, if they serve a URL, where the
    connections of its clients were."""

    def __init__(self, pids, url=None):
        self.pids = list(pids)
        self.taken = []
        self.wanted = {}        # (pid, tid) -> [(moment, seconds that it has run or been ready to)], of one that runs
        self.connections = []   # (moment, {port of a client: (the inode at the server's end, unread bytes)})
        self.owners = {}        # inode -> pid, or None
        self.address = urls.address(url) if url and pids else None

    def take(self):
        places = {(pid, tid): where(pid, tid) for pid in self.pids for tid in proc.threads(pid)}
        moment = time.time()
        self.taken.append((moment, places))
        for thread in [thread for thread, place in places.items() if place == RUNNING]:
            seconds = proc.processor_seconds(*thread)
            if seconds:
                self.wanted.setdefault(thread, []).append((moment, sum(seconds)))
        if self.address:
            seen = {each.peer[1]: (each.inode, each.unread) for each in proc.tcp_sockets(self.address[1])
                    if not each.listens and each.local[1] == self.address[1]}
            self.connections.append((moment, seen))
            self._find_owners({inode for inode, _ in seen.values() if inode and inode not in self.owners})

    def _find_owners(self, inodes):
        """Which process has a connection? A parent may have passed it to one that we do not know yet."""
        for pids in (self.pids, proc.all_pids() if inodes else []):
            for pid in pids:
                for inode in proc.descriptors(pid, inodes - set(self.owners)).values():
                    self.owners[inode] = pid
        self.owners.update((inode, None) for inode in inodes if inode not in self.owners)
        self.pids += [pid for pid in dict.fromkeys(self.owners.values()) if pid and pid not in self.pids]

    def saw_server(self, port):
        """Was it seen which process served this client? One that is answered soon may come and go between two looks."""
        return any(self.owners.get(seen[port][0]) for _, seen in self.connections if port in seen)

    def servers(self, ports):
        """The processes that had the connections of these clients; all of them, if that was not seen."""
        inodes = {seen[port][0] for _, seen in self.connections for port in ports if port in seen}
        return {self.owners[inode] for inode in inodes if self.owners.get(inode)} or set(self.pids)

    def standing(self, port, first, last):
        """Where the request of a client mostly was between two moments: "backlog", "unread" (accepted), "read";
        "" if it was not seen."""
        states = Counter("backlog" if seen[port][0] == 0 else "unread" if seen[port][1] else "read"
                         for moment, seen in self.connections if first <= moment <= last and port in seen)
        return states.most_common(1)[0][0] if states else ""

    def between(self, first, last, pids=None):
        """Return where each thread (of these processes) mostly was between two moments, those omitted that were there
        for less than half of the time; [] if not all of them could be seen."""
        seen = [{thread: place for thread, place in places.items() if pids is None or thread[0] in pids}
                for moment, places in self.taken if first <= moment <= last]
        threads = Counter(thread for places in seen for thread in places)
        lasting = sorted(thread for thread, times in threads.items() if times * 2 >= len(seen))
        mostly = [self._mostly(thread, first, last, Counter(places.get(thread) for places in seen if thread in places))
                  for thread in lasting]
        return mostly if None not in mostly else []

    def _mostly(self, thread, first, last, places):
        """Where a thread mostly was. A look may find it running that has slept since the look before: it ran only if
        it wanted a processor for half of the time, too."""
        wanted = [each for each in self.wanted.get(thread, ()) if first <= each[0] <= last]
        if wanted and wanted[-1][1] - wanted[0][1] <= (wanted[-1][0] - wanted[0][0]) / 2:
            places[RUNNING] = 0
        place, times = places.most_common(1)[0]
        return place if times else None


def free(places):
    """The call in which a thread waits for clients, or "": a loop, or one that accepts for others."""
    return next((place for place in places if re.match(r"epoll_|p?poll|p?select|_newselect|accept", place)), "")


def sentence(places, everybody=True, whom=""):
    """Tell where threads were, such as "its one thread was in clock_nanosleep". everybody: these are all that it has,
    and not only those of the processes that served (whom, if that is known of one request alone)."""
    calls = list(dict.fromkeys(place for place in places if place != RUNNING))
    words = ["in " + " and ".join(filter(None, [", ".join(calls[:-1]), calls[-1]]))] if calls else []
    words += [RUNNING] if RUNNING in places else []
    served = f"served {whom}".rstrip()
    subject = ("its one thread was" if everybody else f"the thread that {served} was") if len(places) == 1 else \
        f"its {len(places)} threads were" if everybody else f"the {len(places)} threads that {served} were"
    return f"{subject} {', or '.join(words)}"


def summary(places):
    """The same for a table: "accept4, clock_nanosleep"."""
    return ", ".join(dict.fromkeys(places))
