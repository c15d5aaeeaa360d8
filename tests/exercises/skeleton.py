"""A skeleton: a stage with its I/O model cut out. It is generated from the real file, so it cannot lag behind.

A cut is a function, or the loop in main. Where it was stands a comment that says what to write, and a stub
that keeps the compiler silent and answers nobody."""
import re
import textwrap
from typing import NamedTuple

import lab

WIDTH = 100  # of a line, as in .clang-format
MARK = "To write:"


class Cut(NamedTuple):
    """A place, and what is to be written there."""
    place: str  # the name of a function; or "loop", the first in main
    task: str   # for a comment; each line is a paragraph
    stub: str


UNTIL = "/* Until then: */\n"
UNUSED = UNTIL + "(void)fd, (void)was, (void)want{};\nreturn true;"
SLEEP = UNTIL + "sigsuspend(&unblocked);\nbreak;"
WATCH = """\
tell {whom} what to watch fd for: no longer for was, from now on for want.
{how}
See common/connections.h (want, watch_function) and {man}."""
TURN = """\
one turn of the loop.
1. Wait with {call} until something is ready, for connections_wait_ms() at most (-1: without limit). Pass it \
&unblocked, which lets SIGTERM in.
2. If that fails: net_wait_failed.
3. stop_poll; and, if stop_requested: connections_drain.
4. connections_ready for each descriptor that is ready.
5. connections_expire; connections_accept.
See {man}, and common/connections.h, net.h and stop.h."""

CUTS = {
    "01-blocking": [
        Cut("loop", """\
serve one client, from its connection to its end.
1. Take it from the backlog: accept4, into client.fd. If that fails with EAGAIN, the server is told to stop: \
leave the loop. After another error, try again; unless net_accept_again allows that, sleep for NET_RETRY_NS first.
2. Have the conversation, without keep-alive: blocking_converse.
3. client.idle = false; close.
See accept(2), and common/blocking.h, net.h and clock.h.""", UNTIL + "pause();\nbreak;"),
    ],
    "02-threaded": [
        Cut("serve", """\
the thread of one client; argument is its struct client.
1. Have the conversation, with keep-alive: blocking_converse.
2. Under the lock: take the client off the list (LIST_REMOVE), close its descriptor, and signal all_gone if the \
list is empty now.
3. Free its memory; free_slot.
See pthread_mutex_lock(3), pthread_cond_signal(3) and list(3).""",
            UNTIL + "(void)argument;\nreturn NULL;"),
        Cut("start_thread", """\
start the thread of a client.
1. Allocate a struct client, with fd in its conversation.
2. Under the lock: start a thread that runs serve with it (pthread_create), and put it on the list \
(LIST_INSERT_HEAD).
3. Signals are for the main thread alone. A thread inherits the mask of the thread that creates it: block all \
signals before, and restore your mask after.
See pthread_create(3), pthread_sigmask(3) and list(3).""",
            UNTIL + "(void)fd, (void)detached, (void)serve;\nreturn false;"),
        Cut("loop", """\
accept a client, and start its thread.
1. take_slot.
2. accept4. If that fails: free_slot. EAGAIN says that the server is told to stop and the backlog is empty: leave \
the loop. After another error, try again; unless net_accept_again allows that, wait_for_resources first, and leave \
the loop if it returns false. It is hopeless if there was not any_client when you called accept4.
3. start_thread, until it succeeds. After each failure wait_for_resources, which is not hopeless; if it returns \
false: close, free_slot.
See accept(2), and common/net.h.""",
            UNTIL + "pause();\n(void)take_slot, (void)any_client, (void)wait_for_resources, (void)start_thread;\nbreak;"),
    ],
    "03-select": [
        Cut("watch", WATCH.format(whom="select", man="select(2)", how="\
Keep two sets up to date, reading and writing, and nfds, which is the first argument of select. Return false if fd \
has no bit in a set."), UNUSED.format(", (void)reading, (void)writing, (void)nfds")),
        Cut("loop", TURN.format(call="pselect", man="select(2)"), SLEEP),
    ],
    "04-poll": [
        Cut("watch", WATCH.format(whom="poll", man="poll(2)", how="\
fds[fd] is the element of fd. Let the array grow when it has to (common/util.h), and return false if there is no \
memory. nfds is the number of its elements that poll looks at."),
            UNUSED.format(", (void)fds, (void)fds_size, (void)nfds")),
        Cut("loop", TURN.format(call="ppoll", man="poll(2)"), SLEEP),
    ],
    "05-epoll": [
        Cut("watch", WATCH.format(whom="the kernel", man="epoll_ctl(2)", how="\
The kernel remembers what is watched on epoll_fd, so tell it the change: epoll_ctl, once. Return whether it \
succeeded."), UNUSED.format("")),
        Cut("loop", TURN.format(call="epoll_pwait", man="epoll_wait(2)"), SLEEP),
    ],
    "06-libev": [
        Cut("on_ready", """\
libev reports watcher->fd, which is ready: connections_ready. If events has EV_ERROR, libev has stopped the \
watcher: connections_unwatched.
See ev(3), and common/connections.h.""", UNTIL + "(void)loop, (void)watcher, (void)events;"),
        Cut("watch", WATCH.format(whom="libev", man="ev(3), ev_io", how="\
Each descriptor has an ev_io of its own, to which watchers[fd] points. Let the table grow when it has to \
(common/util.h), and return false if there is no memory. A watcher must be stopped before it is changed."),
            UNUSED.format(", (void)watchers, (void)watchers_size, (void)on_ready")),
        Cut("before_wait", """\
1. Finish the turn: connections_expire; connections_accept; ev_break, unless connections_remain.
2. Set nearest_deadline, so that the wait lasts for connections_wait_ms() at most (-1: without limit).
See ev(3), ev_prepare and ev_timer, and common/connections.h.""",
            UNTIL + "(void)loop, (void)watcher, (void)events;"),
    ],
    "07-uring": [
        Cut("start", """\
hand in a request with this opcode for length bytes on the socket of c, and let then be called with the result.
1. ring_make_room for two, then ring_request for the operation of c. Set addr and len, and msg_flags, so that a send \
raises no SIGPIPE.
2. Link (IOSQE_IO_LINK) a request IORING_OP_LINK_TIMEOUT to it, without an operation: set_moment, to the deadline \
of c.
See io_uring_enter(2), and tests/exercises/ring.h.""",
            UNTIL + "(void)c, (void)opcode, (void)bytes, (void)length, (void)then;"),
        Cut("on_sent", """\
n bytes of the output of c have been sent, or n is an error as -errno. End the connection, send the rest, or go on: \
answered.
See IORING_OP_SEND in io_uring_enter(2).""", UNTIL + "(void)done, (void)n, (void)answered;"),
        Cut("on_received", """\
n bytes have come, to the end of the input of c; or the end of the connection (0), or an error as -errno.
1. -ECANCELED: the deadline has passed. The rest may have arrived meanwhile, so look once more: recv(2) with \
MSG_DONTWAIT. If nothing is there, and a request has begun: http_time_out, respond.
2. With the first byte of a request, begun_ns and the deadline start anew.
3. read_head.
See IORING_OP_RECV and IORING_OP_LINK_TIMEOUT in io_uring_enter(2), and common/http.h.""",
            UNTIL + "(void)done, (void)n;"),
        Cut("on_accepted", """\
fd is a new client, or an error as -errno: -ECANCELED, nobody is in the backlog; or one of accept(2).
1. paused = true: no accept is in flight now. open_connection.
2. Accept the next client. If the process is out of something (net_accept_again), pause for NET_PAUSE_NS first: \
start_timer. The moment must still be there when the request is handed in.
3. While draining, close the listener when the backlog is empty, give_up_ns has passed, or nothing is left that \
could free what is missing; and set it to -1.
See IORING_OP_ACCEPT in io_uring_enter(2), and common/net.h.""",
            UNTIL + "(void)done, (void)fd, (void)open_connection, (void)pausing, (void)paused;"),
        Cut("accept_next", """\
unless that is done already (paused), or the listener is closed: hand in an accept, whose result on_accepted gets. \
While draining, do not wait for a client: cancel the accept again, immediately. If a client is there, the kernel \
has completed it by then.
See IORING_OP_ACCEPT and IORING_OP_ASYNC_CANCEL in io_uring_enter(2).""",
            UNTIL + "(void)unused, (void)result, (void)on_accepted;"),
        Cut("loop", """\
one turn.
1. ring_enter: hand in all requests, and wait for a result. Pass it &unblocked, which lets SIGTERM in.
2. stop_poll; and, once, if stop_requested: drain.
3. ring_reap.
See tests/exercises/ring.h and common/stop.h.""", UNTIL + "(void)drain;\n" + "sigsuspend(&unblocked);\nbreak;"),
    ],
}


def source(model):
    """Return the text of a stage."""
    return path(model).read_text()


def path(model):
    """Return the file of a stage. 07-uring is the reader's to write, so it is among the solutions."""
    return lab.ROOT / ("tests/exercises/07-uring.c" if model == "07-uring" else f"{model}/server.c")


def whole(name, model):
    """Return the stage as if it were called name."""
    text = source(model)
    if text.count(f'"{model}"') != 1:
        raise lab.Failed(f'{path(model).relative_to(lab.ROOT)}: want the name of the stage, "{model}", once')
    return text.replace(f'"{model}"', f'"{name}"')


def skeleton(name, model):
    """Return the stage as if it were called name, without its model."""
    text, found = re.subn(r"\A/\* \d\d: ", f"/* {name}, to be written after {model}: ", whole(name, model))
    if not found:
        raise lab.Failed(f"{path(model).relative_to(lab.ROOT)}: want a comment at its head, with the number of the stage")
    for cut in CUTS[model]:
        text = apply(text, cut, model)
    return text


def apply(text, cut, model):
    """Replace the body at the place of a cut."""
    if cut.place == "loop":
        pattern, indent = r"(?sm)^int main\(.*?\n    while \([^\n]*\) \{\n(.*?)^    \}$", 8
    else:
        pattern, indent = rf"(?sm)^static [^\n;]*\b{cut.place}\([^;{{]*\)\n\{{\n(.*?)^\}}$", 4
    found = re.search(pattern, text)
    if not found:
        raise lab.Failed(f"{path(model).relative_to(lab.ROOT)}: {cut.place} is not found, so the skeleton cannot be "
                         "made; see tests/exercises/skeleton.py")
    body = comment(f"{MARK} {cut.task}", indent) + textwrap.indent(cut.stub, " " * indent) + "\n"
    return text[:found.start(1)] + body + text[found.end(1):]


def comment(text, indent):
    """Return a comment in C."""
    lines = []
    for paragraph in text.splitlines():
        hanging = "   " if paragraph[0].isdigit() else ""
        lines += textwrap.wrap(paragraph, WIDTH - indent - 6, subsequent_indent=hanging,
                               break_long_words=False, break_on_hyphens=False)
    return textwrap.indent("/* " + "\n * ".join(lines) + " */\n", " " * indent)


def unwritten(text):
    """Return the numbers of the lines where something is still to be written."""
    return [number for number, line in enumerate(text.splitlines(), 1) if f"/* {MARK}" in line]
