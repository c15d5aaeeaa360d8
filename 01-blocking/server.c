/* 01: one client after the other.
 * Model: accept a client; read, wait and write in blocking calls; close; accept the next client.
 * Cost:  nothing. There are no threads, no tables, and no state but local variables.
 * Limit: a client that makes us wait, with /slow or by sending nothing, makes all others wait. */
#include "common/blocking.h"
#include "common/clock.h"
#include "common/net.h"
#include "common/stop.h"
#include "common/workers.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct conversation client = {.fd = -1};

static void hang_up(void)
{
    blocking_hang_up(&client);
}

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv, "01-blocking");

    stop_catch(hang_up);
    int listener = net_listen(options.name, options.host, options.port, 0);
    workers_fork(&options, listener);

    while (!stop_requested) {
        client.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client.fd < 0) {
            if (errno == EAGAIN) /* told to stop: the signal made the listener non-blocking */
                break;
            if (!net_accept_again(errno))
                clock_sleep_until(clock_now_ns() + NET_RETRY_NS);
            continue;
        }
        /* No keep-alive: a client that stays connected and sends nothing would own the server. */
        blocking_converse(&client, &options, false);
        client.idle = false;
        close(client.fd);
    }
    close(listener);
    return 0;
}
