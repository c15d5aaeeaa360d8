/* A server that calls what is not simulated. */
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    return fork() < 0;
}
