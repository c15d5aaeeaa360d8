/* 06: one thread, the event loop of a library.
 * Model: the loop is libev's, over epoll where there is one; we leave functions for it to call.
 * Cost:  a call through a pointer for each event, a watcher for each descriptor.
 * Limit: that of 05; and what happens when is now the library's to say. */
#include "common/connections.h"
#include "common/net.h"
#include "common/workers.h"

#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct ev_io **watchers; /* by descriptor; libev keeps their addresses, so they stay put */
static size_t watchers_size;
static ev_timer nearest; /* deadline */
static ev_signal interrupt, terminate;

static void on_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    if (events & EV_ERROR)
        connections_unwatched(watcher->fd); /* epoll_ctl had no room: libev has stopped it */
    else
        connections_ready(watcher->fd);
}

static bool watch(int fd, enum want was, enum want want)
{
    struct ev_loop *loop = EV_DEFAULT;
    struct ev_io **room = net_room(watchers, &watchers_size, (size_t)fd, sizeof(*watchers));

    if (room == NULL)
        return false;
    watchers = room;
    if (watchers[fd] == NULL && (watchers[fd] = malloc(sizeof(ev_io))) == NULL)
        return false;
    if (was != WANT_NOTHING)
        ev_io_stop(loop, watchers[fd]); /* forgets an event that was not delivered yet */
    ev_io_init(watchers[fd], on_ready, fd, want == WANT_WRITE ? EV_WRITE : EV_READ);
    if (want != WANT_NOTHING)
        ev_io_start(loop, watchers[fd]);
    return true;
}

static void on_stop(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    net_stop(watcher->signum);
    connections_drain();
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)watcher, (void)events; /* it was there to wake the loop */
}

/* libev calls this at the end of each turn, before it waits. */
static void before_wait(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    (void)watcher, (void)events;
    connections_expire();
    connections_accept();
    if (!connections_remain())
        ev_break(loop, EVBREAK_ALL);

    int wait_ms = connections_wait_ms();
    ev_timer_stop(loop, &nearest);
    ev_timer_set(&nearest, wait_ms / 1e3, 0.);
    if (wait_ms >= 0) {
        ev_now_update(loop); /* a timer counts from the start of the turn, unless told otherwise */
        ev_timer_start(loop, &nearest);
    }
}

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv, "06-libev");
    ev_prepare prepare;

    net_catch_stop(NULL); /* until libev does */
    int listener = net_listen(&options, SOCK_NONBLOCK);
    workers_fork(&options, listener);

    ev_set_syserr_cb(net_wait_failed); /* libev's own would abort */
    struct ev_loop *loop = ev_default_loop(0);
    if (loop == NULL)
        die("ev_default_loop: no backend (LIBEV_FLAGS?)");
    ev_init(&nearest, on_timer);
    ev_prepare_init(&prepare, before_wait);
    ev_signal_init(&interrupt, on_stop, SIGINT);
    ev_signal_init(&terminate, on_stop, SIGTERM);
    ev_prepare_start(loop, &prepare);
    ev_signal_start(loop, &interrupt);
    ev_signal_start(loop, &terminate);
    connections_start(&options, listener, watch, net_now_ns);
    if (net_stopping)
        connections_drain();
    ev_run(loop, 0);
    return 0;
}
