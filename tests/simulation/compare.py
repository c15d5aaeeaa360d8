"""What must be alike in the simulated kernel and on Linux, and how far it may differ.

Alike, for each script on each stage: the answers of each client; for each thread, the calls of the model and of the
conversation, in their order, with descriptors, sizes, events and results; the verdict of the recorder, and its reason.

What may differ, and how it is told apart here:
    times           a real server is late, never early (EARLY_MS); a time-out in a call's arguments counts as none, zero
                    or some; where a thread was at the moment when a client came that did not wait
    EINTR           strace names what the kernel means to do (ERESTARTSYS and the like): both are "interrupted"
    which thread    of two that are ready at one moment runs first: threads are compared in the order in which they were
                    started, and only with themselves
    names of libc   which calls printf, malloc, pthread_create and start-up make: futex, clone3, mmap,
                    rt_sigprocmask ... are left out
    a look ahead    recv with MSG_PEEK after the last answer: whether the client has closed by then
    how often       a server that is out of descriptors tries again each 10 ms: repetitions count once; and deadlines
                    that are in one moment here may be in two there, with a look at what is ready in between
    socket timers   how late SO_RCVTIMEO and SO_SNDTIMEO are
    computing       --compute reads the clock all the time; strace makes each read long, so that the recorder may call
                    it many short calls, and what is done between them
"""
import re

from recorder import strace_log, understand

EARLY_MS = 15  # of what a client may have measured on a busy machine
CONVERSATION = {"accept4", "recvfrom", "sendto", "shutdown", "close"}
MODEL = {"epoll_ctl", "epoll_wait", "epoll_pwait", "ppoll", "poll", "pselect6", "clock_nanosleep", "setsockopt",
         "fcntl", "read", "write", "exit_group"}
_NOTE = re.compile(r"<[^<>]*->[^<>]*>|<[^<>]*>")
_TIME = re.compile(r"\{tv_sec=(\d+), tv_nsec=(\d+)\}")
_ADDRESS = re.compile(r"0x[0-9a-f]{4,}")


def calls_of(log):
    """The calls that are compared: a list of lines for each thread, in the order in which the threads were started."""
    threads, listening = {}, False
    for call in log.calls:
        listening = listening or call.name == "listen"
        lines = threads.setdefault(call.tid, [])
        printed = call.name == "write" and re.match(r"[12]\b", call.arguments)
        if not listening or printed or call.name not in CONVERSATION | MODEL:
            continue
        line = _line(call)
        if not line.endswith("at once) = 0"):
            lines.append(line)
    return [_without_repetitions(lines) for lines in threads.values() if lines]


def _line(call):
    """A call without what may differ."""
    arguments, result = _NOTE.sub("", call.arguments), _NOTE.sub("", call.result)
    error = re.search(r"\b(E[A-Z]+)\b", result)
    if error:
        result = "interrupted" if error[1].startswith(("ERESTART", "EINTR")) else error[1]
    elif call.end is None:
        result = "?"
    if call.name in ("recvfrom", "sendto"):
        fd, _, rest = arguments.partition(", ")
        found = re.search(r"(\d+), ([A-Z_|0-9]+), NULL, (?:NULL|0)$", rest)
        size, flags = found.groups() if found else ("", "")
        flags = "|".join(sorted(flags.split("|")))
        if "MSG_PEEK" in flags and result in ("0", "EAGAIN"):
            result = "nothing"
        if call.name == "sendto":
            status = re.search(r'"HTTP/1.1 (\d+)', rest)
            return f"sendto({fd}, {status[1] if status else '...'}, {flags}) = {result}"
        return f"recvfrom({fd}, {size}, {flags}) = {result}"
    if call.name == "setsockopt":
        found = re.match(r"(\d+), SOL_SOCKET, (SO_\w+)", arguments)
        return f"setsockopt({', '.join(found.groups())}) = {result}" if found else f"setsockopt({arguments}) = {result}"
    if call.name == "clock_nanosleep":
        return f"clock_nanosleep({'absolute' if 'ABSTIME' in arguments else 'relative'}) = {result}"
    if call.name in ("epoll_wait", "epoll_pwait"):
        found = re.fullmatch(r"(\d+), (.*), (\d+), (-?\d+)(?:, (?:\[.*\]|NULL|0x\w+), 8)?", arguments)
        if not found:
            return f"{call.name}({arguments.split(',')[0]}) = {result}"
        events = "[]" if _ADDRESS.fullmatch(found[2]) else found[2]
        return f"{call.name}({found[1]}, {_in_order(events)}, {_some(int(found[4]))}) = {result}"
    if call.name in ("ppoll", "poll", "pselect6"):
        result = re.sub(r",? ?left \{.*?\}", "", result)
        return f"{call.name}({_TIME.sub(lambda t: _some(int(t[1]) * 10 ** 9 + int(t[2])), arguments)}) = {result}"
    if call.name == "epoll_ctl":
        return f"epoll_ctl({_ADDRESS.sub('...', _in_order(arguments))}) = {result}"
    return f"{call.name}({'|'.join(sorted(_ADDRESS.sub('...', arguments).split('|')))}) = {result}"


def _some(amount):
    return "for ever" if amount < 0 else "at once" if amount == 0 else "a while"


def _in_order(events):
    """The events without the half of data that the program has not set. (strace 6.13 prints one number, of both.)"""
    events = re.sub(r"data=\{u32=(\d+), u64=\d+\}", r"\1", events)
    return re.sub(r"data=0x([0-9a-f]+)", lambda data: str(int(data[1], 16) & 0xffffffff), events)


def _without_repetitions(lines):
    """Where a sequence of up to three lines repeats itself, keep it once."""
    kept = []
    for line in lines:
        kept.append(line)
        for length in (2, 3):
            last = kept[-length:]
            if len(kept) >= 2 * length and last == kept[-2 * length:-length] and "EMFILE" in "".join(last):
                del kept[-length:]
    return kept


def verdict_of(log):
    """What the recorder says: whether /fast waited, and if so, the reason, without its figures. (Where a thread was
    when a client came that did not wait depends on the moment.)"""
    try:
        recording = understand.understand(log)
    except understand.NotUnderstood as reason:
        return None, str(reason)
    reason = re.sub(r"\d+(\.\d+)? m?s\b", "so long", recording.sentence)
    return recording.serializes, reason if recording.serializes else ""


def answers_of(clients):
    return [(client["status"], [(answer["status"], answer["body"].strip()) for answer in client["answers"]])
            for client in clients]


def _dropped(client):
    """Was the backlog full when the client came? Then it connects a second later, or more."""
    return client["connected"] is None or client["connected"] - client["start"] > 700


def differences(real, simulated):
    """Compare two runs: dictionaries with log (text), clients (as the engine tells them), and ending. Return lines."""
    found = []
    if answers_of(real["clients"]) != answers_of(simulated["clients"]):
        found += ["answers:", f"    Linux      {answers_of(real['clients'])}",
                  f"    simulated  {answers_of(simulated['clients'])}"]
    for number, (here, there) in enumerate(zip(real["clients"], simulated["clients"]), 1):
        if _dropped(here) != _dropped(there):
            found.append(f"client {number}: its SYN was {'' if _dropped(here) else 'not '}dropped on Linux")
        if here["done"] is not None and there["done"] is not None:
            early = (there["done"] - there["start"]) - (here["done"] - here["start"])
            if early > EARLY_MS:
                found.append(f"client {number} had its answer {early:.0f} ms earlier on Linux")
    if real["ending"] != simulated["ending"]:
        found.append(f"ending: {real['ending']} on Linux, {simulated['ending']} simulated")
    logs = [strace_log.read(run["log"])[0] for run in (real, simulated)]
    threads = [calls_of(log) for log in logs]
    if len(threads[0]) != len(threads[1]):
        found.append(f"threads: {len(threads[0])} on Linux, {len(threads[1])} simulated")
    for number, (here, there) in enumerate(zip(*threads), 1):
        if here != there:
            at = next((i for i, (a, b) in enumerate(zip(here, there)) if a != b), min(len(here), len(there)))
            found += [f"calls of thread {number}, from call {at + 1} on:",
                      *(f"    Linux      {line}" for line in here[at:at + 3]),
                      *(f"    simulated  {line}" for line in there[at:at + 3])]
    verdicts = [verdict_of(log) for log in logs]
    # On Linux, strace may hide that, and the log has no samples of the threads' CPU time. Other reasons are the same.
    if verdicts[1][1].endswith("was computing."):
        said = re.sub(r"busy with many short calls( \(.*?\))?, and with what it did between them|"
                      "computing, or ready to run: this recording does not tell which", "computing", verdicts[0][1])
        verdicts[0] = (verdicts[0][0], said)
    if verdicts[0] != verdicts[1]:
        found += ["verdict:", f"    Linux      {verdicts[0]}", f"    simulated  {verdicts[1]}"]
    return found
