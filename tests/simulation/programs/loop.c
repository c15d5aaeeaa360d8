/* A server that makes no call: the simulation has to stop it. */
int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (volatile int i = 0;; i++)
        ;
}
