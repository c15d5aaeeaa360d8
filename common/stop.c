#include "common/stop.h"

#include "common/clock.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

atomic_bool stop_requested;
atomic_int stop_idle = -1;
static atomic_int listener = -1;
static void (*_Atomic first_signal)(void);
static bool blocked; /* outside of the waits of a loop */

void stop_hang_up(const atomic_int *idle)
{
    int fd = *idle;

    if (fd >= 0)
        shutdown(fd, SHUT_RD);
}

static void handle(int signal_number)
{
    int error = errno;

    fcntl(listener, F_SETFL, O_NONBLOCK); /* each time: a new worker may have undone it */
    if (!stop_requested) {
        stop_requested = true;
        stop_hang_up(&stop_idle);
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
    struct sigaction action = {.sa_handler = handle, .sa_mask = stop_signals()};

    first_signal = on_stop;
    /* Unblock them as well: a mask is inherited, and our parent may have blocked them. */
    if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ||
        sigprocmask(SIG_UNBLOCK, &action.sa_mask, NULL) < 0)
        err(1, "catch SIGINT and SIGTERM");
    blocked = false;
}

void stop_unblocks(int fd)
{
    listener = fd;
}

sigset_t stop_block(void)
{
    sigset_t set = stop_signals(), unblocked;

    if (sigprocmask(SIG_BLOCK, &set, &unblocked) < 0)
        err(1, "sigprocmask");
    sigdelset(&unblocked, SIGINT);
    sigdelset(&unblocked, SIGTERM);
    blocked = true;
    return unblocked;
}

static void change_mask(int how)
{
    sigset_t set = stop_signals();

    if (blocked && pthread_sigmask(how, &set, NULL) != 0)
        errx(1, "cannot change the signal mask");
}

void stop_let_in(void)
{
    change_mask(SIG_UNBLOCK);
}

void stop_keep_out(void)
{
    change_mask(SIG_BLOCK);
}

void stop_poll(int64_t now_ns)
{
    static int64_t last_ns;

    if (now_ns - last_ns < 50 * NS_PER_MS)
        return;
    last_ns = now_ns;
    stop_let_in();
    stop_keep_out();
}
