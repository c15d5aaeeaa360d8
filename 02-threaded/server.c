/* 02: a thread for each connection.
 * Model: accept a client and start a thread, which reads, waits and writes in blocking calls.
 * Cost:  a thread for each client, even an idle one: a stack, a kernel task, switches between them.
 * Limit: the number of threads (pthread_create returns EAGAIN), and the locks that they share. */
#include "common/server.h"
#include "common/blocking.h"
#include "common/clock.h"
#include "common/net.h"
#include "common/stop.h"
#include "common/workers.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    int fd;
    atomic_int idle; /* fd or -1: see blocking_converse */
    LIST_ENTRY(client) link;
};

static struct options options;
static LIST_HEAD(list, client) clients = LIST_HEAD_INITIALIZER(clients);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects clients */
static pthread_cond_t all_gone = PTHREAD_COND_INITIALIZER;

static void *serve(void *argument)
{
    struct client *client = argument;

    blocking_converse(client->fd, &options, true, &client->idle);
    pthread_mutex_lock(&lock);
    LIST_REMOVE(client, link);
    /* Close under the lock: accept may reuse the number immediately, and hang_up_idle must not shut
     * down the client that gets it. */
    close(client->fd);
    if (LIST_EMPTY(&clients))
        pthread_cond_signal(&all_gone);
    pthread_mutex_unlock(&lock);
    free(client);
    return NULL;
}

static bool any_client(void)
{
    pthread_mutex_lock(&lock);
    bool any = !LIST_EMPTY(&clients);
    pthread_mutex_unlock(&lock);
    return any;
}

static void hang_up_idle(void)
{
    pthread_mutex_lock(&lock);
    for (struct client *c = LIST_FIRST(&clients); c != NULL; c = LIST_NEXT(c, link))
        stop_hang_up(&c->idle);
    pthread_mutex_unlock(&lock);
}

/* Out of descriptors, threads or memory: pause, so that a thread may end. Return false to give up,
 * once told to stop: it is hopeless, or has lasted too long. */
static bool wait_for_resources(bool hopeless)
{
    if (stop_requested) {
        static int64_t give_up_ns;
        if (give_up_ns == 0)
            give_up_ns = clock_now_ns() + options.timeout_ns;
        if (hopeless || clock_now_ns() >= give_up_ns)
            return false;
        hang_up_idle();
    }
    net_pause();
    return true;
}

/* Return false if there is no memory, or no thread, to be had. */
static bool start_thread(int fd)
{
    struct client *client = malloc(sizeof *client);
    sigset_t all, unblocked;
    pthread_t thread;

    if (client == NULL)
        return false;
    *client = (struct client){.fd = fd, .idle = -1};
    sigfillset(&all); /* for the thread: a signal must interrupt accept, in the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &unblocked);
    pthread_mutex_lock(&lock); /* the thread must not leave the list before it is in it */
    /* pthread_create returns its error and does not set errno. The thread is given memory of its
     * own: a variable of ours would change while the thread still reads it. */
    int error = pthread_create(&thread, NULL, serve, client);
    if (error == 0) {
        pthread_detach(thread);
        LIST_INSERT_HEAD(&clients, client, link);
    } else {
        free(client);
    }
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, &unblocked, NULL);
    return error == 0;
}

int main(int argc, char **argv)
{
    options = options_parse(argc, argv, "02-threaded", WITH_BLOCK | WITH_COMPUTE);
    int listener = server_open(&options, 0, NULL);

    int backlog = SOMAXCONN + 1; /* as many clients may have connected before the signal to stop */
    while (!stop_requested || (backlog-- > 0 && !workers_leave_backlog())) {
        bool alone = !any_client(); /* if accept fails now, no client can free a descriptor */
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            bool empty = errno == EAGAIN && stop_requested; /* the signal made it non-blocking */
            if (empty || (!net_accept_again(errno) && !wait_for_resources(alone)))
                break;
            continue;
        }
        while (!start_thread(fd)) /* a thread frees its stack after it has closed fd */
            if (!wait_for_resources(false)) {
                close(fd);
                break;
            }
    }
    close(listener);
    hang_up_idle();
    pthread_mutex_lock(&lock);
    while (!LIST_EMPTY(&clients))
        pthread_cond_wait(&all_gone, &lock);
    pthread_mutex_unlock(&lock);
    return 0;
}
