"""What is to be said of each server: words that must be in the sentence, and words that must not."""
import os
import sys
from dataclasses import dataclass

PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
FALSE = r"computing|for a lock|its turn|process \d"  # what most of them do not do
WAITED, DID_NOT = "/fast waited", "/fast did not wait"


@dataclass
class Case:
    command: str            # {port}, {up}: a stage with a delay of a second; {quick}: the same with 5 ms
    must: list              # regular expressions
    never: str = FALSE
    options: str = ""       # of trace.py
    folder: str = ""        # of the command, below tests/
    needs: str = ""         # statements of Python: where they fail, the command cannot run
    verdict: str = ""       # of latency.py

    @property
    def program(self):
        return self.command.split()[0]


def asyncio(way):
    return f"{PYTHON} asyncio_ways.py {{port}} {way}"


def http(way):
    return f"{PYTHON} http_ways.py {{port}} {way}"


def loop(way):
    return f"{PYTHON} loop_ways.py {{port}} {way}"


def system(way):
    return f"{PYTHON} system_ways.py {{port}} {way}"


UP = r"127\.0\.0\.1:{up}"
QUICK = r"127\.0\.0\.1:{quick}"
LOOP = r"the only thread was waiting for any client, in epoll_p?wait"
BEHIND = r"/fast waited [\d.]+ m?s for something inside the program \(a lock, a pool\), or behind it"
FREE = r"the (only|main) thread had read it, and was free, in epoll_p?wait"
SEMAPHORES = "import multiprocessing; multiprocessing.Lock()"  # in /dev/shm
SLEEPS = "(clock_nanosleep|select)"  # select: time.sleep of Python 3.9
SLEEP = f"the only thread was in {SLEEPS}"

C_LOCK = [WAITED, r"read but not answered: thread 3 was in futex.*, until thread 2 woke it; meanwhile thread 2 was in "
                  r"(clock_)?nanosleep"]
NO_C = "computing|only|main"
NO_TASK = r"computing|for a lock|only|woke|timed wait"
APACHE = "MPM=model apache2 -DFOREGROUND -f {apache}/apache.conf"

CASES = {
    # ---- Python: a loop
    "asyncio-sleep": Case(asyncio("sleep"), [DID_NOT, LOOP]),
    "asyncio-lock": Case(asyncio("lock"), [BEHIND, FREE], r"computing|in clock_nanosleep|was in epoll"),
    "asyncio-pool": Case(asyncio("pool"), [BEHIND, FREE, rf"meanwhile thread 2.* was in {SLEEPS}"],
                         r"computing|the only thread"),
    "asyncio-processes": Case(asyncio("processes"), [BEHIND, FREE, r"meanwhile process \d+ was computing"],
                              r"(main|only) thread was computing|worker"),
    "asyncio-after": Case(asyncio("after"), [rf"/fast waited [\d.]+ m?s after /slow had been answered.*{SLEEP}"]),
    "asyncio-await": Case(asyncio("await {up}"), [DID_NOT, LOOP, rf"while /slow waited for {UP}"]),
    "asyncio-both": Case(asyncio("both {up}"),
                         [rf"/fast waited .* for {UP}: the only thread had read it, and was free"],
                         r"computing|a lock"),
    "asyncio-front": Case(asyncio("front"),
                          [r"/fast waited .* for 127\.0\.0\.1:\d+, which is process \d+ of this program: the main "
                           rf"thread had read it, and was free, in epoll_p?wait; meanwhile process \d+ was in "
                           rf"{SLEEPS}"], "computing|a lock|worker|cannot be seen"),
    "asyncio-leak": Case(asyncio("leak"), [DID_NOT, LOOP], FALSE, "--timeout 3"),
    "asyncio-urllib": Case(asyncio("urllib {up}"), [WAITED, rf"the only thread was in recvfrom, for {UP}"]),
    "asyncio-httpx": Case(asyncio("httpx {up}"), [DID_NOT, LOOP, rf"while /slow waited for {UP}"], needs="import httpx",
                          verdict=r"concurrent: epoll_p?wait"),
    "asyncio-requests": Case(asyncio("requests {up}"), [WAITED, rf"the only thread was in recvfrom, for {UP}"],
                             needs="import requests", verdict="serializes: recvfrom"),
    "asyncio-queries": Case(asyncio("queries {quick}"),
                            [WAITED, rf"the only thread was in (recvfrom|poll), \d+ times, [\d.]+ ms each, for "
                                     rf"{QUICK}"]),
    "asyncio-fifo": Case(asyncio("fifo"), [WAITED, r"the (main|only) thread was in openat, for \S*/orders\.fifo"]),
    "asyncio-child": Case(asyncio("child"), [WAITED, r"was in wait4, for its child process \(sleep 1\); "
                                             r"meanwhile it was in (clock_)?nanosleep"], r"computing|for a lock"),
    "asyncio-names": Case(asyncio("names"), [WAITED, r"was in recvfrom, for the name server 127\.0\.0\.1:53"]),
    "asyncio-compute": Case(asyncio("compute"), [WAITED, r"the only thread was computing"], r"in [a-z_]+\b|lock"),
    # ---- Python: a loop that makes a mistake
    "loop-deaf": Case(loop("deaf"), [WAITED, "the only thread was in epoll_p?wait.*, and did not watch its listener"]),
    "loop-forgets": Case(loop("forgets"),
                         [WAITED, "accepted but unread: the only thread had accepted it, and was waiting for other "
                                  r"clients, in epoll_p?wait, without watching this one\."]),
    # ---- Python: threads and processes
    "http-sleep": Case(http("sleep"), [WAITED, SLEEP]),
    "http-cold": Case(http("cold"), [WAITED, SLEEP]),
    "http-cached": Case(http("cached"), [WAITED, SLEEP]),
    "http-stream": Case(http("stream"), [WAITED, SLEEP]),
    "http-stopped": Case(http("stopped"), [WAITED, r"was stopped by a signal \(SIGCONT lets it go on\)"],
                         r"computing|for a lock|restart"),
    "http-flock": Case(http("flock"), [WAITED, r"in flock, for the lock of \S*/stock-\d+\.lock, which process \d+ had; "
                                           rf"meanwhile process \d+ was in {SLEEPS}"],
                       r"computing|its turn"),
    "http-pipe": Case(http("pipe"), [WAITED, r"for its child process \(sh -c .*\); meanwhile it was in wait4|"
                                     r"for its child process \(s"], r"computing|for a lock"),
    "http-thread": Case(http("thread"),
                        [DID_NOT, r"thread \d.* answered it, while thread \d.* was in (clock_nano|sele)"]),
    "http-mutex": Case(http("mutex"),
                       [WAITED, r"read but not answered: thread 3.* was in futex.*, until thread 2.* woke it; "
                                       rf"meanwhile thread 2.* was in {SLEEPS}"],
                       r"computing|main thread|only"),
    "http-chain": Case(http("chain"),
                       [WAITED, rf"thread [34].* was in futex.*, until thread 2.* woke it; meanwhile thread 2.* was in "
                                rf"futex, until thread [34].* woke it; meanwhile thread [34].* was in {SLEEPS}"],
                       r"computing|main thread|only"),
    "http-limit": Case(http("limit"),
                       [WAITED, r"accepted but unread: the main thread was in futex, until thread 2.* woke it; "
                                rf"meanwhile thread 2.* was in {SLEEPS}\.$"], r"computing|only|meanwhile.*meanwhile"),
    "http-event": Case(http("event"),
                       [WAITED, r"thread 3.* was in futex.*, until thread 2.* woke it; meanwhile thread 2.* was "
                                       rf"in {SLEEPS}"], r"computing|main thread|only"),
    "http-deadlock": Case(http("deadlock"), [r"/fast was not answered: thread 3.* was in futex.*, for a lock "
                                             r"or another thread, which did not come; so was thread 2.* \(for /slow\)"],
                          r"computing|main thread|only", "--timeout 3"),
    "http-database": Case(http("database {up}"), [WAITED, r"thread 3.* was in futex.*, until thread 2.* woke it",
                                                  rf"meanwhile thread 2.* was in recvfrom, for {UP}"],
                          r"computing|main thread|only"),
    "http-gil": Case(http("gil"), [WAITED, r"(the main thread|thread \d).* was in futex.* waiting for its turn",
                                   r"meanwhile thread 2.* was computing"],
                     r"(main thread|thread 3.*) was computing|only"),
    "http-prefork": Case(http("prefork"),
                         [DID_NOT, r"worker \d answered it, while worker \d was in (clock_nano|select)"]),
    "http-passing": Case(http("passing"), [WAITED, rf"accepted but unread: worker 1 was in {SLEEPS}"],
                         r"computing|for a lock|parent was"),
    # ---- Python: other system calls
    "system-lockf": Case(system("lockf"), [WAITED, r"was in fcntl\w*, for the lock of \S*/system-\d+"],
                         r"computing|its turn"),
    "system-message": Case(system("message"), [WAITED, r"was in msgrcv, for a message"], FALSE + "|do not wait"),
    "system-semaphore": Case(system("semaphore"), [WAITED, r"was in sem\w*op\w*, for a semaphore"],
                             FALSE + "|do not wait"),
    "system-sigwait": Case(system("sigwait"), [WAITED, r"was in rt_sigtimedwait\w*, for a signal"]),
    "system-signalfd": Case(system("signalfd"), [WAITED, "was in read, for a signal"], FALSE + "|client|pipe"),
    "system-patient": Case(system("patient"),
                           [WAITED, rf"was in {SLEEPS}, \d+ times.*; in between, it looked for the end "
                                    r"of its child process \(sleep 1\) \d+ times"], "computing|for a lock|only"),
    "system-lock-file": Case(system("lock-file"),
                             [WAITED, rf"was in {SLEEPS}, \d+ times.*; in between, it tried to make "
                                      r"\S*/system-\d+, which was there, \d+ times"], "computing|for a lock|only"),
    "system-alarm": Case(system("alarm"),
                         [WAITED, r"the only thread was in (pause|rt_sigsuspend|ppoll), for a signal"]),
    "system-eventfd": Case(system("eventfd"), [WAITED, "the main thread was in read, until thread 2.* woke it; "
                                                       f"meanwhile thread 2.* was in {SLEEPS}"]),
    "system-event-child": Case(system("event-child"), [WAITED, "the main thread was in read, for its child process .*; "
                                                               f"meanwhile it was in {SLEEPS}"], FALSE + "|thread 2"),
    "system-fifo": Case(system("fifo"), [WAITED, r"the main thread was in p?select6?, for \S*/system-\d+"]),
    "system-front": Case(system("front"),
                         [WAITED, r"the main thread was in recvfrom, for 127\.0\.0\.1:\d+, which is process \d+ of "
                                  rf"this program; meanwhile it was in {SLEEPS}"], "computing|for a lock|worker"),
    "system-namespace": Case(system("namespace"),
                             [WAITED, r"read but not answered: worker 1, thread 3.* was in futex.*, until worker 1, "
                                      rf"thread 2.* woke it; meanwhile worker 1, thread 2.* was in {SLEEPS}"],
                             "computing|only|accepted", needs="import ctypes; from os import geteuid as id; "
                             "assert ctypes.CDLL(None).unshare(0x20000000 | 0x10000000 * (id() != 0)) == 0"),
    "system-token": Case(system("token"),
                         [WAITED, r"read but not answered: worker \d was in read, until worker \d woke it; meanwhile "
                                  rf"worker \d was in {SLEEPS}"], FALSE + "|child|another thread"),
    "system-full-pipe": Case(system("full-pipe"), [WAITED, "the main thread was in write, until thread 2.* woke it; "
                                                           f"meanwhile thread 2.* was in {SLEEPS}"]),
    "system-timerfd": Case(system("timerfd"), [WAITED, r"the only thread was in read\."], FALSE + "|client|pipe"),
    "system-inotify": Case(system("inotify"), [WAITED, r"was in read, for a change of files \(inotify\)"],
                           FALSE + "|client|pipe"),
    "system-terminal": Case(system("terminal"), [WAITED, "was in read, for /dev/p(ts/|tmx)"], FALSE + "|client|pipe",
                            needs="import os; os.openpty()"),
    "system-unix": Case(system("unix"), [WAITED, r"the main thread was in recvfrom, for \S*/system-\d+"],
                        "computing|for a lock|client|worker"),
    "system-udp": Case(system("udp"), [WAITED, r"the main thread was in recvfrom, for 127\.0\.0\.1:\d+"]),
    "system-connect": Case(system("connect"),
                           [WAITED, r"was in connect(, \d+ times)?, for 127\.0\.0\.1:\d+, which is process \d+ of this "
                                    rf"program; meanwhile it was in {SLEEPS}"], "computing|for a lock|its turn|worker"),
    "system-kept": Case(system("kept {up}"), [WAITED, rf"the only thread was in recvfrom, for {UP}"]),
    "system-polling": Case(system("polling"), [WAITED, rf"the only thread was in {SLEEPS}, \d+ times"]),
    "system-itself": Case(system("itself"), [WAITED, r"the only thread was in (poll|recvfrom), for 127\.0\.0\.1:\d+, "
                                                     r"which is this very server"], FALSE),
    "system-no-main": Case(system("no-main"), [WAITED, rf"thread 2.* was in {SLEEPS}"],
                           FALSE + "|main|only"),
    "system-pool": Case(system("pool {up}"),
                        [WAITED, rf"thread 3.* was in futex.*, until thread 2.* woke it; meanwhile thread 2.* was in "
                                 rf"recvfrom, for {UP}"], "computing|main thread|only"),
    "system-workers": Case(system("workers"),
                           [WAITED, r"the main thread was in futex.*, until thread \d.* woke it; meanwhile thread \d.* "
                                    r"was in read, for its child process"], "computing|only",
                           needs=SEMAPHORES),
    "system-reuseport": Case(system("reuseport"),
                             [r"worker \d (answered it, while worker \d )?was in (clock_nano|sele)"]),
    "system-turn": Case(system("turn"), [WAITED, r"worker \d was in (flock, for the lock of \S*/system-\d+|clock_nanosl"
                                                 r"eep)"], "computing|only"),
    "system-silent": Case(system("silent"),
                          [WAITED, "was in recvfrom, waiting for another client to send something"],
                          FALSE + "|any client|accept"),
    "system-no-reader": Case(system("no-reader"), [WAITED, "was in sendto, waiting for /much to read what was sent"],
                             FALSE + "|any client|accept"),
    "system-shared": Case(system("shared"),
                          [WAITED, r"read but not answered: worker \d was in futex, until worker \d woke it; meanwhile "
                                   r"worker \d was in clock_nanosleep"], "computing|only|another thread",
                          needs=SEMAPHORES),
    # ---- Node
    "node-timer": Case("node node_ways.js {port} timer",
                       [DID_NOT, r"the main thread was waiting for any client, in epoll"],
                       r"computing|for a lock|only"),
    "node-compute": Case("node node_ways.js {port} compute", [WAITED, r"the main thread was computing"],
                         r"for a lock|in epoll|in futex|only"),
    "node-fetch": Case("node node_ways.js {port} fetch {up}",
                       [DID_NOT, rf"waiting for any client.*/slow waited for {UP}"],
                       r"computing|for a lock|only"),
    "node-child": Case("node node_ways.js {port} child",
                       [WAITED, r"the main thread was in (epoll_p?wait|wait4|poll), for its "
                                                          r"child process"], r"computing|any client|only"),
    "node-pool": Case("UV_THREADPOOL_SIZE=1 node node_ways.js {port} pool",
                      [BEHIND, r"the main thread had read it, and was free, in epoll", r"thread \d+.* was computing"],
                      r"main thread was computing|only"),
    "node-worker": Case("node node_ways.js {port} worker",
                        [BEHIND, r"the main thread had read it, and was free, in epoll", r"thread \d+.* was computing"],
                        r"main thread was computing|only"),
    # The parent passes /fast to one of the two: to the one that computes, or to the other.
    "node-cluster": Case("node node_ways.js {port} cluster",
                         [r"(worker \d answered it, while|accepted but unread:) worker \d was computing"],
                         r"parent|for a lock|only"),
    # ---- Java, Ruby, Perl, PHP
    "java-plain": Case("java -cp {classes} Ways {port} plain",
                       [WAITED, r"thread \d+ \(HTTP-Dispatcher\) was in futex, a timed wait"],
                       r"computing|only|for a lock"),
    "java-cached": Case("java -cp {classes} Ways {port} cached",
                        [DID_NOT, r"\(pool-1-thread-\d\) answered it, while thread \d+ \(pool-1-thread-\d\) was in "
                                  r"futex, a timed wait"], r"computing|only|for a lock"),
    "java-fixed2": Case("java -cp {classes} Ways {port} fixed2",
                        [DID_NOT, r"while thread \d+ \(pool-1-thread-\d\) was in futex, a timed wait"],
                        r"computing|only|for a lock"),
    "java-fixed2-busy": Case("java -cp {classes} Ways {port} fixed2",
                             [WAITED, r"\(pool-1-thread-\d\) was in futex, a timed wait"], r"computing|only|for a lock",
                             "--shots 2x0:/slow\\ 100:/fast"),
    "java-sync": Case("java -cp {classes} Ways {port} sync",
                      [WAITED, r"read but not answered: thread \d+ \(pool-1-thread-\d\) was in futex"],
                      r"computing|only|HTTP-Dispatcher\) was"),
    "ruby-one": Case("ruby ways.rb {port} one", [WAITED, r"thread was in (futex, a timed wait|\w*select\w*|ppoll)"],
                     r"computing|for a lock"),
    "ruby-threads": Case("ruby ways.rb {port} threads", [DID_NOT, r"thread \d.* answered it, while thread \d"],
                         r"computing|only|for a lock"),
    "ruby-mutex": Case("ruby ways.rb {port} mutex", [WAITED, r"thread \d.* was in futex"], r"computing|only"),
    "ruby-compute": Case("ruby ways.rb {port} compute", [WAITED, r"thread was computing"], r"for a lock|its turn"),
    "perl-one": Case("perl ways.pl {port} one", [WAITED, r"the only thread was in p?select"]),
    "perl-fork": Case("perl ways.pl {port} fork", [DID_NOT, r"worker \d answered it, while worker \d was in p?select"],
                      r"computing|only"),
    "php-one": Case("php -S 127.0.0.1:{port} ways.php", [WAITED, r"the only thread was in (clock_)?nanosleep"]),
    # ---- C
    "c-ring": Case("{ring} --port {port} --delay 1", [DID_NOT, LOOP], FALSE + "|cannot be seen"),
    "c-ring-pool": Case("{ring} --port {port} --delay 1 --block --threads 1",
                        [DID_NOT, r"the main thread was waiting for any client, in epoll_pwait.*, and thread 2.* was "
                                  r"in clock_nanosleep"], FALSE + "|only|cannot be seen"),
    "c-mutex": Case("{ways} {port} mutex",
                    [WAITED, r"read but not answered: thread 3 was in futex.*, until thread 2 woke it; "
                                       r"meanwhile thread 2 was in (clock_)?nanosleep"], r"computing|only|main"),
    "c-32-bit": Case("{ways32} {port} mutex", [WAITED, r"thread 3 was in futex\S*, until thread 2 woke it; "
                                          r"meanwhile thread 2 was in (clock_)?nanosleep"], r"computing|only|main"),
    "stage-05": Case("{build}/05-epoll --port {port} --delay 1", [DID_NOT, LOOP]),
    "stage-05-block": Case("{build}/05-epoll --port {port} --delay 1 --block",
                           [WAITED, r"the only thread was in clock_nanosleep"]),
    "stage-01-busy": Case("{build}/01-blocking --port {port} --delay 1 --workers 2",
                          [WAITED, r"worker \d was in clock_nanosleep"], FALSE, "--shots 2x0:/slow\\ 100:/fast"),
    "c-rwlock": Case("{ways} {port} rwlock", C_LOCK, NO_C),
    "c-condition": Case("{ways} {port} condition", C_LOCK, NO_C),
    "c-semaphore": Case("{ways} {port} semaphore", C_LOCK, NO_C),
    "c-pipe": Case("{ways} {port} pipe", [WAITED, r"read but not answered: thread 3 was in read, .*until thread 2 woke "
                                             r"it; meanwhile thread 2 was in (clock_)?nanosleep"],
                   NO_C + "|child"),
    "c-spin": Case("{ways} {port} spin", [WAITED, "read but not answered: thread 3 was computing"],
                   r"for a lock|only|main|thread 2 was computing"),
    "c-calls": Case("{ways} {port} calls",
                    [WAITED, r"thread 3 was (busy with many short calls \(getppid, [\d,]+ times\)|mostly ready to )"],
                    r"for a lock|only|main|thread 2 was computing"),
    "c-join": Case("{ways} {port} join",
                   [WAITED, r"thread \d was in futex.*, until thread 2 woke it; meanwhile thread 2 was in futex.*, "
                            r"for the end of thread [34]; meanwhile thread [34] was in (clock_)?nanosleep"], NO_C),
    # ---- Go and Erlang: what a thread waits for is not what a goroutine waits for
    "go-sleep": Case("{go} {port} sleep", [DID_NOT], NO_TASK),
    "go-mutex": Case("{go} {port} mutex", [BEHIND, "had read it, and was not busy with it|and was free"], NO_TASK),
    "go-channel": Case("{go} {port} channel", [BEHIND, "had read it, and was not busy with it|and was free"], NO_TASK),
    "go-compute": Case("{go} {port} compute", [DID_NOT], r"for a lock|only|woke"),
    "go-child": Case("{go} {port} child", [DID_NOT], NO_TASK),
    "go-upstream": Case("{go} {port} upstream {up}", [DID_NOT, rf"while /slow waited for {UP}"], NO_TASK),
    "go-one": Case("{go} {port} one",
                   [WAITED, r"in the backlog: (the main )?thread.* did not accept it, although it was waiting for "
                            r"clients|for a task to run"], NO_TASK),
    "go-syscall": Case("{go} {port} syscall", [WAITED, r"thread.* was in nanosleep"], NO_TASK),
    "erlang-each": Case("escript ways.erl {port} each", [DID_NOT], NO_TASK),
    "erlang-one": Case("escript ways.erl {port} one",
                       [WAITED, r"(_scheduler|\(erts_sched_\d+)\) was in \w+.*, for a task to run"], NO_TASK),
    "erlang-compute": Case("escript ways.erl {port} compute", [DID_NOT], r"for a lock|only|woke"),
    "erlang-ask": Case("escript ways.erl {port} ask {up}", [WAITED, rf"; meanwhile /slow waited for {UP}"], NO_TASK),
    # ---- more of Java, Ruby, Perl, PHP, and Tcl
    "java-compute": Case("java -cp {classes} Ways {port} compute",
                         [WAITED, r"thread \d+ \(HTTP-Dispatcher\) was computing"], r"only|for a lock|main"),
    "java-child": Case("java -cp {classes} Ways {port} child",
                       [WAITED, r"\(HTTP-Dispatcher\) was .*in futex, until .*thread \d+ \(process reaper\) woke it",
                        r"in (wait4|clone3), for its child process \(sleep 1\)"],
                       r"computing|only"),
    "java-ask": Case("java -cp {classes} Ways {port} ask {up}",
                     [WAITED, rf"thread \d+ \(HTTP-Dispatcher\) was in (read|poll|recvfrom), for {UP}"],
                     r"computing|only|for a lock"),
    "ruby-fork": Case("ruby ways.rb {port} fork",
                      [DID_NOT, r"worker \d answered it, while worker \d was in (p(poll|select6)|futex, a timed wait)"],
                      r"computing|only|for another|for a lock"),
    "ruby-child": Case("ruby ways.rb {port} child", [WAITED, r"was in (ppoll|wait4|waitid), for its child process"],
                       r"computing|for another|for a lock"),
    "ruby-queue": Case("ruby ways.rb {port} queue", [WAITED, r"thread 3.* was in futex, until thread 2.* woke it"],
                       r"computing|only"),
    "ruby-ask": Case("ruby ways.rb {port} ask {up}", [WAITED, rf"thread was in (p?poll|read|recvfrom), for {UP}"]),
    "perl-compute": Case("perl ways.pl {port} compute", [WAITED, "the only thread was computing"], "in [a-z_]+|lock"),
    "perl-flock": Case("perl ways.pl {port} flock", [WAITED, r"was in flock, for the lock of \S*/stock-\d+\.lock"],
                       "computing"),
    "perl-ask": Case("perl ways.pl {port} ask {up}", [WAITED, rf"the only thread was in read, for {UP}"]),
    "perl-select": Case("perl ways.pl {port} select", [WAITED, "the only thread was in p?select"], FALSE + "|client"),
    "php-workers": Case("PHP_CLI_SERVER_WORKERS=2 php -S 127.0.0.1:{port} ways.php",
                        [DID_NOT, r"worker \d answered it, while worker \d was in (clock_)?nanosleep"]),
    "php-session": Case("PHP_CLI_SERVER_WORKERS=3 WAY=session php -S 127.0.0.1:{port} ways.php",
                        [WAITED, r"read but not answered: worker \d was in flock, for the lock of \S*/sess_orders, "
                                 r"which worker \d had; meanwhile worker \d was in (clock_)?nanosleep"],
                        FALSE + "|only"),
    "php-compute": Case("WAY=compute php -S 127.0.0.1:{port} ways.php", [WAITED, "the only thread was computing"],
                        "in [a-z_]+|lock"),
    "php-child": Case("WAY=child php -S 127.0.0.1:{port} ways.php",
                      [WAITED, r"was in read, for its child process \(s"], "computing|for a lock"),
    "php-ask": Case("WAY=ask UPSTREAM={up} php -S 127.0.0.1:{port} ways.php",
                    [WAITED, rf"the only thread was in (poll|recvfrom|read), for {UP}"]),
    "tcl-timer": Case("tclsh ways.tcl {port} timer", [DID_NOT, "the main thread was in futex|waiting for any client"],
                      FALSE + "|only"),
    "tcl-block": Case("tclsh ways.tcl {port} block", [WAITED, "the main thread was in p?select"], FALSE + "|only"),
    # ---- servers that people run
    "gunicorn": Case("gunicorn -b 127.0.0.1:{port} flask_app:app", [WAITED, rf"the only worker was in {SLEEPS}"],
                     FALSE, folder="bench/apps"),
    "gunicorn-2": Case("gunicorn -w 2 -b 127.0.0.1:{port} flask_app:app",
                       [DID_NOT, rf"worker \d answered it, while worker \d was in {SLEEPS}"], FALSE,
                       folder="bench/apps"),
    "gunicorn-threads": Case("gunicorn --threads 2 -b 127.0.0.1:{port} flask_app:app",
                             [DID_NOT, rf"thread \d.* answered it, while .*thread \d.* was in {SLEEPS}"], FALSE,
                             folder="bench/apps"),
    "uvicorn": Case("uvicorn --port {port} fastapi_app:app", [DID_NOT, r"waiting for any client, in epoll_p?wait"],
                    FALSE, folder="bench/apps"),
    "nginx": Case("nginx -p {nginx} -c {nginx}/nginx.conf",
                  [DID_NOT, rf"waiting for any client, in epoll_wait.*/slow waited "
                                                             rf"for {UP}"]),
    "nginx-workers": Case("MASTER=on nginx -p {nginx} -c {nginx}/nginx.conf",
                          [DID_NOT, rf"(waiting for any client, in epoll_wait.*|worker \d answered it, while )/slow "
                                    rf"waited for {UP}"], FALSE + "|only"),
    "apache-prefork": Case(APACHE.replace("model", "prefork"),
                           [DID_NOT, rf"worker \d answered it, while worker \d was in poll, for {UP}"],
                           FALSE + "|only"),
    "apache-worker": Case(APACHE.replace("model", "worker"),
                          [DID_NOT, rf"thread.* answered it, while worker.* was in poll, for {UP}"], FALSE + "|only"),
    "apache-event": Case(APACHE.replace("model", "event"),
                         [DID_NOT, rf"thread.* answered it, while worker.* was in poll, for {UP}"], FALSE + "|only"),
    "gunicorn-one-thread": Case("gunicorn --threads 1 -k gthread -b 127.0.0.1:{port} flask_app:app",
                                [WAITED, rf"accepted but unread: worker 1, thread 2.* was in {SLEEPS}"], FALSE,
                                folder="bench/apps"),
    "uvicorn-mistake": Case("MISTAKE=1 uvicorn --port {port} fastapi_app:app",
                            [WAITED, f"the (only|main) thread was in {SLEEPS}"], folder="bench/apps"),
    "uvicorn-workers": Case("MISTAKE=1 uvicorn --workers 2 --port {port} fastapi_app:app",
                            [rf"worker \d answered it, while worker \d was in {SLEEPS}|"
                             rf"/fast waited.*: worker \d was in {SLEEPS}"], FALSE + "|only",
                            folder="bench/apps"),
    "fastapi-def": Case("uvicorn --port {port} fastapi_pool:app",
                        [DID_NOT, rf"waiting for any client, in epoll_p?wait, and thread 2.* was in {SLEEPS}"],
                        FALSE + "|only", folder="bench/apps"),
    "fastapi-full-pool": Case("LIMIT=1 WAY=all-def uvicorn --port {port} fastapi_pool:app",
                              [BEHIND, FREE, rf"meanwhile thread 2.* was in {SLEEPS}"], r"computing|only",
                              folder="bench/apps"),
}
DELICATE = ["asyncio-lock", "asyncio-pool", "asyncio-await", "asyncio-queries", "http-gil", "http-mutex",
            "http-database", "http-passing", "node-cluster", "c-mutex"]
