/* A thread for each client. /slow holds a mutex for a second, and /fast wants it, too. argv: the
 * port. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void hold_the_mutex(int slow)
{
    pthread_mutex_lock(&mutex);
    if (slow)
        nanosleep(&(struct timespec){1, 0}, NULL);
    pthread_mutex_unlock(&mutex);
}

static void *serve(void *argument)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone";
    int client = (int)(intptr_t)argument;
    char head[4096] = "";

    if (recv(client, head, sizeof head - 1, 0) > 0) {
        hold_the_mutex(strncmp(head, "GET /slow", 9) == 0);
        if (send(client, answer, sizeof answer - 1, 0) < 0)
            perror("send");
    }
    close(client);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), client;
    pthread_t thread;

    if (argc < 2)
        return 2;
    address.sin_port = htons((uint16_t)strtol(argv[1], NULL, 10));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 9) < 0)
        return 1;
    while ((client = accept(listener, NULL, NULL)) >= 0)
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)client) != 0)
            return 1;
}
