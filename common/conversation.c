#include "common/conversation.h"

#include "common/log.h"
#include "common/net.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

const enum want conversation_wants[STATES] = {
    [IDLE] = WANT_READ,       [READING] = WANT_READ,  [SLEEPING] = WANT_NOTHING,
    [WORKING] = WANT_NOTHING, [WRITING] = WANT_WRITE, [LINGERING] = WANT_READ,
};

/* After a step: take the next one immediately, wait for what the state says, or close. */
enum outcome { GO_ON, WAIT, END };

/* Each step calls the one that follows it in time, which is further down. */
static enum outcome delay(struct conversation *c);
static enum outcome respond(struct conversation *c, const struct turn *turn);
static enum outcome answered(struct conversation *c, const struct turn *turn);

static void enter(struct conversation *c, enum state state)
{
    c->state = state;
    c->entered = true;
    c->overdue = false;
}

/* Return true if recv or send has failed for good. EAGAIN means "not now", EINTR "ask again". */
static bool is_fatal(int error)
{
    return error != EAGAIN && error != EINTR;
}

static enum outcome receive(struct conversation *c, const struct turn *turn)
{
    ssize_t n = recv(c->fd, c->input + c->length, sizeof c->input - c->length, 0);

    if (n == 0 || (n < 0 && is_fatal(errno)))
        return END;
    if (n > 0) {
        c->length += (size_t)n;
        if (c->state == IDLE)
            c->begun_ns = turn->now_ns;
    }
    return GO_ON;
}

/* Parse what has arrived, then receive more, but only once for each event: a client that never
 * stops sending must not keep us from the others. */
static enum outcome read_head(struct conversation *c, bool *readable, const struct turn *turn)
{
    if (c->length > 0 && http_parse(&c->request, c->input, c->length))
        return http_is_slow(&c->request) ? delay(c) : respond(c, turn);
    if (c->state == IDLE && http_begun(&c->request))
        enter(c, READING);
    if (*readable) {
        *readable = false;
        return receive(c, turn);
    }
    if (c->state == IDLE)
        return turn->draining || c->overdue ? END : WAIT;
    if (!c->overdue)
        return WAIT;
    http_time_out(&c->request);
    return respond(c, turn);
}

/* /slow. The caller waits, or has the work done: in a thread, or in the loop, where all clients
 * then wait for it. */
static enum outcome delay(struct conversation *c)
{
    enter(c, c->options->block || c->options->compute ? WORKING : SLEEPING);
    return WAIT;
}

static enum outcome write_response(struct conversation *c, const struct turn *turn)
{
    ssize_t n = send(c->fd, c->output + c->sent, c->size - c->sent, MSG_NOSIGNAL);

    if (n < 0 && is_fatal(errno))
        return END;
    if (n > 0)
        c->sent += (size_t)n;
    if (c->sent == c->size)
        return answered(c, turn);
    if (c->state != WRITING)
        enter(c, WRITING);
    return c->overdue ? END : WAIT;
}

static enum outcome respond(struct conversation *c, const struct turn *turn)
{
    static char date[HTTP_DATE_SIZE];
    static time_t dated;

    if (turn->date != dated) { /* at most once a second */
        http_date(date, turn->date);
        dated = turn->date;
    }
    c->close = turn->draining || !c->request.keep_alive;
    c->size = http_respond(c->output, &c->request, c->options->name, date, !c->close);
    c->sent = 0;
    return write_response(c, turn); /* usually the kernel has room for all of it */
}

/* Give the client some time to close its half of the connection. */
static enum outcome discard_input(struct conversation *c)
{
    ssize_t n = recv(c->fd, c->input, sizeof c->input, 0);

    if (n == 0 || (n < 0 && is_fatal(errno)) || c->overdue)
        return END;
    if (n > 0)
        c->length += (size_t)n;
    return c->length < NET_LINGER_BYTES ? WAIT : END;
}

/* The response has been sent: go on with the next request, or close. */
static enum outcome answered(struct conversation *c, const struct turn *turn)
{
    if (c->options->verbose)
        log_request(c->fd, c->input + c->request.start, c->length - c->request.start,
                    c->request.status, turn->now_ns - c->begun_ns);

    c->length -= c->request.length; /* what is left belongs to the next request (pipelining) */
    memmove(c->input, c->input + c->request.length, c->length);
    if (!c->close) {
        c->request = (struct http_request){0};
        c->begun_ns = turn->now_ns;
        enter(c, IDLE);
        return c->length > 0 || turn->draining ? GO_ON : WAIT;
    }
    if (!net_linger(c->fd, &c->request, c->length))
        return END;
    c->length = 0;
    enter(c, LINGERING);
    return WAIT;
}

void conversation_begin(struct conversation *c, int fd, const struct options *options,
                        const struct turn *turn)
{
    memset(c, 0, offsetof(struct conversation, output));
    c->fd = fd;
    c->options = options;
    c->begun_ns = turn->now_ns;
    enter(c, IDLE);
}

bool conversation_advance(struct conversation *c, bool readable, bool overdue,
                          const struct turn *turn)
{
    enum outcome outcome = GO_ON;

    c->overdue = overdue;
    while (outcome == GO_ON)
        switch (c->state) {
        case IDLE:
        case READING:
            outcome = read_head(c, &readable, turn);
            break;
        case SLEEPING:
        case WORKING:
            outcome = c->overdue ? respond(c, turn) : WAIT;
            break;
        case WRITING:
            outcome = write_response(c, turn);
            break;
        case LINGERING:
            outcome = discard_input(c);
            break;
        }
    return outcome == WAIT;
}
