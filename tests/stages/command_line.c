/* Options, the lines that a server prints, and the address that it listens on. */
#include "tests/stages/subject.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(bad_option_is_named)
{
    static char *const cases[][3] = {
        {"--port", "70000"},
        {"--port", "x"},
        {"--port", "-1"},
        {"--port", ""},
        {"--delay", "-1"},
        {"--delay", "nan"},
        {"--delay", "1x"},
        {"--delay", ""},
        {"--delay", "1e9"},
        {"--delay", "inf"},
        {"--delay", " 1"},
        {"--delay", "."},
        {"--timeout", "0"},
        {"--timeout", "x"},
        {"--host", "300.1.1.1"},
        {"--host", ""},
        {"--host", "no.such"},
        {"--nonsense"},
        {"extra"},
        {"--port"},
        {"--delay", "99999"},
        {"--port", "99999999"},
        {"--timeout", "0.00001"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++, teardown()) {
        const char *option = cases[i][0], *value = cases[i][1] ? cases[i][1] : "";
        spawn(_i, cases[i]);
        wait_for_end();
        const char *text = written(server.log);
        EXPECT(WIFEXITED(server.status) && WEXITSTATUS(server.status) == 2, "accepts %s \"%s\"",
               option, value);
        EXPECT(strstr(text, option) && strstr(text, value), "does not name %s \"%s\"", option,
               value);
        EXPECT(strchr(text, '\n') == strrchr(text, '\n'), "more than one line");
        EXPECT(*written(server.out) == '\0', "listens nevertheless");
    }
}
END_TEST

START_TEST(help_and_version_are_printed)
{
    spawn(_i, (char *[]){"--help", NULL});
    expect_exit(0);
    EXPECT(strstr(written(server.out), "--delay SECONDS") != NULL, "prints no help");
    teardown();
    spawn(_i, (char *[]){"--version", NULL});
    expect_exit(0);
    EXPECT(strncmp(written(server.out), stage, strlen(stage)) == 0, "prints no version");
}
END_TEST

START_TEST(port_in_use_is_an_error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char port[16];

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 1) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    snprintf(port, sizeof port, "%d", ntohs(address.sin_port));
    spawn(_i, (char *[]){"--port", port, NULL});
    expect_exit(1);
    EXPECT(strstr(written(server.log), port) != NULL, "does not name the port");
    /* glibc says "Address already in use", musl "Address in use" */
    EXPECT(strstr(written(server.log), ": Address ") && strstr(written(server.log), " in use\n"),
           "does not name the reason");
}
END_TEST

START_TEST(server_listens_on_ipv6)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return; /* no IPv6 here */
    close(fd);
    spawn(_i, (char *[]){"--port", "0", "--host", "::1", NULL});
    expect_listening("[::1]");
    address.sin6_port = htons((uint16_t)server.port);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect: %m");
    say(fd, GET_FAST_CLOSE);
    expect_close(fd, expect_fast(fd));
}
END_TEST

START_TEST(verbose_logs_one_line_per_response)
{
    static const struct {
        const char *request, *line;
    } cases[] = {
        {GET_FAST, "\"GET /fast HTTP/1.1\" 200 "},
        {"\r\n" GET_SLOW, "\"GET /slow HTTP/1.1\" 200 "},
        {REQUEST("POST", "/fast", ""), "\"POST /fast HTTP/1.1\" 405 "},
        {"GET /\x1b[31m\x07\xff HTTP/1.1\r\n\r\n", "\"GET /?"}, /* it would turn a terminal red */
        {"\x7f\x80\n", "\"?"},
        /* it would look like another status and duration */
        {"GET /fast HTTP/1.1\" 200 0.012 ms\r\n\r\n",
         "\"GET /fast HTTP/1.1\\\" 200 0.012 ms\" 400 "},
        {"GET /\\\"200 HTTP/1.1\r\nHost: h\r\n\r\n", "\"GET /\\\\\\\"200 HTTP/1.1\" 404 "},
    };
    char wanted[128];
    int ports[LENGTH(cases)];
    size_t n = 0;

    START("--delay", "0.05", "--verbose");
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct sockaddr_in address = {0};
        socklen_t size = sizeof address;
        size_t before = strlen(written(server.log));
        int fd = dial_and_say(cases[i].request);
        read_response(fd, true);
        WAIT_UNTIL(strchr(written(server.log) + before, '\n') != NULL, "logs no line");
        getsockname(fd, (struct sockaddr *)&address, &size);
        ports[i] = ntohs(address.sin_port);
        close(fd);
    }
    send_signal(SIGTERM);
    expect_exit(0);
    const char *line = written(server.log), *end;
    for (; (end = strchr(line, '\n')) != NULL && n < LENGTH(cases); line = end + 1, n++) {
        snprintf(wanted, sizeof wanted, " 127.0.0.1:%d %s", ports[n], cases[n].line);
        const char *found = strstr(line, wanted);
        EXPECT(found != NULL && found < end, "no \"%s\"", wanted);
        for (const char *c = line; c < end; c++)
            EXPECT(*c >= ' ' && *c <= '~', "byte %#x reaches the terminal", (unsigned char)*c);
    }
    EXPECT(n == LENGTH(cases) && *line == '\0', "not exactly one line for each of %zu responses",
           LENGTH(cases));
}
END_TEST

START_TEST(verbose_outlives_the_reader_of_its_log)
{
    int ends[2];

    EXPECT(pipe2(ends, O_CLOEXEC) == 0, "pipe: %m");
    close(ends[0]);
    server.stderr_to = ends[1];
    START("--verbose");
    for (int i = 0; i < 3; i++) {
        int fd = dial_and_say(GET_FAST_CLOSE);
        expect_close(fd, expect_fast(fd));
    }
    close(ends[1]);
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

/* The log has reached the largest size that a file may have (setrlimit(2), RLIMIT_FSIZE). */
START_TEST(verbose_outlives_a_file_that_is_full)
{
    struct rlimit before, small = {300, 300};

    getrlimit(RLIMIT_FSIZE, &before);
    START("--verbose");
    EXPECT(prlimit(server.pid, RLIMIT_FSIZE, &small, NULL) == 0, "prlimit: %m");
    for (int i = 0; i < 10; i++)
        expect_served();
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

/* Without a stderr, the first socket would get its number, and the log would go to a client. */
START_TEST(log_never_reaches_a_client)
{
    server.closed[0] = server.closed[2] = true;
    START("--verbose");
    for (int i = 0; i < 3; i++) {
        int fd = dial_and_say(GET_FAST_CLOSE);
        expect_close(fd, expect_fast(fd));
    }
    int fd = dial_and_say(GET_FAST);
    expect_fast(fd);
    pause_s(0.05);
    EXPECT(silent(fd) || _i == BLOCKING, "something follows the response");
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

/* The listener must not become descriptor 1, to which the server says where it listens. */
START_TEST(server_without_stdout_listens)
{
    server.closed[1] = true;
    spawn(_i, (char *[]){"--port", "0", NULL});
    WAIT_UNTIL(descriptors() > 3, "opens no socket");
    expect_asleep();
    pause_s(0.2); /* let it announce where it listens; the test also holds if it has not */
    EXPECT(!has_ended(), "does not run without stdout");
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

void command_line_tests(void)
{
    begin_subject("command_line");
    add_test(bad_option_is_named, BLOCKING, LIBEV);
    add_test(help_and_version_are_printed, BLOCKING, LIBEV);
    add_test(port_in_use_is_an_error, BLOCKING, LIBEV);
    add_test(server_listens_on_ipv6, BLOCKING, LIBEV);
    add_test(verbose_logs_one_line_per_response, BLOCKING, LIBEV);
    add_test(verbose_outlives_the_reader_of_its_log, BLOCKING, LIBEV);
    add_test(verbose_outlives_a_file_that_is_full, BLOCKING, LIBEV);
    add_test(log_never_reaches_a_client, BLOCKING, LIBEV);
    add_test(server_without_stdout_listens, BLOCKING, LIBEV);
}
