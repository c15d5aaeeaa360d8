/* A server that calls what libc.c does not have. */
#include <sys/timerfd.h>

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    return timerfd_create(0, 0) < 0;
}
