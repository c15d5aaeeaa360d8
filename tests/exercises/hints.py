"""Hints, step by step: a question, and how mistakes of this kind show; the system call; the mistakes themselves."""
import re

import gallery
import lab
import skeleton

# For each rung, and where they differ for each kind or stage: a question, and where to look for the answer.
QUESTIONS = {
    "build": "The first message of the compiler matters; the others may follow from it. Which line does it name?",
    "listen": "Does main still get as far as net_listen, before it waits for anything?",
    "fast": {
        "one": "Follow one client: who takes it from the backlog, who reads its request, who closes it? And the "
               "next client?",
        "threads": "Follow one client: who takes it from the backlog, and does its thread start? Does that thread "
                   "get the descriptor of its own client?",
        "loop": "Follow one event: the listener is ready. Who told the kernel to watch it, which call reports that, "
                "and which functions of connections.h must hear of it? And after the first client, is everything "
                "still watched?"},
    "ring": "Which descriptors has the server open? io_uring_setup makes the one that it needs; see "
            "tests/exercises/ring.h.",
    "slow": {
        "one": "Which function sleeps, and is the server back in accept after it?",
        "threads": "Who sleeps, and who accepts meanwhile?",
        "loop": "Nobody sleeps in /slow. For how long may the wait last, and who looks at the clock after it?"},
    "clients": {
        "one": "01 takes the next client when it is done with the last. Does yours take several?",
        "threads": "What does the main thread wait for between two clients? What do two threads share that each "
                   "should have for itself?",
        "loop": "Where can the loop wait besides the one wait for all? Is each descriptor of a batch passed on?"},
    "keep-alive": {
        "one": "What would an idle client that stays connected do to the next one?",
        "threads": "What does the last argument of blocking_converse say?",
        "loop": "After a response the connection waits again, for the next request. Does the kernel still watch it "
                "for reading, also after a time in which it was not watched at all (/slow)?"},
    "pipelining": "One piece may hold several requests, and a request may come in several pieces. Nothing more "
                  "may arrive that would tell of the rest. What is left to do when a response has been sent?",
    "idle": {
        "one": "Which call fails immediately, again and again?",
        "threads": "Which call fails immediately, again and again?",
        "loop": "Which descriptor is reported again and again? For what is it watched? And if it is closed by now, "
                "was it forgotten before?"},
    "slow-reader": {
        "threads": "send blocks while the client does not read. Whom does that hold up?",
        "loop": "When the client does not read, send finds no room. What must the kernel watch then, and what not? "
                "Once there is room, who carries on from the byte that was reached?"},
    "silent": {
        "one": "Who ends a wait in recv when the client never sends?",
        "threads": "Whom may a client that sends nothing hold up?",
        "loop": "A client that sends nothing is never ready. Which call could block for it? Which function closes "
                "it, and does the wait end early enough for that?"},
    "leaving": {
        "one": "What does a write to a connection that is gone raise?",
        "threads": "What does a write to a connection that is gone raise?",
        "loop": "During /slow the connection waits for nothing (WANT_NOTHING). A reset reports an error that nobody "
                "asked for. Is the kernel really told to forget this descriptor?"},
    "descriptors": {
        "one": "accept fails, and the client stays in the backlog. How soon does the next try make sense?",
        "threads": "accept fails, and the client stays in the backlog. How soon does the next try make sense?",
        "loop": "accept fails, and the listener stays readable. Who tells the kernel not to watch it for a while, "
                "and does watch(fd, WANT_READ, WANT_NOTHING) do that for any descriptor?"},
    "threads": "When no thread can be had, what becomes of a client that is accepted already?",
    "numbers": "A set has bits for 1,024 descriptors. Which number does the 1,025th descriptor have, and what does "
               "FD_SET do with it?",
    "signals": {
        "one": "The server is told to stop while it waits in accept, and while it serves a client. How does it "
               "notice in each case?",
        "threads": "The server is told to stop. What wakes the main thread from accept, and who waits for the "
                   "threads that still serve a client?",
        "loop": "When may SIGTERM interrupt the loop, and when must it not? What does the loop do after a wait that "
                "a signal has interrupted?"},
    "unit": "You have changed something in common/. Which promise in its headers does the test name?",
    "tests": "Read the test: its name says what must hold, and its steps are in tests/stages/. What does the server "
             "do at the step that fails?",
    "faults": "The kernel may refuse every call. What does the manual page say about this error: try again, give up, "
              "or wait?",
}
CALLS = {
    "build": "make V=1 shows the command; -Wall and -Wextra are in the manual page gcc(1).",
    "listen": "socket(2), bind(2), listen(2): net_listen in common/net.c makes them.",
    "fast": {
        "one": "accept(2), then blocking_converse and close(2).",
        "threads": "accept(2) and pthread_create(3). The fourth argument of pthread_create is a pointer: whose memory "
                   "does it point to when the thread reads it?",
        "03-select": "select(2): its first argument is the highest descriptor plus one, and it overwrites the sets.",
        "04-poll": "poll(2): it looks at as many elements as its second argument says, and tells in revents.",
        "05-epoll": "epoll_ctl(2) with EPOLL_CTL_ADD; epoll_wait(2) returns how many events it has filled in.",
        "06-libev": "ev(3): ev_io_init, then ev_io_start; the callback is on_ready.",
        "07-uring": "io_uring_enter(2): IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND. Each result leads to the "
                    "next request; after an accept, two: to receive, and to accept again."},
    "ring": "io_uring_setup(2), mmap(2), io_uring_enter(2).",
    "slow": {
        "one": "clock_nanosleep(2), in blocking_converse.", "threads": "clock_nanosleep(2), in blocking_converse.",
        "03-select": "select(2): the time-out, as struct timespec for pselect; connections_expire after it.",
        "04-poll": "ppoll in poll(2): the time-out; connections_expire after it.",
        "05-epoll": "epoll_wait(2): the time-out; connections_expire after it.",
        "06-libev": "ev(3): ev_timer_set with seconds, ev_timer_start; connections_expire before each wait.",
        "07-uring": "io_uring_enter(2): IORING_OP_TIMEOUT, whose result is -ETIME."},
    "clients": {
        "one": "accept(2): one in each turn, and nothing but the conversation in between.",
        "threads": "pthread_create(3): its last argument, and that nobody joins the thread.",
        "loop": "The wait is the only call that may block. The listener is watched as any descriptor is."},
    "keep-alive": {
        "one": "blocking_converse(…, false), and close(2).",
        "threads": "blocking_converse(…, true).",
        "03-select": "FD_SET, select(2).", "04-poll": "poll(2): events.",
        "05-epoll": "epoll_ctl(2): ADD after WANT_NOTHING, MOD otherwise.",
        "06-libev": "ev(3): ev_io_stop, ev_io_init, ev_io_start.",
        "07-uring": "io_uring_enter(2): another IORING_OP_RECV after the IORING_OP_SEND."},
    "pipelining": "recv(2): it returns what there is, from one byte on, and fails with EAGAIN if there is nothing yet.",
    "idle": {
        "one": "accept(2): EAGAIN, EMFILE.", "threads": "accept(2): EAGAIN, EMFILE.",
        "03-select": "select(2): FD_CLR.", "04-poll": "poll(2): POLLHUP, POLLNVAL; a negative fd is ignored.",
        "05-epoll": "epoll_ctl(2): EPOLL_CTL_DEL. close(2) does it, too, if nobody else has the descriptor open.",
        "06-libev": "ev(3): ev_io_stop, before the descriptor is closed.",
        "07-uring": "io_uring_enter(2): a request that fails immediately, and is handed in again."},
    "slow-reader": {
        "threads": "send(2), setsockopt(2) with SO_SNDTIMEO: each thread waits for itself.",
        "03-select": "select(2): the second set.", "04-poll": "poll(2): POLLOUT.",
        "05-epoll": "epoll_ctl(2): EPOLLOUT instead of EPOLLIN.", "06-libev": "ev(3): EV_WRITE instead of EV_READ.",
        "07-uring": "io_uring_enter(2): IORING_OP_SEND may send a part, as send(2) may."},
    "silent": {
        "one": "SO_RCVTIMEO in socket(7).", "threads": "SO_RCVTIMEO in socket(7).",
        "loop": "accept(2): SOCK_NONBLOCK is not inherited from the listener. connections_wait_ms, and the time-out of "
                "your wait."},
    "leaving": {
        "one": "send(2): MSG_NOSIGNAL.", "threads": "send(2): MSG_NOSIGNAL.",
        "03-select": "select(2): a descriptor that is in no set is not looked at.",
        "04-poll": "poll(2): POLLHUP and POLLERR are reported even if events is 0; a negative fd is ignored.",
        "05-epoll": "epoll_ctl(2): EPOLLHUP and EPOLLERR are reported even if events is 0; EPOLL_CTL_DEL.",
        "06-libev": "ev(3): ev_io_stop.",
        "07-uring": "io_uring_enter(2): IORING_OP_SEND, msg_flags with MSG_NOSIGNAL. A connection may be freed only when "
                    "nothing is in flight for it."},
    "descriptors": {
        "one": "accept(2): EMFILE. NET_RETRY_NS in common/net.h.", "threads": "accept(2): EMFILE, and wait_for.",
        "loop": "accept(2): EMFILE. pause_accepting in common/connections.c unwatches the listener."},
    "threads": "pthread_create(3): it returns EAGAIN, and sets no errno.",
    "numbers": "select(2), under BUGS: FD_SETSIZE. getrlimit(2): RLIMIT_NOFILE.",
    "signals": {
        "one": "accept(2): EINTR, and EAGAIN once the signal has made the listener non-blocking (common/stop.h).",
        "threads": "pthread_sigmask(3): a signal goes to any thread that does not block it. accept(2): EINTR, EAGAIN.",
        "03-select": "pselect in select(2): its last argument; EINTR.", "04-poll": "ppoll in poll(2): its last argument; "
        "EINTR.", "05-epoll": "epoll_pwait in epoll_wait(2): its last argument; EINTR.",
        "06-libev": "ev(3): ev_signal; ev_break.",
        "07-uring": "io_uring_enter(2): its sigset; EINTR. IORING_OP_ASYNC_CANCEL ends an accept that waits."},
    "unit": "tests/unit/ has the tests, with a kernel and a clock that they control.",
    "tests": "tests/trace.py shows the calls in their order.",
    "faults": "The ERRORS section of the manual page; common/net.h says what the errors of accept and of a wait mean.",
}


def find(table, key, judged):
    """Return the entry for a rung: of the stage, of its kind, or of all."""
    entry = table[key]
    return entry if isinstance(entry, str) else entry.get(judged.like) or entry[judged.kind]


def chapter(begin):
    """Return the chapter of the tutorial whose title begins so, such as 05. 07-uring is an exercise of 06."""
    begin = "06" if begin == "07" else begin
    found = re.search(rf"^## ({begin}.*)$", (lab.ROOT / "tutorial.md").read_text(), re.M)
    return f'tutorial.md, "{found[1] if found else begin}"'.replace("`", "")


def steps(judged, rung, names):
    """Return the hints for a rung, one after the other. names are those of gallery.related."""
    bugs = gallery.related(judged, names)
    first = find(QUESTIONS, rung.key, judged)
    path = lab.ROOT / judged.name / "server.c"
    left = skeleton.unwritten(path.read_text(errors="replace")) if judged.in_tree and path.exists() else []
    if left:
        places = ", ".join(map(str, left))
        first = f"{judged.name}/server.c has places that are still to be written: lines {places}.\n{first}"
    if bugs:
        first += "\nMistakes that others have made, as they show:" + "".join(f"\n- {bug.symptom}" for bug in bugs)
    second = find(CALLS, rung.key, judged) + f"\nThe chapter: {chapter(rung.chapter or judged.like[:2])}"
    return [first, second] + ["\n".join([f"{bug.name}: {bug.mistake} In its patch, tests/bugs/{bug.name}.patch, - is "
                                          "right and + is wrong:", *bug.lines()]) for bug in bugs]
