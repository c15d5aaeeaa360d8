/* The conversation of blocking.h, cut wherever it would block. The blocking version keeps its state
 * in local variables and in the program counter; here, each conversation has a struct for it, and
 * says what it waits for. Nothing here waits, accepts, closes, watches or reads a clock:
 * connections.h does that, for the conversations with all clients. */
#ifndef COMMON_CONVERSATION_H
#define COMMON_CONVERSATION_H

#include "common/http.h"
#include "common/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* What a conversation waits for. */
enum state {
    IDLE,      /* for the first byte of a request */
    READING,   /* for the rest of its head */
    SLEEPING,  /* for the end of the delay */
    WORKING,   /* for a call that blocks, or computes, for as long as the delay */
    WRITING,   /* for room to send */
    LINGERING, /* for the client to close, after the last answer */
};

enum { STATES = LINGERING + 1 };

/* What we are waiting for on a descriptor: one thing at a time. */
enum want { WANT_NOTHING, WANT_READ, WANT_WRITE };

extern const enum want conversation_wants[STATES];

/* A turn of the loop: what is the same for all conversations. */
struct turn {
    int64_t now_ns;
    time_t date;
    bool draining; /* each response is the last one on its connection */
};

struct conversation {
    int fd;
    const struct options *options;
    enum state state;
    bool entered;     /* the state, since the caller last looked: the time in it counts from then */
    bool overdue;     /* the time in this state is over */
    int64_t begun_ns; /* when the first byte of the request arrived */
    struct http_request request;
    bool close;        /* after the response */
    size_t length;     /* of input; when lingering, of what has been discarded */
    size_t size, sent; /* of output */
    char output[HTTP_RESPONSE_MAX];
    char input[HTTP_HEAD_MAX]; /* last, so that the pages that are never written cost no memory */
};

/* Begin a conversation with the client at fd, a non-blocking socket. options must outlive it. */
void conversation_begin(struct conversation *c, int fd, const struct options *options,
                        const struct turn *turn);

/* Take the conversation as far as it can go without waiting. readable: something may have arrived
 * at fd. overdue: the time in the state is over (in WORKING: the work is done). Return false if the
 * conversation is over, and the caller may close fd; otherwise it waits for what the state says. */
bool conversation_advance(struct conversation *c, bool readable, bool overdue,
                          const struct turn *turn);

#endif
