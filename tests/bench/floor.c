/* The floor: an epoll loop that sends the same answer to whatever arrives. It has no HTTP, no
 * timers, no handling of errors, nothing that a server needs, so it shows what the system calls
 * alone cost. Never copy this. */
#include "common/net.h"
#include "common/options.h"

#include <err.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                             "Server: floor\r\n"
                             "Content-Type: text/plain; charset=utf-8\r\n"
                             "Content-Length: 14\r\n\r\n"
                             "That was fast!";

int main(int argc, char **argv)
{
    struct options options = options_parse(argc, argv, "floor", 0);
    int listener = net_listen(options.host, options.port, SOCK_NONBLOCK);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event watched = {.events = EPOLLIN, .data.fd = listener};

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &watched) < 0)
        err(1, "epoll");
    if (!net_announce(listener, options.name))
        err(1, "write to stdout");
    for (;;) {
        struct epoll_event events[64];
        char input[8192];
        int ready = epoll_wait(epoll, events, 64, -1);

        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                watched.data.fd = fd;
                if (fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &watched) < 0)
                    close(fd);
            } else if (recv(fd, input, sizeof input, 0) <= 0 ||
                       send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) {
                close(fd);
            }
        }
    }
}
