/* 02: a thread for each connection.
 * Model: accept a client, start a thread that reads, waits and writes in blocking calls; next.
 * Cost:  a thread for each client, idle ones too: a stack, a kernel task, a switch to run it.
 * Limit: the number of threads (pthread_create says EAGAIN), and whatever they share. */
#include "common/blocking.h"
#include "common/net.h"
#include "common/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    struct conversation conversation;
    LIST_ENTRY(client) link;
};

static struct options options;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list, and of what ends */
static LIST_HEAD(list, client) clients = LIST_HEAD_INITIALIZER(clients);
static pthread_cond_t ended;
static atomic_uint ends; /* of threads, so far */

static void *serve(void *argument)
{
    struct client *client = argument;

    blocking_converse(&client->conversation, &options, true);
    pthread_mutex_lock(&lock);
    LIST_REMOVE(client, link);
    close(client->conversation.fd); /* under the lock: nobody hangs up on a number used anew */
    ends++;
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
    free(client);
    return NULL;
}

static void hang_up_idle(void)
{
    pthread_mutex_lock(&lock);
    for (struct client *c = LIST_FIRST(&clients); c != NULL; c = LIST_NEXT(c, link))
        blocking_hang_up(&c->conversation);
    pthread_mutex_unlock(&lock);
}

/* Out of descriptors, threads or memory: waits until a thread has ended, a second at most. seen is
 * the number of ends before the attempt that failed. */
static void wait_for_thread_end(unsigned seen)
{
    int64_t until_ns = net_now_ns() + NET_PAUSE_NS;
    struct timespec until = {until_ns / NET_NS_PER_S, until_ns % NET_NS_PER_S};

    if (net_stopping)
        hang_up_idle(); /* for the sake of who waits */
    pthread_mutex_lock(&lock);
    while (ends == seen && pthread_cond_timedwait(&ended, &lock, &until) == 0)
        ;
    pthread_mutex_unlock(&lock);
}

static void start_thread(int fd, const pthread_attr_t *attributes)
{
    unsigned seen = ends;
    struct client *client;
    pthread_t thread;

    for (; (client = malloc(sizeof *client)) == NULL; seen = ends)
        wait_for_thread_end(seen);
    client->conversation = (struct conversation){.fd = fd};
    pthread_mutex_lock(&lock);
    LIST_INSERT_HEAD(&clients, client, link);
    pthread_mutex_unlock(&lock);
    /* It returns its error; errno is not set. What it is given is this client's own memory: a
     * variable of the caller's would change under the thread's feet. */
    for (; pthread_create(&thread, attributes, serve, client) != 0; seen = ends)
        wait_for_thread_end(seen);
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    pthread_condattr_t monotonic;
    sigset_t all;

    options = options_parse(argc, argv, "02-threaded");
    sigfillset(&all); /* signals are for the main thread: it is the one to leave its accept */
    if (pthread_attr_init(&attributes) != 0 || pthread_attr_setsigmask_np(&attributes, &all) != 0 ||
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) != 0 ||
        pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&ended, &monotonic) != 0)
        die("cannot set up threads");
    net_catch_stop(NULL);
    int listener = net_listen(&options, 0);
    workers_fork(&options, listener);

    int queued = SOMAXCONN + 1; /* who is in the kernel's queue when we are told to stop, at most */
    while (!net_stopping || queued-- > 0) {
        unsigned seen = ends;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            start_thread(fd, &attributes);
        else if (errno == EAGAIN) /* told to stop: that made the listener non-blocking */
            break;
        else if (!net_accept_again(errno))
            wait_for_thread_end(seen);
    }
    close(listener);
    hang_up_idle();

    pthread_mutex_lock(&lock);
    while (!LIST_EMPTY(&clients))
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
    pthread_attr_destroy(&attributes);
    return 0;
}
