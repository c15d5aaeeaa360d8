#include "common/server.h"

#include "common/net.h"
#include "common/stop.h"
#include "common/workers.h"

#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static void prepare_process(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR); /* the lowest number that is free */
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        err(1, "/dev/null");
    close(fd);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

int server_open(const struct options *options, int flags, sigset_t *unblocked)
{
    prepare_process();
    stop_catch(NULL);
    int listener = net_listen(options->host, options->port, flags);
    stop_unblocks(listener);
    if (stop_requested) /* the signal came before stop_unblocks, and no client is connected yet */
        exit(0);
    if (!net_announce(listener, options->name)) {
        if (stop_requested) /* a signal ended the wait for whoever reads our stdout */
            exit(0);
        err(1, "write to stdout");
    }
    if (unblocked != NULL) /* not before: stdout or stderr may keep us waiting */
        *unblocked = stop_block();
    workers_fork(options, listener);
    return listener;
}
