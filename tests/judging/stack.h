/* A stack of its own for each coroutine, and a switch from one stack to another, in two ways: by
 * ucontext (swapcontext(3)), or by the instructions below it, if this file has some for the
 * processor. -DUCONTEXT chooses the first. (musl has no ucontext.) */
#ifndef TESTS_JUDGING_STACK_H
#define TESTS_JUDGING_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(UCONTEXT)
#define UCONTEXT
#endif
#ifdef UCONTEXT
#include <ucontext.h>
#endif

struct stack {
#ifdef UCONTEXT
    ucontext_t context;
#else
    void *sp; /* the stack pointer, while this stack is not in use; the registers lie there */
#endif
    char *low; /* the lowest address, above the guard page */
    size_t size;
    void *fake; /* of AddressSanitizer */
};

/* ---- tell the tools that would take a switch for a very large frame
 *
 * AddressSanitizer and valgrind follow each switch. (With ucontext, AddressSanitizer warns that it
 * does not support it fully.) ThreadSanitizer is not told: on one thread it finds no race. */

#if defined(__SANITIZE_ADDRESS__)
#define STACK_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STACK_ASAN
#endif
#endif
#ifdef STACK_ASAN
#include <sanitizer/common_interface_defs.h>
#define STACK_LEAVE(from, to) __sanitizer_start_switch_fiber(&(from)->fake, (to)->low, (to)->size)
#define STACK_ENTER(fake, from)                                                                    \
    __sanitizer_finish_switch_fiber(fake, (const void **)&(from)->low, &(from)->size)
#else
#define STACK_LEAVE(from, to)   ((void)0)
#define STACK_ENTER(fake, from) ((void)0)
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define STACK_REGISTER(low, high) ((void)VALGRIND_STACK_REGISTER(low, high))
#endif
#endif
#ifndef STACK_REGISTER
#define STACK_REGISTER(low, high) ((void)0)
#endif

/* ---- the switch */

#ifdef UCONTEXT

static inline void stack_jump(struct stack *from, struct stack *to)
{
    swapcontext(&from->context, &to->context);
}

static inline void stack_prepare(struct stack *s, void (*bottom)(void))
{
    getcontext(&s->context);
    s->context.uc_stack.ss_sp = s->low;
    s->context.uc_stack.ss_size = s->size;
    makecontext(&s->context, bottom, 0);
}

#else

/* A switch is a function call that returns on another stack. To the compiler it is an ordinary
 * call, so the caller has saved all registers that a function may change. What is left to us are
 * those that a function must preserve (System V ABI for x86-64; AAPCS64). swapcontext saves the
 * same, and the signal mask: that is a system call. We never change the mask between two switches.
 * (Nor do we change the control words of the floating point unit, which a full switch would save as
 * well.) */
void stack_jump(struct stack *from, struct stack *to);

#ifdef __x86_64__
__asm__(".text\n"
        ".type stack_jump, @function\n"
        "stack_jump:\n"   /* from is in rdi, to in rsi; the return address is on the stack */
        "    push %rbp\n" /* the six registers that the caller relies on: */
        "    push %rbx\n" /* put them on the stack that we leave */
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov  %rsp, (%rdi)\n" /* from->sp: where all this lies */
        "    mov  (%rsi), %rsp\n" /* to->sp: from here on we are on the other stack */
        "    pop  %r15\n"         /* the same six, as they were when that one was left */
        "    pop  %r14\n"
        "    pop  %r13\n"
        "    pop  %r12\n"
        "    pop  %rbx\n"
        "    pop  %rbp\n"
        "    ret\n" /* to whoever has called stack_jump on this stack */
        ".size stack_jump, . - stack_jump\n");
enum { STACK_SAVED = 6 };
#else
__asm__(".text\n"
        ".type stack_jump, %function\n"
        "stack_jump:\n"                    /* from is in x0, to in x1; the return address in x30 */
        "    stp x29, x30, [sp, #-160]!\n" /* make room; the frame pointer and the return address */
        "    stp x19, x20, [sp, #16]\n"    /* the other registers that the caller relies on, */
        "    stp x21, x22, [sp, #32]\n"    /* in pairs */
        "    stp x23, x24, [sp, #48]\n"
        "    stp x25, x26, [sp, #64]\n"
        "    stp x27, x28, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n" /* and the lower halves of eight vector registers */
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n" /* from->sp: where all this lies */
        "    ldr x9, [x1]\n"
        "    mov sp, x9\n"              /* to->sp: from here on we are on the other stack */
        "    ldp x19, x20, [sp, #16]\n" /* the same registers, as they were then */
        "    ldp x21, x22, [sp, #32]\n"
        "    ldp x23, x24, [sp, #48]\n"
        "    ldp x25, x26, [sp, #64]\n"
        "    ldp x27, x28, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    ldp x29, x30, [sp], #160\n"
        "    ret\n" /* to x30: whoever has called stack_jump on this stack */
        ".size stack_jump, . - stack_jump\n");
enum { STACK_SAVED = 20 };
#endif

/* Make a stack look as if bottom had just called stack_jump on it, so that the first switch to it
 * begins with the first line of bottom. */
static inline void stack_prepare(struct stack *s, void (*bottom)(void))
{
    void **top = (void **)(s->low + s->size); /* a multiple of 16, as both ABIs want it */

#ifdef __x86_64__
    *--top = NULL; /* where a return address would be: bottom never returns */
    *--top = (void *)bottom;
#endif
    for (int i = 0; i < STACK_SAVED; i++)
        *--top = NULL;
#ifdef __aarch64__
    top[1] = (void *)bottom; /* x30 */
#endif
    s->sp = top;
}

#endif

/* ---- what is the same for both */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

/* Let each touch of this page end the process. mprotect makes a mapping of its own of it, and of
 * what lies on either side: two mappings for each stack, of which a process may have 65,530
 * (vm.max_map_count). The newer madvise marks the page alone, and neighbours remain one mapping. */
static inline bool stack_guard(char *page, size_t size)
{
    return madvise(page, size, MADV_GUARD_INSTALL) == 0 || mprotect(page, size, PROT_NONE) == 0;
}

/* Reserve memory for a stack of size bytes, a multiple of the size of a page. The kernel provides a
 * page of it at the first touch. The page below it may not be touched at all: a stack that is too
 * small ends the process there, and not in the memory of another one. The first switch to the stack
 * calls bottom, which must not return. Return false if there is no memory. */
static inline bool stack_new(struct stack *s, size_t size, void (*bottom)(void))
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
    char *guard = mmap(NULL, page + size, PROT_READ | PROT_WRITE, flags, -1, 0);

    if (guard == MAP_FAILED)
        return false;
    *s = (struct stack){.low = guard + page, .size = size};
    if (!stack_guard(guard, page)) {
        munmap(guard, page + size);
        return false;
    }
    STACK_REGISTER(s->low, s->low + size);
    stack_prepare(s, bottom);
    return true;
}

/* Give the memory back. The caller must not stand on this stack. */
static inline void stack_free(struct stack *s)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    munmap(s->low - page, page + s->size);
}

/* Leave one stack for another. Return when somebody switches back. */
static inline void stack_switch(struct stack *from, struct stack *to)
{
    STACK_LEAVE(from, to);
    stack_jump(from, to);
    STACK_ENTER(from->fake, to);
}

/* The first thing that bottom does: we come from the stack from. */
static inline void stack_begin(struct stack *from)
{
    STACK_ENTER(NULL, from);
    (void)from;
}

#endif
