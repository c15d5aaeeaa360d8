/* 06: one thread, the event loop of a library.
 * Model: libev runs the loop, on epoll where there is epoll, and calls the functions we register.
 * Cost:  a call through a pointer for each event, and a watcher for each descriptor.
 * Limit: that of 05. The order of events is now up to the library. */
#include "common/server.h"
#include "common/connections.h"
#include "common/net.h"
#include "common/reserve.h"
#include "common/stop.h"
#include "common/table.h"

#include <err.h>
#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct ev_io **watchers; /* by descriptor; libev keeps pointers to them */
static size_t watchers_size;
static ev_timer nearest_deadline;

static void on_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    if (events & EV_ERROR)
        connections_unwatched(watcher->fd); /* epoll_ctl failed: libev has stopped the watcher */
    else
        connections_ready(watcher->fd);
}

static bool watch(int fd, enum want was, enum want want)
{
    struct ev_loop *loop = EV_DEFAULT;
    struct ev_io **room = table_grow(watchers, &watchers_size, (size_t)fd, sizeof(*watchers));

    if (room == NULL)
        return false;
    watchers = room;
    if (was != WANT_NOTHING)
        ev_io_stop(loop, watchers[fd]); /* also drops an event that is not delivered yet */
    if (want == WANT_NOTHING) {
        free(watchers[fd]);
        watchers[fd] = NULL;
        return true;
    }
    if (watchers[fd] == NULL && (watchers[fd] = malloc(sizeof(ev_io))) == NULL)
        return false;
    ev_io_init(watchers[fd], on_ready, fd, want == WANT_WRITE ? EV_WRITE : EV_READ);
    ev_io_start(loop, watchers[fd]);
    return true;
}

static void wake(void) /* called by the handler of a signal */
{
    ev_feed_signal(SIGTERM);
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    stop_requested = true; /* if it came before main had put libev's own handler aside */
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    /* its purpose was to wake the loop */
}

/* libev calls this in each turn, after it has waited and before it calls on_ready. */
static void after_wait(struct ev_loop *loop, ev_check *watcher, int events)
{
    connections_begin_turn();
}

/* libev calls this in each turn, just before it waits. */
static void before_wait(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    connections_expire();
    /* When libev's arrays are full, it doubles them: a few elements for each descriptor. */
    if (!reserve_fill(65536 + 100 * watchers_size))
        connections_pause(); /* no more clients, for whom libev would need memory */
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
    sigset_t unblocked;
    struct options options = options_parse(argc, argv, "06-libev", WITH_ALL);
    int listener = server_open(&options, SOCK_NONBLOCK, &unblocked);
    ev_prepare prepare;
    ev_check check;
    ev_signal stop;

    ev_set_allocator(reserve_realloc); /* libev aborts if it gets no memory */
    ev_set_syserr_cb(net_wait_failed); /* the default is to abort */
    struct ev_loop *loop = ev_default_loop(0);
    if (loop == NULL)
        errx(1, "ev_default_loop: no backend (LIBEV_FLAGS?)");
    ev_init(&nearest_deadline, on_timer);
    ev_prepare_init(&prepare, before_wait);
    ev_prepare_start(loop, &prepare);
    ev_check_init(&check, after_wait);
    ev_set_priority(&check, EV_MAXPRI);
    ev_check_start(loop, &check);
    ev_signal_init(&stop, on_signal, SIGTERM);
    ev_signal_start(loop, &stop);
    stop_catch(wake); /* libev's own handler would not end a loop that computes */
    connections_start(&options, listener, watch);
    ev_run(loop, 0);
    return 0;
}
