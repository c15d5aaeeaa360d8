/* 01: one client after the other.
 * Model: accept a client; read, wait and write in blocking calls; close; accept the next client.
 * Cost:  nothing. There are no threads, no tables, and no state but local variables.
 * Limit: a client that makes us wait, with /slow or by sending nothing, makes all others wait. */
#include "common/server.h"
#include "common/blocking.h"
#include "common/net.h"
#include "common/stop.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv, "01-blocking", WITH_BLOCK | WITH_COMPUTE);
    int listener = server_open(&options, 0, NULL);

    while (!stop_requested) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (!net_accept_again(errno))
                net_pause();
            continue;
        }
        /* No keep-alive: a client that stays connected and sends nothing would own the server. */
        blocking_converse(fd, &options, false, &stop_idle);
        close(fd);
    }
    close(listener);
    return 0;
}
