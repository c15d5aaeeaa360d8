/* 01: one client after the other.
 * Model: accept a client, read, wait and write in blocking calls, close; then the next.
 * Cost:  nothing; no thread, no table, no state but local variables.
 * Limit: one client that makes us wait, with /slow or by saying nothing, makes all others wait. */
#include "common/blocking.h"
#include "common/net.h"
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

    net_catch_stop(hang_up);
    int listener = net_listen(&options, 0);
    workers_fork(&options, listener);

    while (!net_stopping) {
        client.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client.fd < 0) {
            if (errno == EAGAIN) /* told to stop: that made the listener non-blocking */
                break;
            if (!net_accept_again(errno))
                net_sleep_until(net_now_ns() + NET_PAUSE_NS);
            continue;
        }
        /* No keep-alive: a client that stays, and says nothing more, would own the server. */
        blocking_converse(&client, &options, false);
        client.idle = false;
        close(client.fd);
    }
    close(listener);
    return 0;
}
