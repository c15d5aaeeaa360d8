/* The C library of the simulation: as much of glibc as the six servers and libev use.
 *
 * The servers are compiled for WebAssembly with the headers of the system's own C library, so this
 * file defines what those headers declare. It does what glibc does: it turns calls into system
 * calls, and what they return into errno. The system calls are imports, and the simulated kernel
 * (kernel.mjs, process.mjs) implements them. As in Linux, a system call returns a negative error
 * number. Times cross this border as a double, in nanoseconds, so that JavaScript needs no BigInt.
 *
 * Not here: locales, time zones, IPv6, buffering of stdout (each printf is one write). */
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the system calls */

#define FROM(module, name) __attribute__((import_module(#module), import_name(#name))) name

/* A thread may be suspended inside these. */
int FROM(kernel, sys_openat)(const char *path, int flags);
int FROM(kernel, sys_fcntl)(int fd, int command, int argument);
int FROM(kernel, sys_setsockopt)(int fd, int level, int name, int value);
int FROM(kernel, sys_socket_timeout)(int fd, int name, double ns);
int FROM(kernel, sys_getsockname)(int fd, void *address);
int FROM(kernel, sys_getpeername)(int fd, void *address);
int FROM(kernel, sys_pselect6)(int nfds, void *r, void *w, void *x, double ns, const void *mask);
int FROM(kernel, sys_ppoll)(struct pollfd *fds, int count, double ns, const void *mask);
int FROM(kernel, sys_rt_sigaction)(int number, int handler, int flags, const void *mask);
int FROM(kernel, sys_clock_nanosleep)(int clock, int flags, double ns);
int FROM(kernel, sys_compute)(void);
int FROM(kernel, sys_futex_wait)(int *at, int value, int kind);
int FROM(kernel, sys_futex_wake)(int *at, int most);
int FROM(kernel, sys_clone)(void *(*run)(void *), void *argument, void *stack, int size);
int FROM(kernel, sys_setrlimit)(int resource, unsigned soft);
int FROM(kernel, sys_unsupported)(const char *name);
_Noreturn void FROM(kernel, sys_exit_group)(int status);

/* A function of the C library that passes its arguments on as they are (all are 32 bits wide) */
#define CALL(type, function, name, parameters, arguments)                                          \
    type FROM(kernel, sys_##name) parameters;                                                      \
    type function parameters                                                                       \
    {                                                                                              \
        return returned(sys_##name arguments);                                                     \
    }

/* One whose answer is always the same here */
#define ALWAYS(type, function, parameters, value)                                                  \
    type function parameters                                                                       \
    {                                                                                              \
        return value;                                                                              \
    }

/* These return immediately. */
double FROM(clock, clock_ns)(int clock);
unsigned FROM(clock, get_rlimit)(int resource);
int FROM(clock, error_text)(int number, char *to, int most);
unsigned FROM(clock, get_thread)(void);

/* errno of the thread that runs: the kernel swaps it when it switches threads */
static int error_number;

int *__errno_location(void)
{
    return &error_number;
}

/* Return what a C function returns for the result of a system call. */
static int returned(int result)
{
    if (result >= 0)
        return result;
    error_number = -result;
    return -1;
}

/* A call that the simulation has not: the kernel stops the server, and says so. */
static int unsupported(const char *name)
{
    return returned(sys_unsupported(name));
}

/* ---- start and end, and what the kernel needs to know of the program */

/* Pointers to functions are small numbers, from 1 on, and SIG_IGN is 1. So a function that nobody
 * calls gets that number: this file is linked first, and this is its first such pointer. */
static void nobody_calls(void)
{
}

void (*sim_first_pointer(void))(void)
{
    return nobody_calls;
}

char *program_invocation_short_name = "server";
char *program_invocation_name = "server";
extern int __main_argc_argv(int argc, char **argv);

/* The command line: the kernel writes it here, each word followed by NUL. */
enum { WORDS = 64 };
static char words[4096];

char *sim_words(void)
{
    return words;
}

int *sim_errno(void)
{
    return &error_number;
}

int sim_main(int count)
{
    static char *argv[WORDS + 1];
    char *word = words;

    for (int i = 0; i < count && i < WORDS; i++, word += strlen(word) + 1)
        argv[i] = word;
    program_invocation_name = program_invocation_short_name = argv[0];
    return __main_argc_argv(count, argv);
}

void sim_handle(void (*handler)(int), int number)
{
    handler(number);
}

int sim_thread(void *(*run)(void *), void *argument)
{
    run(argument);
    return 0;
}

void exit(int status)
{
    sys_exit_group(status);
}

void _exit(int status)
{
    sys_exit_group(status);
}

void abort(void)
{
    __builtin_trap();
}

void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    fprintf(stderr, "%s: %s:%u: %s: Assertion `%s' failed.\n", program_invocation_short_name, file,
            line, function, assertion);
    __builtin_trap();
}

/* ---- memory: a free list for each size, and sizes that grow by an eighth. Nothing is merged. */

enum { SIZES = 160, SMALLEST = 16 };

struct block {
    size_t size_class;
    struct block *next; /* free ones only: memory begins here */
};

extern char __heap_base;
static struct block *free_blocks[SIZES];
static char *heap, *heap_end;
int sim_malloc_failures; /* how many more times malloc fails, unless memory is freed before */

static size_t size_of_class(size_t c)
{
    static size_t sizes[SIZES];

    if (sizes[0] == 0) {
        sizes[0] = SMALLEST;
        for (size_t i = 1; i < SIZES; i++)
            sizes[i] = (sizes[i - 1] + sizes[i - 1] / 8 + 15) & ~(size_t)15;
    }
    return sizes[c];
}

static size_t class_for(size_t size)
{
    size_t least = 0, most = SIZES - 1;

    while (least < most) {
        size_t middle = (least + most) / 2;
        if (size_of_class(middle) >= size)
            most = middle;
        else
            least = middle + 1;
    }
    return least;
}

/* Take memory from the end of the heap. If there is none left, let the heap grow by a half: for the
 * engine, growing costs about the same whatever the size. */
static struct block *more(size_t size)
{
    enum { PAGE = 65536 };

    if (heap == NULL)
        heap = heap_end = (char *)(((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15);
    if (heap == heap_end)
        heap_end = (char *)(__builtin_wasm_memory_size(0) * PAGE);
    if ((size_t)(heap_end - heap) < size) {
        size_t pages = size / PAGE + 16 + __builtin_wasm_memory_size(0) / 2;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1)
            return NULL;
        heap_end = (char *)(__builtin_wasm_memory_size(0) * PAGE);
    }
    struct block *block = (struct block *)heap;
    heap += size;
    return block;
}

enum { HEADER = 16 }; /* before the memory, which is aligned to 16 bytes */

void *malloc(size_t size)
{
    size_t c = class_for(size + (size == 0));

    if (sim_malloc_failures > 0 || size > size_of_class(SIZES - 1)) {
        sim_malloc_failures -= sim_malloc_failures > 0;
        error_number = ENOMEM;
        return NULL;
    }
    struct block *block = free_blocks[c];
    if (block != NULL)
        free_blocks[c] = block->next;
    else if ((block = more(HEADER + size_of_class(c))) == NULL) {
        error_number = ENOMEM;
        return NULL;
    }
    block->size_class = c;
    return (char *)block + HEADER;
}

static struct block *block_of(void *memory)
{
    return (struct block *)((char *)memory - HEADER);
}

void free(void *memory)
{
    if (memory == NULL)
        return;
    sim_malloc_failures = 0;
    struct block *block = block_of(memory);
    block->next = free_blocks[block->size_class];
    free_blocks[block->size_class] = block;
}

void *realloc(void *old, size_t size)
{
    size_t had = old == NULL ? 0 : size_of_class(block_of(old)->size_class);

    if (old != NULL && size <= had)
        return old;
    void *memory = malloc(size);
    if (memory != NULL && old != NULL) {
        memcpy(memory, old, had);
        free(old);
    }
    return memory;
}

void *reallocarray(void *old, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        error_number = ENOMEM;
        return NULL;
    }
    return realloc(old, count * size);
}

void *calloc(size_t count, size_t size)
{
    void *memory = reallocarray(NULL, count, size);
    return memory == NULL ? NULL : memset(memory, 0, count * size);
}

/* ---- bytes and text. Each loop is written so that the compiler does not turn it into a call of
 * the very function that it is in (-fno-builtin, too). */

void *memset(void *to, int byte, size_t size)
{
    unsigned char *at = to;

    for (; size >= 8 && ((uintptr_t)at & 7) == 0; at += 8, size -= 8)
        *(uint64_t *)at = (unsigned char)byte * 0x0101010101010101u;
    while (size-- > 0)
        *at++ = (unsigned char)byte;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    unsigned char *at = to;
    const unsigned char *in = from;

    while (size-- > 0)
        *at++ = *in++;
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    unsigned char *at = to;
    const unsigned char *in = from;

    if (at <= in)
        return memcpy(to, from, size);
    while (size-- > 0)
        at[size] = in[size];
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *x = a, *y = b;

    for (; size > 0; size--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *memchr(const void *in, int byte, size_t size)
{
    for (const unsigned char *at = in; size > 0; size--, at++)
        if (*at == (unsigned char)byte)
            return (void *)at;
    return NULL;
}

size_t strlen(const char *text)
{
    const char *end = text;

    while (*end != '\0')
        end++;
    return (size_t)(end - text);
}

int strncmp(const char *a, const char *b, size_t most)
{
    for (; most > 0; most--, a++, b++)
        if (*a != *b || *a == '\0')
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *text, int byte)
{
    for (;; text++) {
        if (*text == (char)byte)
            return (char *)text;
        if (*text == '\0')
            return NULL;
    }
}

char *strrchr(const char *text, int byte)
{
    const char *found = NULL;

    do
        if (*text == (char)byte)
            found = text;
    while (*text++ != '\0');
    return (char *)found;
}

size_t strspn(const char *text, const char *accepted)
{
    size_t n = 0;

    while (text[n] != '\0' && strchr(accepted, text[n]) != NULL)
        n++;
    return n;
}

size_t strcspn(const char *text, const char *rejected)
{
    size_t n = 0;

    while (text[n] != '\0' && strchr(rejected, text[n]) == NULL)
        n++;
    return n;
}

static bool is_blank(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* The table behind isprint and its like, for the characters of ASCII (ctype.h). */
const unsigned short **__ctype_b_loc(void)
{
    static unsigned short classes[384];
    static const unsigned short *table;

    for (int c = 0; table == NULL && c < 128; c++) {
        bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
        bool digit = c >= '0' && c <= '9', print = c >= ' ' && c <= '~';
        int letter = c | 0x20;
        classes[128 + c] =
            (unsigned short)((upper ? _ISupper : 0) | (lower ? _ISlower : 0) |
                             (upper || lower ? _ISalpha | _ISalnum : 0) |
                             (digit ? _ISdigit | _ISalnum | _ISxdigit : 0) |
                             (letter >= 'a' && letter <= 'f' ? _ISxdigit : 0) |
                             (is_blank((char)c) ? _ISspace : 0) | (print ? _ISprint : _IScntrl) |
                             (print && c != ' ' ? _ISgraph : 0) |
                             (print && !upper && !lower && !digit && c != ' ' ? _ISpunct : 0));
    }
    table = classes + 128;
    return &table;
}

/* ---- numbers in text */

long strtol(const char *text, char **end, int base)
{
    const char *at = text;
    bool negative = false;
    long value = 0;

    while (is_blank(*at))
        at++;
    if (*at == '-' || *at == '+')
        negative = *at++ == '-';
    const char *digits = at;
    for (;; at++) {
        int digit = *at >= '0' && *at <= '9'                 ? *at - '0'
                    : (*at | 32) >= 'a' && (*at | 32) <= 'z' ? (*at | 32) - 'a' + 10
                                                             : base;
        if (digit >= base)
            break;
        value = value > (INT32_MAX - digit) / base ? INT32_MAX : value * base + digit;
    }
    if (end != NULL)
        *end = (char *)(at == digits ? text : at);
    return negative ? -value : value;
}

int atoi(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

/* Digits, a point, digits. Exact to the last bit as long as the digits make an integer below 2^53
 * and no more than 22 of them follow the point. */
double strtod(const char *text, char **end)
{
    double value = 0, scale = 1;
    bool point = false, digits = false;
    const char *at = text;

    for (;; at++) {
        if (*at == '.' && !point) {
            point = true;
        } else if (*at >= '0' && *at <= '9') {
            digits = true;
            value = value * 10 + (*at - '0');
            if (point)
                scale *= 10;
        } else {
            break;
        }
    }
    if (end != NULL)
        *end = (char *)(digits ? at : text);
    return digits ? value / scale : 0;
}

/* ---- formatted output */

struct output {
    char *at, *end; /* where the next byte goes; one after the last that there is room for */
    size_t length;  /* of everything, also of what there was no room for */
};

static void put(struct output *out, char byte)
{
    if (out->at < out->end)
        *out->at++ = byte;
    out->length++;
}

static void put_padded(struct output *out, const char *text, size_t length, int width, bool left,
                       char padding)
{
    int blanks = width - (int)length;

    for (; !left && blanks > 0; blanks--)
        put(out, padding);
    while (length-- > 0)
        put(out, *text++);
    for (; left && blanks > 0; blanks--)
        put(out, ' ');
}

/* Write a number backwards, before end. Return where it begins. */
static char *digits_before(char *end, uint64_t value, unsigned base)
{
    do
        *--end = "0123456789abcdef"[value % base];
    while ((value /= base) > 0);
    return end;
}

static void put_number(struct output *out, bool negative, uint64_t value, unsigned base, int width,
                       bool left, char padding)
{
    char text[32], *end = text + sizeof text, *at = digits_before(end, value, base);

    if (negative)
        *--at = '-';
    put_padded(out, at, (size_t)(end - at), width, left, padding);
}

static void put_double(struct output *out, double value, int precision, int width)
{
    char text[64], *end = text + sizeof text, *at = end;
    bool negative = value < 0;
    double scale = 1;

    for (int i = 0; i < precision; i++)
        scale *= 10;
    uint64_t scaled = (uint64_t)((negative ? -value : value) * scale + 0.5);
    for (int i = 0; i < precision; i++, scaled /= 10)
        *--at = (char)('0' + scaled % 10);
    if (precision > 0)
        *--at = '.';
    at = digits_before(at, scaled, 10);
    if (negative)
        *--at = '-';
    put_padded(out, at, (size_t)(end - at), width, false, ' ');
}

/* Format as printf does: %d %u %x %c %s %p %f %g (as %f) and %%, with -, 0, a width, a precision, *
 * and the lengths l, ll and z. */
static void format(struct output *out, const char *text, va_list args)
{
    for (; *text != '\0'; text++) {
        if (*text != '%') {
            put(out, *text);
            continue;
        }
        bool left = false;
        char padding = ' ';
        for (text++; *text == '-' || *text == '0'; text++) {
            left |= *text == '-';
            padding = *text == '0' ? '0' : padding;
        }
        int width = 0, precision = -1, longs = 0;
        if (*text == '*')
            width = va_arg(args, int), text++;
        else
            width = (int)strtol(text, (char **)&text, 10);
        if (*text == '.' && *++text == '*')
            precision = va_arg(args, int), text++;
        else if (text[-1] == '.')
            precision = (int)strtol(text, (char **)&text, 10);
        for (; *text == 'l' || *text == 'z'; text++)
            longs += *text == 'l';
        if (*text == 'd' || *text == 'i') {
            int64_t value = longs > 1 ? va_arg(args, int64_t) : va_arg(args, int);
            put_number(out, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width,
                       left, padding);
        } else if (*text == 'u' || *text == 'x' || *text == 'p') {
            uint64_t value = longs > 1 ? va_arg(args, uint64_t) : va_arg(args, unsigned);
            put_number(out, false, value, *text == 'u' ? 10 : 16, width, left, padding);
        } else if (*text == 'c') {
            put_padded(out, &(char){(char)va_arg(args, int)}, 1, width, left, ' ');
        } else if (*text == 's') {
            const char *value = va_arg(args, const char *);
            const char *end = precision < 0 ? NULL : memchr(value, '\0', (size_t)precision);
            size_t length = precision < 0 ? strlen(value)
                            : end != NULL ? (size_t)(end - value)
                                          : (size_t)precision;
            put_padded(out, value, length, width, left, ' ');
        } else if (*text == 'f' || *text == 'g') {
            put_double(out, va_arg(args, double), precision < 0 ? 6 : precision, width);
        } else {
            put(out, *text);
        }
    }
}

int vsnprintf(char *to, size_t size, const char *text, va_list args)
{
    struct output out = {to, to + (size > 0 ? size - 1 : 0), 0};

    format(&out, text, args);
    if (size > 0)
        *out.at = '\0';
    return (int)out.length;
}

int snprintf(char *to, size_t size, const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int length = vsnprintf(to, size, text, args);
    va_end(args);
    return length;
}

/* A stream is its descriptor. What is printed waits in a line of its own until the line ends, so
 * that a message is one write, as it is with glibc for a terminal. */
struct _IO_FILE out_stream = {._fileno = 1}, err_stream = {._fileno = 2};
FILE *stdout = &out_stream, *stderr = &err_stream;

static struct {
    char text[4096];
    size_t length;
} lines[3];

int fflush(FILE *stream)
{
    int fd = stream->_fileno, result = 0;

    if (lines[fd].length > 0)
        result = write(fd, lines[fd].text, lines[fd].length);
    lines[fd].length = 0;
    return result < 0 ? EOF : 0;
}

ALWAYS(int, setvbuf, (FILE *restrict stream, char *restrict buffer, int mode, size_t size), 0)

int vfprintf(FILE *stream, const char *text, va_list args)
{
    int fd = stream->_fileno;
    size_t room = sizeof lines[fd].text - lines[fd].length;
    int length = vsnprintf(lines[fd].text + lines[fd].length, room, text, args);

    lines[fd].length += (size_t)length < room ? (size_t)length : room - 1;
    if (lines[fd].length > 0 && lines[fd].text[lines[fd].length - 1] == '\n' && fd == 2)
        return fflush(stream) == 0 ? length : -1;
    return length;
}

int fprintf(FILE *stream, const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int length = vfprintf(stream, text, args);
    va_end(args);
    return length;
}

int printf(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int length = vfprintf(stdout, text, args);
    va_end(args);
    return length;
}

int fputc(int byte, FILE *stream)
{
    return fprintf(stream, "%c", byte) < 0 ? EOF : byte;
}

int fputs(const char *text, FILE *stream)
{
    return fprintf(stream, "%s", text);
}

int puts(const char *text)
{
    return printf("%s\n", text);
}

int putchar(int byte)
{
    return fputc(byte, stdout);
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream)
{
    fprintf(stream, "%.*s", (int)(size * count), (const char *)bytes);
    return count;
}

char *strerror(int number)
{
    static char text[64];

    text[error_text(number, text, sizeof text - 1)] = '\0';
    return text;
}

void perror(const char *text)
{
    fprintf(stderr, "%s: %s\n", text, strerror(error_number));
}

/* The messages of err.h: the name of the program, the text, and the error if there is one. */
static void say(int error, const char *text, va_list args)
{
    fprintf(stderr, "%s: ", program_invocation_short_name);
    if (text != NULL)
        vfprintf(stderr, text, args);
    if (error != 0)
        fprintf(stderr, "%s%s", text != NULL ? ": " : "", strerror(error));
    fprintf(stderr, "\n");
}

void vwarnx(const char *text, va_list args)
{
    say(0, text, args);
}

#define SAY(error)                                                                                 \
    va_list args;                                                                                  \
    va_start(args, text);                                                                          \
    say(error, text, args);                                                                        \
    va_end(args)

void warn(const char *text, ...)
{
    SAY(error_number);
}

void warnx(const char *text, ...)
{
    SAY(0);
}

void err(int status, const char *text, ...)
{
    SAY(error_number);
    exit(status);
}

void errx(int status, const char *text, ...)
{
    SAY(0);
    exit(status);
}

/* ---- the command line */

char *optarg;
int optind = 1, optopt, opterr = 1;

/* Return the option of that name, which ends at length, or NULL. As with glibc, the beginning of a
 * name will do if no other begins like that. */
static const struct option *find_option(const struct option *options, const char *name,
                                        size_t length)
{
    const struct option *found = NULL;

    for (const struct option *o = options; o->name != NULL; o++)
        if (strncmp(o->name, name, length) == 0) {
            if (o->name[length] == '\0')
                return o;
            if (found != NULL)
                return NULL;
            found = o;
        }
    return found;
}

/* Long options only; short_options is "+:" as far as it is looked at. */
int getopt_long(int argc, char *const *argv, const char *short_options,
                const struct option *options, int *index)
{
    if (optind >= argc || argv[optind][0] != '-' || argv[optind][1] == '\0')
        return -1;
    const char *word = argv[optind++];
    if (strcmp(word, "--") == 0)
        return -1;
    size_t length = strcspn(word + 2, "=");
    const struct option *o = word[1] == '-' ? find_option(options, word + 2, length) : NULL;
    bool joined = word[1] == '-' && word[2 + length] == '=';
    if (o == NULL || (joined && o->has_arg == no_argument))
        return '?';
    optarg = joined ? (char *)word + 2 + length + 1 : NULL;
    if (o->has_arg == required_argument && optarg == NULL) {
        if (optind >= argc)
            return ':';
        optarg = argv[optind++];
    }
    return o->val;
}

ALWAYS(char *, getenv, (const char *name), NULL)

/* ---- addresses: IPv4 alone */

static bool parse_ipv4(const char *text, uint32_t *address)
{
    *address = 0;
    for (int i = 0; i < 4; i++) {
        char *end;
        long byte = strtol(text, &end, 10);
        if (end == text || end - text > 3 || !(*text >= '0' && *text <= '9') || byte > 255 ||
            *end != (i < 3 ? '.' : '\0'))
            return false;
        *address = *address << 8 | (uint32_t)byte;
        text = end + 1;
    }
    return true;
}

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **result)
{
    struct {
        struct addrinfo info;
        struct sockaddr_in address;
    } * found;
    uint32_t address = 0;

    if (host != NULL && !parse_ipv4(host, &address))
        return EAI_NONAME;
    if ((found = calloc(1, sizeof *found)) == NULL)
        return EAI_MEMORY;
    found->address.sin_family = AF_INET;
    found->address.sin_addr.s_addr = __builtin_bswap32(address);
    found->address.sin_port =
        __builtin_bswap16((uint16_t)(port == NULL ? 0 : strtol(port, NULL, 10)));
    found->info.ai_family = AF_INET;
    found->info.ai_socktype = hints == NULL ? SOCK_STREAM : hints->ai_socktype;
    found->info.ai_addr = (struct sockaddr *)&found->address;
    found->info.ai_addrlen = sizeof found->address;
    *result = &found->info;
    return 0;
}

void freeaddrinfo(struct addrinfo *address)
{
    free(address);
}

const char *gai_strerror(int error)
{
    return error == EAI_NONAME ? "Name or service not known" : "Memory allocation failure";
}

int getnameinfo(const struct sockaddr *address, socklen_t size, char *host, socklen_t host_size,
                char *port, socklen_t port_size, int flags)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const unsigned char *byte = (const unsigned char *)&in->sin_addr;

    snprintf(host, host_size, "%d.%d.%d.%d", byte[0], byte[1], byte[2], byte[3]);
    snprintf(port, port_size, "%d", __builtin_bswap16(in->sin_port));
    return 0;
}

/* ---- time */

static struct timespec timespec_of(double ns)
{
    int64_t whole = (int64_t)ns;

    return (struct timespec){whole / 1000000000, (long)(whole % 1000000000)};
}

static double ns_of(const struct timespec *time)
{
    return (double)time->tv_sec * 1e9 + (double)time->tv_nsec;
}

static double ns_of_timeval(const struct timeval *time)
{
    return (double)time->tv_sec * 1e9 + (double)time->tv_usec * 1e3;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_PROCESS_CPUTIME_ID)
        sys_compute(); /* the one thing that takes a thread time, so that a computation ends */
    *time = timespec_of(clock_ns(clock));
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now = timespec_of(clock_ns(CLOCK_REALTIME));

    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *also)
{
    time_t now = timespec_of(clock_ns(CLOCK_REALTIME)).tv_sec;

    if (also != NULL)
        *also = now;
    return now;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    return -sys_clock_nanosleep(clock, flags, ns_of(time));
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    return returned(sys_clock_nanosleep(CLOCK_MONOTONIC, 0, ns_of(time)));
}

int usleep(useconds_t us)
{
    return returned(sys_clock_nanosleep(CLOCK_REALTIME, 0, us * 1e3));
}

unsigned sleep(unsigned seconds)
{
    return sys_clock_nanosleep(CLOCK_REALTIME, 0, seconds * 1e9) == 0 ? 0 : 1;
}

struct tm *gmtime_r(const time_t *restrict time, struct tm *restrict out)
{
    int64_t days = *time / 86400, second = *time % 86400;
    int64_t z = days + 719468, era = z / 146097, day = z % 146097; /* from 1 March of the year 0 */
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t of_year = day - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;

    *out = (struct tm){.tm_sec = (int)(second % 60),
                       .tm_min = (int)(second / 60 % 60),
                       .tm_hour = (int)(second / 3600),
                       .tm_mday = (int)(of_year - (153 * month + 2) / 5 + 1),
                       .tm_mon = (int)(month < 10 ? month + 2 : month - 10),
                       .tm_year = (int)(year + era * 400 + (month >= 10) - 1900),
                       .tm_wday = (int)((days + 4) % 7)};
    return out;
}

/* For the one format that log.c uses, "%FT%TZ". */
size_t strftime(char *restrict to, size_t size, const char *restrict text,
                const struct tm *restrict t)
{
    return (size_t)snprintf(to, size, "%04d-%02d-%02dT%02d:%02d:%02dZ", t->tm_year + 1900,
                            t->tm_mon + 1, t->tm_mday, t->tm_hour, t->tm_min, t->tm_sec);
}

/* ---- files and sockets */

CALL(int, socket, socket, (int domain, int type, int protocol), (domain, type, protocol))
CALL(int, bind, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
CALL(int, listen, listen, (int fd, int backlog), (fd, backlog))
CALL(int, accept4, accept4,
     (int fd, struct sockaddr *restrict address, socklen_t *restrict size, int flags),
     (fd, address, size, flags))

int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict size)
{
    return returned(sys_accept4(fd, address, size, 0));
}

CALL(ssize_t, recv, recvfrom, (int fd, void *bytes, size_t size, int flags),
     (fd, bytes, size, flags))
CALL(ssize_t, send, sendto, (int fd, const void *bytes, size_t size, int flags),
     (fd, bytes, size, flags))

int open(const char *path, int flags, ...)
{
    return returned(sys_openat(path, flags));
}

CALL(ssize_t, read, read, (int fd, void *bytes, size_t size), (fd, bytes, size))
CALL(ssize_t, write, write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
CALL(int, close, close, (int fd), (fd))
CALL(int, shutdown, shutdown, (int fd, int how), (fd, how))

int fcntl(int fd, int command, ...)
{
    va_list args;

    va_start(args, command);
    int argument = va_arg(args, int);
    va_end(args);
    return returned(sys_fcntl(fd, command, argument));
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
        return returned(
            sys_socket_timeout(fd, name == SO_RCVTIMEO ? 20 : 21, ns_of_timeval(value)));
    return returned(sys_setsockopt(fd, level, name, size < sizeof(int) ? 0 : *(const int *)value));
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict size)
{
    *size = sizeof(struct sockaddr_in);
    return returned(sys_getsockname(fd, address));
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict size)
{
    *size = sizeof(struct sockaddr_in);
    return returned(sys_getpeername(fd, address));
}

/* ---- waits. A time-out below 0 stands for none. */

int pselect(int nfds, fd_set *restrict readable, fd_set *restrict writable,
            fd_set *restrict exceptional, const struct timespec *restrict time,
            const sigset_t *restrict mask)
{
    return returned(
        sys_pselect6(nfds, readable, writable, exceptional, time == NULL ? -1 : ns_of(time), mask));
}

int select(int nfds, fd_set *restrict readable, fd_set *restrict writable,
           fd_set *restrict exceptional, struct timeval *restrict time)
{
    return returned(sys_pselect6(nfds, readable, writable, exceptional,
                                 time == NULL ? -1 : ns_of_timeval(time), NULL));
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *time, const sigset_t *mask)
{
    return returned(sys_ppoll(fds, (int)count, time == NULL ? -1 : ns_of(time), mask));
}

CALL(int, poll, poll, (struct pollfd * fds, nfds_t count, int ms), (fds, count, ms))
CALL(int, epoll_create1, epoll_create1, (int flags), (flags))

int epoll_create(int size)
{
    return returned(sys_epoll_create1(0));
}

CALL(int, epoll_ctl, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event),
     (epoll, op, fd, event))
CALL(int, epoll_wait, epoll_wait, (int epoll, struct epoll_event *events, int most, int ms),
     (epoll, events, most, ms))
CALL(int, epoll_pwait, epoll_pwait,
     (int epoll, struct epoll_event *events, int most, int ms, const sigset_t *mask),
     (epoll, events, most, ms, mask))
CALL(int, eventfd, eventfd2, (unsigned count, int flags), (count, flags))

/* ---- signals: number n is bit n - 1 of the first two words of a set */

int sigemptyset(sigset_t *set)
{
    memset(set, 0, sizeof *set);
    return 0;
}

int sigfillset(sigset_t *set)
{
    memset(set, 0xff, sizeof *set);
    return 0;
}

int sigaddset(sigset_t *set, int number)
{
    set->__val[(number - 1) / 32] |= 1ul << (number - 1) % 32;
    return 0;
}

int sigdelset(sigset_t *set, int number)
{
    set->__val[(number - 1) / 32] &= ~(1ul << (number - 1) % 32);
    return 0;
}

int sigismember(const sigset_t *set, int number)
{
    return (int)(set->__val[(number - 1) / 32] >> (number - 1) % 32 & 1);
}

int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
    if (old != NULL)
        return unsupported("sigaction: the old action");
    return returned(
        sys_rt_sigaction(number, (int)action->sa_handler, action->sa_flags, &action->sa_mask));
}

__sighandler_t signal(int number, __sighandler_t handler)
{
    sigset_t none;

    sigemptyset(&none);
    return returned(sys_rt_sigaction(number, (int)handler, SA_RESTART, &none)) < 0 ? SIG_ERR
                                                                                   : SIG_DFL;
}

CALL(int, sigprocmask, rt_sigprocmask,
     (int how, const sigset_t *restrict set, sigset_t *restrict old), (how, set, old))

int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    return -sys_rt_sigprocmask(how, set, old);
}

CALL(int, sigsuspend, rt_sigsuspend, (const sigset_t *mask), (mask))
CALL(int, pause, pause, (void), ())
CALL(int, raise, tgkill, (int number), (number))

/* ---- threads, over futexes as in glibc: a call that need not wait makes no system call */

enum { STACK = 48 << 10 }; /* for a thread's variables, and for what it needs to be suspended */
enum { LOCK, CONDITION, SEMAPHORE };

int pthread_attr_init(pthread_attr_t *attributes)
{
    memset(attributes, 0, sizeof *attributes);
    return 0;
}

ALWAYS(int, pthread_attr_setdetachstate, (pthread_attr_t * attributes, int state), 0)
ALWAYS(int, pthread_attr_destroy, (pthread_attr_t * attributes), 0)

/* Stacks of threads that have ended: the kernel puts them here. */
void sim_free(void *memory)
{
    free(memory);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict argument)
{
    void *stack = malloc(STACK);
    int error = error_number;

    if (stack == NULL) {
        error_number = error; /* pthread_create returns its error, and leaves errno alone */
        return EAGAIN;
    }
    int result = sys_clone(run, argument, stack, STACK);
    if (result < 0) {
        free(stack);
        return -result;
    }
    *thread = (pthread_t)result;
    return 0;
}

/* Every thread is detached: what it had is free once it has ended. */
ALWAYS(int, pthread_detach, (pthread_t thread), 0)

pthread_t pthread_self(void)
{
    return (pthread_t)get_thread();
}

int pthread_equal(pthread_t one, pthread_t other)
{
    return one == other;
}

static int *word(void *object, size_t n)
{
    return (int *)object + n;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    memset(mutex, 0, sizeof *mutex);
    return 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    int *locked = word(mutex, 0); /* 0, 1, or 2: locked, and others may be waiting */

    while (*locked != 0) {
        *locked = 2;
        sys_futex_wait(locked, 2, LOCK);
        if (*locked == 0) {
            *locked = 2; /* more may wait: the next unlock has to look */
            return 0;
        }
    }
    *locked = 1;
    return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (*word(mutex, 0) != 0)
        return EBUSY;
    *word(mutex, 0) = 1;
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int *locked = word(mutex, 0), before = *locked;

    *locked = 0;
    if (before == 2)
        sys_futex_wake(locked, 1);
    return 0;
}

int pthread_cond_init(pthread_cond_t *restrict condition,
                      const pthread_condattr_t *restrict attributes)
{
    memset(condition, 0, sizeof *condition);
    return 0;
}

/* The first word counts signals, the second the threads that wait. */
int pthread_cond_wait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex)
{
    int seen = *word(condition, 0);

    ++*word(condition, 1);
    pthread_mutex_unlock(mutex);
    sys_futex_wait(word(condition, 0), seen, CONDITION);
    --*word(condition, 1);
    return pthread_mutex_lock(mutex);
}

int pthread_cond_signal(pthread_cond_t *condition)
{
    ++*word(condition, 0);
    if (*word(condition, 1) > 0)
        sys_futex_wake(word(condition, 0), 1);
    return 0;
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
    ++*word(condition, 0);
    if (*word(condition, 1) > 0)
        sys_futex_wake(word(condition, 0), INT32_MAX);
    return 0;
}

int sem_init(sem_t *semaphore, int shared, unsigned value)
{
    *word(semaphore, 0) = (int)value;
    *word(semaphore, 1) = 0;
    return 0;
}

int sem_trywait(sem_t *semaphore)
{
    if (*word(semaphore, 0) == 0)
        return returned(-EAGAIN);
    --*word(semaphore, 0);
    return 0;
}

int sem_wait(sem_t *semaphore)
{
    while (*word(semaphore, 0) == 0) {
        ++*word(semaphore, 1);
        int result = sys_futex_wait(word(semaphore, 0), 0, SEMAPHORE);
        --*word(semaphore, 1);
        if (result == -EINTR)
            return returned(result);
    }
    --*word(semaphore, 0);
    return 0;
}

int sem_post(sem_t *semaphore)
{
    ++*word(semaphore, 0);
    if (*word(semaphore, 1) > 0)
        sys_futex_wake(word(semaphore, 0), 1);
    return 0;
}

/* ---- the process */

ALWAYS(pid_t, getpid, (void), 1000)
ALWAYS(pid_t, getppid, (void), 1)
ALWAYS(uid_t, getuid, (void), 1000)
ALWAYS(uid_t, geteuid, (void), 1000)
ALWAYS(gid_t, getgid, (void), 1000)
ALWAYS(gid_t, getegid, (void), 1000)

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    limit->rlim_cur = get_rlimit((int)resource);
    limit->rlim_max = limit->rlim_cur;
    return 0;
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    return returned(sys_setrlimit((int)resource, (unsigned)limit->rlim_cur));
}

int uname(struct utsname *name)
{
    memset(name, 0, sizeof *name);
    snprintf(name->release, sizeof name->release, "6.0.0"); /* libev asks for 2.6.32 or later */
    return 0;
}

/* Not simulated: processes (--workers), and what only libev names. */
#define UNSUPPORTED(type, function, parameters)                                                    \
    type function parameters                                                                       \
    {                                                                                              \
        return (type)unsupported(#function);                                                       \
    }

UNSUPPORTED(pid_t, fork, (void))
UNSUPPORTED(pid_t, waitpid, (pid_t pid, int *status, int options))
UNSUPPORTED(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options))
UNSUPPORTED(int, kill, (pid_t pid, int number))
UNSUPPORTED(int, setpgid, (pid_t pid, pid_t group))
UNSUPPORTED(int, prctl, (int option, ...))
UNSUPPORTED(int, sigtimedwait, (const sigset_t *set, siginfo_t *info, const struct timespec *time))
UNSUPPORTED(void *, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t offset))
UNSUPPORTED(int, pipe, (int fds[2]))
UNSUPPORTED(int, dup2, (int fd, int other))
UNSUPPORTED(int, lstat, (const char *path, struct stat *status))

/* a * b, both of 128 bits: what the compiler calls to find out whether a product overflows */
__int128 __multi3(__int128 x, __int128 y)
{
    union parts {
        __int128 all;
        struct {
            uint64_t low, high;
        };
    } a = {x}, b = {y}, product;
    uint64_t a0 = (uint32_t)a.low, a1 = a.low >> 32, b0 = (uint32_t)b.low, b1 = b.low >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;

    product.low = other << 32 | (uint32_t)(a0 * b0);
    product.high = a1 * b1 + (middle >> 32) + (other >> 32) + a.low * b.high + a.high * b.low;
    return product.all;
}
