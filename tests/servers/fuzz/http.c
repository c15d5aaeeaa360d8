/* Fuzz the parser and the formatter. The input is sent by a client. It must mean the same in
 * whatever pieces it arrives, the result must agree with the bytes, and the response must be
 * well-formed. */
#include "common/http.h"

#include <assert.h>
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum split { WHOLE, BYTES, PIECES };

static uint32_t hash(const char *bytes, size_t length)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)bytes[i]) * 16777619u;
    return h;
}

static bool is_status(int status, const char *list)
{
    char text[8];

    snprintf(text, sizeof text, "%d ", status);
    return strstr(list, text) != NULL;
}

/* Parse as a server would. ASan reports an access to bytes that have not arrived. Return how many
 * bytes had arrived when the status was known, or 0 if it is not known yet. */
static size_t parse(struct http_request *r, char *bytes, size_t size, enum split split)
{
    uint32_t random = hash(bytes, size);
    size_t arrived = 0;
    bool done = false;

    memset(r, 0, sizeof *r);
    ASAN_POISON_MEMORY_REGION(bytes, size);
    while (!done && arrived < size) {
        size_t left = size - arrived, piece = 1;
        if (split == PIECES) {
            random = random * 1664525u + 1013904223u;
            piece = 1 + (random >> 16) % ((random >> 8) % 3 == 0 ? 3 : 600);
        }
        arrived += split == WHOLE || piece > left ? left : piece;
        ASAN_UNPOISON_MEMORY_REGION(bytes, arrived);
        done = http_parse(r, bytes, arrived);
        assert(done == (r->status != 0));
        assert(r->start <= r->length && r->length <= arrived);
    }
    ASAN_UNPOISON_MEMORY_REGION(bytes, size);
    return done ? arrived : 0;
}

static void check_same(const struct http_request *a, const struct http_request *b)
{
    assert(a->status == b->status);
    assert(a->method == b->method);
    assert(a->route == b->route);
    assert(a->keep_alive == b->keep_alive);
    assert(a->has_body == b->has_body);
    assert(a->start == b->start);
    assert(a->length == b->length);
    assert(a->minor == b->minor);
}

/* Check the result against the bytes, in ways that the parser does not use. */
static void check_result(const struct http_request *r, const char *bytes, size_t size)
{
    const char *line = bytes + r->start;
    bool served = r->method == HTTP_GET || r->method == HTTP_HEAD;

    /* at most four empty lines are skipped */
    assert(r->start % 2 == 0 && r->start <= (r->status == 400 ? 10 : 8));
    for (size_t i = 0; i < r->start; i++)
        assert(bytes[i] == "\r\n"[i % 2]);
    assert(r->length <= HTTP_HEAD_MAX);
    assert(is_status(r->status, "200 400 404 405 414 431 501 505 "));
    if (r->keep_alive)
        assert(!r->has_body && !is_status(r->status, "400 414 431 505 "));

    if (is_status(r->status, "414 431 ")) {
        assert(size >= HTTP_HEAD_MAX);
        bool one_line = memmem(line, HTTP_HEAD_MAX - r->start, "\r\n", 2) == NULL;
        assert(one_line == (r->status == 414));
    } else if (r->status != 400) {
        assert(memcmp(bytes + r->length - 4, "\r\n\r\n", 4) == 0);
        assert(memmem(line, r->length - r->start - 1, "\r\n\r\n", 4) == NULL);
        for (size_t i = r->start; i < r->length; i++) {
            unsigned char byte = (unsigned char)bytes[i];
            if (byte == '\r' || byte == '\n')
                assert(bytes[byte == '\r' ? i + 1 : i - 1] == (byte == '\r' ? '\n' : '\r'));
            else
                assert((byte >= ' ' && byte != 0x7f) || byte == '\t');
        }
        const char *version = memmem(line, r->length - r->start, " HTTP/", 6);
        assert(version != NULL);
        assert((version[6] == '1') == (r->status != 505));
    }
    if (r->status == 200) {
        const char *path = r->route == HTTP_FAST ? "/fast" : "/slow";
        assert(r->route != HTTP_NOWHERE && served);
        assert(memcmp(line, r->method == HTTP_GET ? "GET " : "HEAD ", 4) == 0);
        assert(memmem(line, r->length - r->start, path, 5) != NULL);
    }
    if (r->status == 404)
        assert(r->route == HTTP_NOWHERE && r->method != HTTP_OTHER);
    if (r->status == 405)
        assert(r->route != HTTP_NOWHERE && r->method != HTTP_OTHER && !served);
}

static void check_response(const struct http_request *r, bool keep_alive)
{
    char *out = malloc(HTTP_RESPONSE_MAX), date[HTTP_DATE_SIZE], begin[32];
    assert(out != NULL);
    http_date(date, 784111777);
    size_t size = http_respond(out, r, "02-threaded", date, keep_alive);
    assert(size <= HTTP_RESPONSE_MAX);

    const char *head_end = memmem(out, size, "\r\n\r\n", 4);
    assert(head_end != NULL);
    size_t head = (size_t)(head_end - out) + 4;
    char *text = strndup(out, head); /* terminated, for strstr */
    assert(text != NULL && strlen(text) == head);

    snprintf(begin, sizeof begin, "HTTP/1.1 %d ", r->status);
    assert(strncmp(text, begin, strlen(begin)) == 0);
    const char *content_length = strstr(text, "\r\nContent-Length: ");
    assert(content_length != NULL);
    long length = strtol(content_length + 18, NULL, 10);
    assert(length > 0);
    assert(size - head == (r->method == HTTP_HEAD ? 0 : (size_t)length));
    assert(strstr(text, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL);
    assert((strstr(text, "\r\nConnection: close\r\n") != NULL) == !keep_alive);
    assert((strstr(text, "\r\nConnection: keep-alive\r\n") != NULL) ==
           (keep_alive && r->minor == 0));
    assert((strstr(text, "\r\nAllow: GET, HEAD\r\n") != NULL) == (r->status == 405));
    free(text);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request whole, other;

    if (size == 0)
        return 0;
    char *bytes = malloc(size);
    assert(bytes != NULL);
    memcpy(bytes, data, size);

    bool done = parse(&whole, bytes, size, WHOLE) > 0;
    size_t known_at = parse(&other, bytes, size, BYTES);
    check_same(&whole, &other);
    assert((known_at > 0) == done);
    bool done_in_pieces = parse(&other, bytes, size, PIECES) > 0;
    assert(done_in_pieces == done);
    check_same(&whole, &other);

    if (done) {
        /* known at the first possible byte, and changed neither by later bytes nor by another call
         */
        assert(known_at == (is_status(whole.status, "414 431 ") ? HTTP_HEAD_MAX : whole.length));
        bool still = http_parse(&other, bytes, size);
        assert(still);
        check_same(&whole, &other);
        check_result(&whole, bytes, size);
        check_response(&whole, whole.keep_alive);
    } else {
        assert(size < HTTP_HEAD_MAX && !whole.keep_alive);
        assert(whole.length == size - (bytes[size - 1] == '\r'));
        assert(http_begun(&whole) == (whole.length > whole.start));
        http_time_out(&whole);
        assert(whole.status == 408);
    }
    check_response(&whole, false);
    free(bytes);
    return 0;
}
