/* Print the states in which a conversation waits, for six clients that behave differently. */
#include "common/clock.h"
#include "common/conversation.h"

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *const names[STATES] = {"IDLE",    "READING", "SLEEPING",
                                          "WORKING", "WRITING", "LINGERING"};
static const char *const fast = "GET /fast HTTP/1.1\r\nHost: x\r\n\r\n";
static const char *const slow = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";

static const struct options options = {
    .name = "states", .delay_ns = NS_PER_S, .timeout_ns = NS_PER_S};
static struct turn turn;
static struct conversation conversation;
static int client;

/* Let something happen, and print where the conversation waits now. */
static void advance(bool readable, bool overdue)
{
    bool goes_on = conversation_advance(&conversation, readable, overdue, &turn);

    printf(" -> %s", goes_on ? names[conversation.state] : "closed");
}

static void begin(const char *words)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0)
        err(1, "socketpair");
    client = ends[1];
    conversation_begin(&conversation, ends[0], &options, &turn);
    printf("%-47s %s", words, names[conversation.state]);
}

static void client_sends(const char *bytes)
{
    if (write(client, bytes, strlen(bytes)) < 0)
        err(1, "write");
    advance(true, false);
}

static void time_is_over(void)
{
    advance(false, true);
}

/* Ask again and again, until there is no room for another response; then read all of them. */
static void client_reads_late(void)
{
    static char answers[1 << 20];

    while (conversation.state != WRITING && write(client, fast, strlen(fast)) > 0)
        conversation_advance(&conversation, true, false, &turn);
    printf(" -> %s", names[conversation.state]);
    while (read(client, answers, sizeof answers) > 0)
        ;
    advance(false, false);
}

static void end(void)
{
    printf("\n");
    close(conversation.fd);
    close(client);
}

int main(void)
{
    turn = (struct turn){.now_ns = clock_now_ns(), .date = clock_date()};

    begin("asks for /fast:");
    client_sends(fast);
    end();

    begin("asks for /slow:");
    client_sends(slow);
    time_is_over();
    end();

    begin("sends half a request, then the other half:");
    client_sends("GET /fast HT");
    client_sends("TP/1.1\r\nHost: x\r\n\r\n");
    end();

    begin("sends half a request, and then nothing:");
    client_sends("GET /fast HT");
    time_is_over();
    end();

    begin("sends nothing:");
    time_is_over();
    end();

    begin("asks for /fast, and reads nothing for a while:");
    client_reads_late();
    end();
    return 0;
}
