/* A server that wakes up again and again: it makes calls, and time passes, but too little of it. */
#include <time.h>

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (;;)
        nanosleep(&(struct timespec){.tv_nsec = 1}, NULL);
}
