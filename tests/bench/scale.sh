#!/bin/sh
# What does a client cost? Measures each stage with up to 10,000 of them, and two with 100,000.

stages="01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev"
delay=5 passes=3 rounds=3 most=10000 beyond=100000 beyond_delay=20 spread=10 tsv='' fd_setsize=1024

usage() {
    cat <<END
usage: tests/scale.sh [OPTION]... [STAGE]...
Measures what clients cost each stage (all six, if none is named):
$stages

  idle     CPU time of the server for one /fast, while other clients are silent
  waits    10 to 10,000 clients ask for /slow at once: how late is the last
           answer, and what memory does a client take?
  beyond   100,000 wait at once (05 and 06, with several --workers)

  --quick     fewer clients, shorter waits: a minute, for a first look or a test
  --tsv FILE  write the figures as tab-separated values:
              experiment, stage, clients, metric, value, least, most
  --help

BUILD in the environment says where the programs are (build).
Exit status: 0 if no answer was lost, and the cost grows where its model says so,
and nowhere else; 1 if not, 2 for a bad command line.
END
}

refuse() {
    printf 'scale.sh: %s\n' "$*" >&2
    exit 2
}

all=''
while [ $# -gt 0 ]; do
    case $1 in
    --help)
        usage
        exit
        ;;
    --quick) delay=2 passes=2 rounds=3 most=1000 beyond=10000 beyond_delay=4 spread=2 ;;
    --tsv=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        continue
        ;;
    --tsv)
        [ $# -gt 1 ] || refuse "--tsv wants a value"
        case $2 in
        '') refuse "--tsv: want the name of a file" ;;
        /*) tsv=$2 ;;
        *) tsv=$PWD/$2 ;;
        esac
        shift
        ;;
    -*) refuse "$1: no such option; see --help" ;;
    *)
        case " $stages " in
        *" $1 "*) all="$all $1" ;;
        *) refuse "$1: no such stage; want one of: $stages" ;;
        esac
        ;;
    esac
    shift
done
[ -n "$all" ] || all=$stages

CDPATH='' cd -- "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
LC_ALL=C
export LC_ALL
for program in probe hold $all; do
    if [ ! -x "$BUILD/$program" ]; then
        echo "scale.sh: $BUILD/$program is not built; make $BUILD/$program" >&2
        exit 1
    fi
done
[ -z "$tsv" ] || echo experiment stage clients metric value least most | tr ' ' '\t' 2>/dev/null \
    >"$tsv" || refuse "--tsv $tsv: cannot be written"

. tests/processes.sh

# Starts $stage with the options given; sets pid, port and url.
start() {
    : >"$work/out"
    "$BUILD/$stage" --port 0 "$@" >"$work/out" 2>"$work/err" &
    pid=$!
    running="$running $pid"
    left=100
    port=''
    while [ $left -gt 0 ] && alive "$pid"; do
        port=$(sed -n "1s|^$stage: listening on http://127\\.0\\.0\\.1:\\([0-9]*\\)\$|\\1|p" "$work/out")
        url=http://127.0.0.1:$port
        [ -z "$port" ] || return 0
        sleep 0.1
        left=$((left - 1))
    done
    fail "$stage did not start: $(sed 1q "$work/err")"
    return 1
}

# ---- figures

failed=0

fail() {
    echo "    FAILED: $*"
    failed=$((failed + 1))
}

# figure EXPERIMENT CLIENTS METRIC VALUE [LEAST MOST]
figure() {
    [ -z "$tsv" ] || printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$stage" "$2" "$3" "$4" \
        "${5:--}" "${6:--}" >>"$tsv"
}

# The hard limits are what this shell and its children may have.
descriptors=$(awk '/^Max open files/ { print $5 }' /proc/self/limits)
# shellcheck disable=SC3045 # not in POSIX, but in dash, bash, ksh and busybox
ulimit -n "$descriptors"
thread_limit=$(
    awk '/^Max processes/ && $4 != "unlimited" { print $4 }' /proc/self/limits
    cat /proc/sys/kernel/threads-max /proc/sys/kernel/pid_max
)
thread_limit=$(echo "$thread_limit" | sort -n | sed 1q)
maps=$(($(cat /proc/sys/vm/max_map_count) / 2)) # a stack is two: itself, and its guard page
backlog=$(cat /proc/sys/net/core/somaxconn)

# Does this machine let $stage have $1 clients? If not, sets why.
allowed() {
    case $stage in
    02*)
        [ "$1" -lt $((thread_limit - 1000)) ] ||
            { why="threads (ulimit -u, kernel.threads-max, kernel.pid_max: $thread_limit)" && return 1; }
        [ "$1" -lt $((maps - 100)) ] || { why="mappings (vm.max_map_count / 2: $maps)" && return 1; }
        ;;
    esac
    [ "$1" -lt $((descriptors - 50)) ] ||
        { why="descriptors (ulimit -Hn: $descriptors)" && return 1; }
}

# Times that the kernel turned a client away since its queue of connections was full: the client's
# kernel tries again after a second, unseen.
overflows() {
    awk '/^TcpExt:/ { if (!n) { for (i = 2; i <= NF; i++) name[i] = $i; n = 1; next }
                      for (i = 2; i <= NF; i++) if (name[i] == "ListenOverflows") print $i }' /proc/net/netstat
}

# All processes of a server: the one that was started, and its children.
family() {
    echo "$1"
    tr ' ' '\n' 2>/dev/null <"/proc/$1/task/$1/children"
}

# Memory of server $pid: pages that are its own, and its share of the others (proportional set
# size), in KiB.
memory_kib() {
    for process in $(family "$pid"); do
        cat "/proc/$process/smaps_rollup" 2>/dev/null
    done | awk '/^Pss:/ { kib += $2 } END { print kib + 0 }'
}

# What the kernel keeps, of all processes of the machine, in KiB.
kernel_kib() {
    awk '/^(Slab|KernelStack|PageTables):/ { kib += $2 } END { print kib }' /proc/meminfo
}

count_threads() {
    for process in $(family "$pid"); do
        cat "/proc/$process/status" 2>/dev/null
    done | awk '/^Threads:/ { n += $2 } END { print n + 0 }'
}

# Descriptors of all processes of the server: clients that were accepted, and a few.
count_descriptors() {
    sum=0
    for process in $(family "$pid"); do
        set -- "/proc/$process/fd/"*
        sum=$((sum + $#))
    done
    echo $sum
}

# ---- idle: what one /fast costs while others are silent

# Each pass asks all stages, each round within it one stage with all its numbers of clients: what else
# the machine does changes with time, and is to hit all of them.
measure_idle() { # PASS
    targets=''
    : >"$work/unmeasured.$stage"
    case $stage in
    01*)
        say "not measured: it keeps no connection, and a silent client would block it" \
            >"$work/unmeasured.$stage"
        return
        ;;
    esac
    sum=0
    for n in 0 100 1000 10000; do
        [ $n -le $most ] || continue
        if [ "$stage" = 03-select ] && [ $n -gt $((fd_setsize - 10)) ]; then
            say "$n idle: not possible, select ends at FD_SETSIZE ($fd_setsize)" >>"$work/unmeasured.$stage"
            continue
        fi
        sum=$((sum + n))
        if ! allowed $sum; then
            say "$n idle: not measured, too few $why" >>"$work/unmeasured.$stage"
            continue
        fi
        start --timeout 3600 || return
        targets="$targets $port:$pid:$n"
    done
    # shellcheck disable=SC2086 # a list of words
    "$BUILD/hold" --rounds "$rounds" $targets >"$work/hold" 2>"$work/err.hold" &
    running="$running $!"
    wait $!
    status=$?
    stop_all
    if [ $status -ne 0 ]; then
        fail "$stage: $(sed 1q "$work/err.hold")"
        return
    fi
    sed "1d; s/^/$1./" "$work/hold" >>"$work/hold.$stage"
}

show_idle() {
    cat "$work/unmeasured.$stage"
    [ -e "$work/hold.$stage" ] || return
    cut -f 2 "$work/hold.$stage" | sort -nu >"$work/levels"
    while read -r n; do
        # the ratio is taken within each round, for what else the machine does changes
        awk -v n="$n" '$2 == 0 { none[$1] = $4 } $2 == n { print $4, $4 / none[$1] }' "$work/hold.$stage" >"$work/rows"
        for column in 1 2; do
            cut -d ' ' -f $column "$work/rows" | sort -g |
                awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)], v[1], v[NR] }'
        done >"$work/numbers"
        {
            read -r median least greatest
            read -r ratio _
        } <"$work/numbers"
        ratio=$(calculate %.2f "$ratio")
        figure idle "$n" cpu_us "$median" "$least" "$greatest"
        figure idle "$n" ratio "$ratio"
        printf '    %6d idle: %9.1f us a /fast (%.1f to %.1f), %7.2f times none\n' "$n" "$median" \
            "$least" "$greatest" "$ratio"
        case $stage in
        05* | 06*)
            [ "$(calculate %d "$ratio <= 1.5")" = 1 ] ||
                fail "$stage: 1.5 times at most was promised"
            ;;
        03* | 04*)
            [ "$n" -lt 1000 ] || [ "$(calculate %d "$ratio >= 3")" = 1 ] ||
                fail "$stage: 3 times at least was expected, of a cost that grows"
            ;;
        esac
    done <"$work/levels"
}

# ---- waits: how late is the last answer, and what does a client that waits take?

# hold_and_ask SECONDS MS:PATH...: runs the clients, in so many processes as $parts says, and
# samples the server after the seconds, when all of them wait. Sets what there is to say.
hold_and_ask() {
    after=$1
    shift
    before_kib=$(memory_kib) before_kernel_kib=$(kernel_kib) before_overflows=$(overflows)
    before_descriptors=$(count_descriptors)
    : >"$work/answers"
    clients=''
    for part in $(seq "$parts"); do
        "$BUILD/probe" --tsv --summary --sources "$sources" --timeout 300 "$url" "$@" \
            >"$work/answers.$part" 2>>"$work/err" &
        clients="$clients $!" running="$running $!"
    done
    sleep "$after"
    user_kib=$(($(memory_kib) - before_kib))
    in_kernel_kib=$(($(kernel_kib) - before_kernel_kib))
    server_threads=$(count_threads)
    held=$(($(count_descriptors) - before_descriptors))
    for client in $clients; do
        wait "$client"
    done
    overflowed=$(($(overflows) - before_overflows))
    for part in $(seq "$parts"); do
        sed -n 2p "$work/answers.$part"
    done >"$work/answers"
    awk -F '\t' '
        { ok += $2 }
        $5 + 0 > middle { middle = $5 }
        $7 + 0 > most { most = $7 }
        $8 + 0 > longest { longest = $8 }
        END { print ok + 0, middle + 0, most + 0, longest + 0 }' "$work/answers" >"$work/numbers"
    read -r ok middle_ms most_ms longest_ms <"$work/numbers"
}

waits() {
    parts=1 sources=2
    case $stage in
    01*) levels=10 wait=1 ;;
    03*) levels="10 100 1000 1100" wait=$delay ;;
    *) levels="10 100 1000 10000" wait=$delay ;;
    esac
    for level in $levels; do
        [ "$level" -le $((most + 100)) ] || continue
        if ! allowed "$level"; then
            say "$level at once: not measured, too few $why"
            continue
        fi
        : >"$work/err"
        start --delay "$wait" --timeout 300 || return
        hold_and_ask "$(calculate %.1f "$wait * 0.85")" "${level}x0:/slow"
        late_ms=$(calculate %.1f "$longest_ms - $wait * 1000")
        figure waits "$level" late_ms "$late_ms"
        figure waits "$level" lost $((level - ok))
        figure waits "$level" held "$held"
        figure waits "$level" threads "$server_threads"
        line=$(printf '%6d at once: last answer %8.1f ms late' "$level" "$late_ms")
        if [ "$held" -ge $((level - 5)) ]; then
            # what else the machine does, and the server's own growth, drown a few clients
            if [ "$level" -ge 1000 ]; then
                user=$(calculate %.1f "$user_kib / $level")
                figure waits "$level" server_kib "$user"
                line="$line, a client: $user KiB"
            fi
            if [ "$level" -ge 10000 ]; then
                kernel=$(calculate %.1f "$in_kernel_kib / $level")
                figure waits "$level" kernel_kib "$kernel"
                line="$line, kernel $kernel"
            fi
            say "$line, threads: $server_threads"
        else
            say "$line, only $held at a time, threads: $server_threads"
        fi
        [ "$overflowed" -eq 0 ] ||
            say "       (the kernel's queue, net.core.somaxconn = $backlog, was full: $overflowed tries came again)"
        [ "$ok" -eq "$level" ] || fail "$stage: $((level - ok)) of $level answers lost: $(sed 1q "$work/err")"
        stop_all
    done
    case $stage in
    01*) say "no more than 10: it serves one after the other, so the last waits 10 delays of $wait s" ;;
    03*) say "past FD_SETSIZE ($fd_setsize) clients are served in waves: the last waits a whole delay more" ;;
    esac
}

# ---- beyond: more than one process may have

beyond() {
    workers=$((beyond * 5 / 4 / descriptors + 1))
    [ $workers -gt 1 ] || workers=2
    parts=$((beyond / (descriptors - 100) + 1))
    while [ $((beyond % parts)) -ne 0 ]; do # so that all parts are equal
        parts=$((parts + 1))
    done
    sources=$((beyond / 10000 + 1))
    share=$((beyond / parts))
    memory=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    system=$(awk '{ print $3 - $1 }' /proc/sys/fs/file-nr)
    if [ "$memory" -lt $((beyond * 40)) ]; then
        say "not measured, too little memory (MemAvailable: $memory KiB, want $((beyond * 40)))"
        return
    elif [ "$system" -lt $((beyond * 2 + 1000)) ]; then
        say "not measured, too few descriptors (fs.file-max leaves $system)"
        return
    fi
    # at once, they would not fit into the kernel's queue; in steps of 100 ms they do
    steps=$((spread * 10))
    set --
    for step in $(seq 0 $((steps - 1))); do
        some=$((share * (step + 1) / steps - share * step / steps))
        set -- "$@" "${some}x${step}00:/slow"
    done
    n=$((share * parts))
    say "$n clients come within $spread s (limits: $descriptors descriptors, hence $workers workers and $parts"
    say "clients' processes from $sources addresses; a queue of $backlog), and each waits $beyond_delay s ..."
    start --workers $workers --delay "$beyond_delay" --timeout 300 || return
    sleep 0.5
    : >"$work/err"
    hold_and_ask $(((spread + beyond_delay) / 2)) "$@"
    late_ms=$(calculate %.1f "$longest_ms - $beyond_delay * 1000")
    middle_ms=$(calculate %.1f "$middle_ms - $beyond_delay * 1000")
    most_ms=$(calculate %.1f "$most_ms - $beyond_delay * 1000")
    user=$(calculate %.1f "$user_kib / $n") kernel=$(calculate %.1f "$in_kernel_kib / $n")
    for metric in "late_ms $late_ms" "median_late_ms $middle_ms" "p99_late_ms $most_ms" "held $held" "lost $((n - ok))" \
        "server_kib $user" "kernel_kib $kernel" "workers $workers" "overflows $overflowed"; do
        # shellcheck disable=SC2086 # two words
        figure beyond $n $metric
    done
    say "$held waited at one moment; $ok of $n answered, half of them $middle_ms ms late at"
    say "most, 99 % $most_ms ms, the last $late_ms ms"
    say "a client: $user KiB, kernel $kernel KiB; threads: $server_threads"
    [ "$overflowed" -eq 0 ] || say "the kernel's queue was full: $overflowed tries came again"
    [ "$ok" -eq "$n" ] || fail "$stage: $((n - ok)) of $n answers lost: $(sed 1q "$work/err")"
    [ "$held" -ge $((n - n / 100)) ] || fail "$stage: only $held of $n waited at one moment"
    stop_all
}

echo "CPU time of the server for one /fast on one connection, while others are open and idle"
echo "(median of $((passes * rounds)) rounds, least to most; client and server on one CPU):"
for pass in $(seq "$passes"); do
    for stage in $all; do
        [ ! -t 1 ] || printf '\r    %s, pass %d of %d ...  ' "$stage" "$pass" "$passes"
        measure_idle "$pass"
        stop_all
    done
done
[ ! -t 1 ] || printf '\r%50s\r' ''
for stage in $all; do
    echo "$stage"
    show_idle
done
echo
echo "Clients that ask for /slow at once. Late: what the answer took beyond the delay, $delay s"
echo "(01: 1 s). Memory: the server's own for each client, and the kernel's, which is measured"
echo "machine-wide, and holds both ends of each connection:"
for stage in $all; do
    echo "$stage"
    waits
    stop_all
done
for stage in $all; do
    case $stage in
    05* | 06*)
        echo
        echo "$stage, beyond the descriptors of one process"
        beyond
        stop_all
        ;;
    esac
done
echo
if [ $failed -gt 0 ]; then
    echo "$failed failed: see above."
    exit 1
fi
echo "No answer was lost. With select and poll a request pays for those who are silent, with
epoll and with threads it does not; threads pay with memory."
