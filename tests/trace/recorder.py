"""Record: start a server under strace, or attach strace to one that runs; ask it; return the log as text.

strace runs as a grandchild of ours (-D), so the server is our own child: signals reach it directly, and it
ends with us. strace itself ends when the last of the processes that it follows has ended.
"""
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from urllib.parse import urlsplit

import lab
import processes
import strace_log
import symbols

STRACE = ["strace", "-f", "-ttt", "-T", "-y", "-s", "256"]
LARGE = 20000000  # bytes
QUIET = 12  # looks at the log, 20 ms apart: a server that has made few calls meanwhile has started


# ---- may we trace?

def check():
    """Fail, with advice, if this process may not trace what it starts."""
    lab.need("strace", "deps-tools")
    tried = subprocess.run(["strace", "-D", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if tried.returncode != 0 or "strace:" in tried.stderr:
        raise lab.Failed(f"strace may not trace here ({_last_line(tried.stderr)}). {advice()}")


def _last_line(text):
    return (text.strip().splitlines() or ["it says nothing"])[-1].replace("strace: ", "")


def advice(attach=False):
    """How to allow what is forbidden."""
    scope = int(processes.read("/proc/sys/kernel/yama/ptrace_scope") or 0)
    if processes.tracer(os.getpid()):
        return "This process is itself traced, by strace or a debugger: start it without."
    if scope == 3:
        return "kernel.yama.ptrace_scope is 3: nothing may be traced until this machine is started anew."
    if scope == 2 or (scope == 1 and attach):
        least = 0 if attach else 1
        return f"kernel.yama.ptrace_scope is {scope}. Use sudo, or allow it: sudo sysctl kernel.yama.ptrace_scope={least}"
    if attach:
        return "It takes sudo if the process belongs to somebody else."
    return "A container is allowed to with: docker run --cap-add SYS_PTRACE ..."


def _stack_option(program):
    """-k, if this strace has it, and the program knows the names of its functions. A large program is an
    interpreter: to unwind its stack takes milliseconds, and names no line of the reader's."""
    try:
        with open(program, "rb") as file:
            data = file.read(LARGE + 1)
    except OSError:
        return []
    if not data.startswith(b"\x7fELF") or b"\0.symtab\0" not in data or len(data) > LARGE:
        return []
    tried = subprocess.run(["strace", "-k", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return ["-k"] if tried.returncode == 0 and not tried.stderr else []


# ---- what is recorded

def stage(name, delay, shots):
    """Record a stage of ours, or the trap."""
    name, *flags = ["06-libev", "--block"] if name == "trap" else [name]
    options = ["--delay", f"{delay:g}", *flags]
    log = _new_log()
    server = lab.Server(name, *options, under=_strace(log, _stack_option(lab.BUILD / name)))
    rows = _ask(server.url, shots, delay, log)
    server.stop()
    _wait_for_strace(log)
    return _compose(log, rows, [f"recording: {' '.join([name, *flags])}", f"command: build/{name} {' '.join(options)}",
                                f"url: {server.url}"])


def command(url, words, name, fast, shots, patience):
    """Start a command that answers at url within patience, in seconds, and record it."""
    program = shutil.which(words[0])
    if program is None:
        raise lab.Failed(f"{words[0]}: no such command")
    if _connects(url):
        raise lab.Failed(f"something listens at {url} already: stop it, or record it without a command")
    lab.adopt_orphans()
    log = _new_log()
    output = open(lab.scratch() / "output", "w+", errors="replace")
    server = lab.start([*_strace(log, _stack_option(program)), *words],
                       stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def ended():
        return server.poll() is not None and not processes.users_of(log)

    _wait_for_answer(url, fast, patience, ended, lambda: _why_ended(words, server, output))
    rows = _ask(url, shots, 30, log)
    lab.stop(server)
    _wait_for_strace(log)
    return _compose(log, rows, [f"recording: {name}", f"command: {shlex.join(words)}", f"url: {url}"])


def process(url, pid, name, shots):
    """Record a process that runs, with its threads and the processes that it has started."""
    if not _connects(url):
        raise lab.Failed(f"nothing listens at {url}; to start a command: {lab.tool()} {url} -- COMMAND")
    listeners = processes.listeners(_address(url)[1])
    pids = _who_listens(url, listeners) if pid is None else processes.family(pid)
    program = os.path.realpath(f"/proc/{pids[0]}/exe")
    log = _new_log()
    attach = [word for pid in pids for word in ("-p", str(pid))]
    strace = lab.start([*STRACE, *_stack_option(program), "-o", log, *attach], stderr=subprocess.PIPE, text=True)
    threads = [(tid, pid) for pid in pids for tid in processes.threads(pid)]
    lab.wait_until(lambda: strace.poll() is not None or all(processes.tracer(pid, tid) for tid, pid in threads))
    if strace.poll() is not None:
        raise lab.Failed(f"strace cannot attach ({_last_line(strace.stderr.read())}). {advice(attach=True)}")
    header = [f"recording: {name or processes.command(pids[0])}", f"command: {processes.command(pids[0])}", f"url: {url}"]
    header += [f"thread: {tid} of {pid}" for tid, pid in threads]
    header += [f"epoll: {fd} of {pid} watches {' '.join(map(str, watched))}"
               for pid in pids for fd, watched in processes.epolls(pid).items()]
    header += [f"listener: {fd} of {pid}" for pid in pids for fd in processes.descriptors(pid, listeners)]
    rows = _ask(url, shots, 30, log)
    lab.stop(strace)  # it detaches; the process goes on
    if not log.read_text(errors="replace").strip():
        raise lab.Failed(f"process {pids[0]} made no system call meanwhile: is it the one that serves {url}?")
    return _compose(log, rows, header)


def _new_log():
    return lab.scratch() / f"strace-{os.urandom(4).hex()}"


def _strace(log, stack):
    return [STRACE[0], "-D", *STRACE[1:], *stack, "-o", log]


def _wait_for_strace(log):
    """Wait until strace has written everything, and has ended."""
    lab.wait_until(lambda: not processes.users_of(log), 5)


# ---- asking

def _ask(url, shots, delay, log):
    """Ask when the server has come to rest; return the probe's rows."""
    sizes = [0]

    def at_rest():  # some loops wake up ten times a second
        sizes.append(log.stat().st_size if log.exists() else 0)
        return len(sizes) > QUIET and sizes[-1] - sizes[-QUIET] < 5000

    lab.wait_until(at_rest, 5)
    rows = lab.probe(url, *shots, timeout=2 * delay + 10, ports=True)
    time.sleep(0.1)  # so that what the server does last is seen before it is told to stop
    return rows


def _wait_for_answer(url, path, patience, ended, why):
    deadline = time.monotonic() + patience
    while True:
        if _connects(url):
            status = lab.probe(url, f"0:{path}", timeout=5)[0]["status"]
            if status == "404":
                raise lab.Failed(f"{url}{path} is answered with 404; --slow PATH and --fast PATH name other paths")
            if status.isdigit():
                return
        if ended():
            raise lab.Failed(why())
        if time.monotonic() > deadline:
            raise lab.Failed(f"{url} does not answer within {patience:g} s")
        time.sleep(0.05)


def _why_ended(words, server, output):
    output.flush()
    output.seek(0)
    said = output.read().strip().splitlines()
    return f"{words[0]} ended before it answered ({lab.ending(server.returncode)})" + (f": {said[-1]}" if said else "")


def _address(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port or 80


def is_url(text):
    """Is it http://HOST[:PORT]?"""
    found = re.fullmatch(r"http://(?:\[[\da-fA-F:.]+\]|[\w.-]+)(?::(\d+))?/?", text)
    return bool(found) and (found[1] is None or 1 <= int(found[1]) <= 65535)


def _connects(url):
    try:
        socket.create_connection(_address(url), timeout=1).close()
        return True
    except OSError:
        return False


def is_here(url):
    """Does the URL name an address of this machine?"""
    host, _ = _address(url)
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.bind(address)
                return True
    except OSError:
        pass
    return False


def _who_listens(url, listeners):
    """The processes that have one of these sockets, and those that they have started."""
    pids = [pid for pid in processes.all_pids() if processes.descriptors(pid, listeners)]
    if not pids:
        raise lab.Failed(f"the process that listens at {url} belongs to somebody else: use sudo, or --pid PID")
    return list(dict.fromkeys(other for pid in pids for other in processes.family(pid)))


# ---- the log, with what strace cannot know

def _compose(log, rows, header):
    """The text of strace's log, after lines that tell the rest."""
    text = log.read_text(errors="replace").replace(f"{lab.ROOT}/", "").replace(str(lab.ROOT), ".")
    columns = [column for column in rows[0] if column != "took_ms"]
    header += ["probe: " + "\t".join(columns)]
    header += ["probe: " + "\t".join(row[column] for column in columns) for row in rows]
    frames = symbols.header_lines(strace_log.read(text)[0])
    names = sorted({name for line in frames for name in re.findall(r" (\S+):\d+(?=;|$)", line)})
    header += frames
    header += [f"source: {name} {symbols.checksum(path)}" for name in names for path in [symbols.find_source(name)] if path]
    return "".join(f"# {line}\n" for line in header) + text
