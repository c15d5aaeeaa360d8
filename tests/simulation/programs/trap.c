/* A server that fails an assertion once it has a client. */
#include <assert.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    (void)argc, (void)argv;
    (void)bind(listener, (struct sockaddr *)&address, sizeof address);
    (void)listen(listener, 1);
    assert(accept(listener, NULL, NULL) < 0);
}
