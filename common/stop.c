#include "common/stop.h"

#include "common/clock.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>

atomic_bool stop_requested;
static atomic_int listener = -1;
static void (*_Atomic first_signal)(void);

void stop_handler(int signal_number)
{
    int error = errno;

    fcntl(listener, F_SETFL, O_NONBLOCK); /* each time: a new worker may have undone it */
    if (!stop_requested) {
        stop_requested = true;
        void (*on_stop)(void) = first_signal;
        if (on_stop != NULL)
            on_stop();
    } else if (signal_number == SIGINT) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    errno = error;
}

static sigset_t stop_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void stop_catch(void (*on_stop)(void))
{
    /* No SA_RESTART: a blocked accept or recv has to return. */
    struct sigaction action = {.sa_handler = stop_handler, .sa_mask = stop_signals()};

    first_signal = on_stop;
    /* Unblock them as well: a mask is inherited, and our parent may have blocked them. */
    if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ||
        sigprocmask(SIG_UNBLOCK, &action.sa_mask, NULL) < 0)
        die("catch SIGINT and SIGTERM:");
}

void stop_unblocks(int fd)
{
    listener = fd;
}

sigset_t stop_block(void)
{
    sigset_t set = stop_signals(), unblocked;

    if (sigprocmask(SIG_BLOCK, &set, &unblocked) < 0)
        die("sigprocmask:");
    sigdelset(&unblocked, SIGINT);
    sigdelset(&unblocked, SIGTERM);
    return unblocked;
}

void stop_poll(const sigset_t *unblocked)
{
    static int64_t last_ns;
    sigset_t blocked;

    if (clock_now_ns() - last_ns < 50 * NS_PER_MS)
        return;
    last_ns = clock_now_ns();
    if (pthread_sigmask(SIG_SETMASK, unblocked, &blocked) != 0 ||
        pthread_sigmask(SIG_SETMASK, &blocked, NULL) != 0)
        die("cannot unblock signals");
}
