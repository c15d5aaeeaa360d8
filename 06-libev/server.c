/* 06: one thread, the event loop of a library.
 * Model: libev runs the loop, on epoll where there is epoll, and calls the functions we register.
 * Cost:  a call through a pointer for each event, and a watcher for each descriptor.
 * Limit: that of 05. The order of events is now up to the library. */
#include "common/clock.h"
#include "common/connections.h"
#include "common/net.h"
#include "common/stop.h"
#include "common/util.h"
#include "common/workers.h"

#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct ev_io **watchers; /* by descriptor; libev keeps pointers to them */
static size_t watchers_size;
static ev_timer nearest_deadline;
static ev_signal interrupt, terminate;
static ev_async finished; /* jobs of the pool */

static void on_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    if (events & EV_ERROR)
        connections_unwatched(watcher->fd); /* epoll_ctl failed: libev has stopped the watcher */
    else
        connections_ready(watcher->fd);
}

static bool watch(int fd, enum want was, enum want want)
{
    struct ev_loop *loop = EV_DEFAULT;
    struct ev_io **room = grow(watchers, &watchers_size, (size_t)fd, sizeof(*watchers));

    if (room == NULL)
        return false;
    watchers = room;
    if (watchers[fd] == NULL && (watchers[fd] = malloc(sizeof(ev_io))) == NULL)
        return false;
    if (was != WANT_NOTHING)
        ev_io_stop(loop, watchers[fd]); /* also drops an event that is not delivered yet */
    ev_io_init(watchers[fd], on_ready, fd, want == WANT_WRITE ? EV_WRITE : EV_READ);
    if (want != WANT_NOTHING)
        ev_io_start(loop, watchers[fd]);
    return true;
}

static void on_stop(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop, (void)events;
    stop_handler(watcher->signum);
    connections_drain();
}

static void on_finished(struct ev_loop *loop, ev_async *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    connections_collect();
}

static void wake(void) /* called by a thread of the pool */
{
    ev_async_send(EV_DEFAULT_UC_ & finished);
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)watcher, (void)events; /* its purpose was to wake the loop */
}

/* libev calls this in each turn, just before it waits. */
static void before_wait(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    (void)watcher, (void)events;
    connections_expire();
    connections_accept();
    if (!connections_remain())
        ev_break(loop, EVBREAK_ALL);

    int wait_ms = connections_wait_ms();
    ev_timer_stop(loop, &nearest_deadline);
    ev_timer_set(&nearest_deadline, wait_ms / 1e3, 0.);
    if (wait_ms >= 0) {
        ev_now_update(loop); /* else the timer would count from the start of the turn */
        ev_timer_start(loop, &nearest_deadline);
    }
}

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv, "06-libev");
    ev_prepare prepare;

    stop_catch(NULL); /* until libev takes over */
    int listener = net_listen(options.name, options.host, options.port, SOCK_NONBLOCK);
    workers_fork(&options, listener);

    ev_set_syserr_cb(net_wait_failed); /* the default is to abort */
    struct ev_loop *loop = ev_default_loop(0);
    if (loop == NULL)
        die("ev_default_loop: no backend (LIBEV_FLAGS?)");
    ev_init(&nearest_deadline, on_timer);
    ev_prepare_init(&prepare, before_wait);
    ev_signal_init(&interrupt, on_stop, SIGINT);
    ev_signal_init(&terminate, on_stop, SIGTERM);
    ev_prepare_start(loop, &prepare);
    ev_signal_start(loop, &interrupt);
    ev_signal_start(loop, &terminate);
    ev_async_init(&finished, on_finished);
    ev_async_start(loop, &finished);
    connections_wake_with(wake);
    connections_start(&options, listener, watch, clock_now_ns);
    if (stop_requested)
        connections_drain();
    ev_run(loop, 0);
    return 0;
}
