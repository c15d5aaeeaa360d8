#!/bin/sh
# faults.sh [--list] [STAGE]...: errors from the kernel. Lists the system calls that each server makes
# while it listens, has strace(1) inject each error that their manual pages allow, and looks
# whether the server goes on (or, where it can't, ends with one clear line). --list: the lists alone.
#
# when:  first  the first call after strace has attached
#        later  the fifth; or, of a call that no thread makes so often (strace counts for each
#               thread), the first one after the same load has run before
#        every  every call for a second
#        stop   every call, and SIGTERM meanwhile
# Each fault has a server of its own. Afterwards, without strace, it has to answer /fast and /slow, to be
# quiet (less than a third of the CPU), to have no descriptor and no thread more than before, and to end with
# 0 on SIGTERM. While the error comes every time it must not try again at once, unless that is what the error
# asks for. Not tried: a short send. strace can only pretend it, and bytes would be lost; an answer of
# 300 bytes always fits into the buffer of a socket that is empty.
set -u
cd "$(dirname "$0")/.." || exit 1

build=${BUILD:-build}
lanes=${LANES:-20} # servers at a time; what they do is mostly to wait
# ONLY='accept4[|]EMFILE' tries those faults alone: a regular expression for STAGE|CALL|ERROR|WHEN
all='01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev'
list_only=false
if [ "${1-}" = --list ]; then
    list_only=true
    shift
fi
stages=${*:-$all}

# number of the stages | call | errors | when | clients, see load() | outcome | injected besides
#   ok       clients may be let down, the server goes on
#   retried  nobody is let down, unless the error comes every time
#   served   nobody is let down
#   ends     going on is impossible: one line on stderr, and a status that isn't 0
# accept4 with EAGAIN isn't for 01 and 02: their listener blocks until they are told to stop.
# A call that starts with ! is made only when the fault besides makes it. On SIGTERM 06 writes to the
# eventfd of libev, which none of these errors can befall, so they don't come with "stop".
table='
123456|accept4|EMFILE ENFILE ENOBUFS ENOMEM ECONNABORTED EINTR EPROTO EPERM|all|good|served|
3456|accept4|EAGAIN|all|good|served|
123456|accept4|ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH|all|good|served|
123456|accept4|EBADF EINVAL ENOTSOCK|ends|good|ends|
123456|recvfrom|EINTR|all|good|retried|
3456|recvfrom|EAGAIN|all|good|retried|
12|recvfrom|EAGAIN|all|mix|ok|
123456|recvfrom|ECONNRESET ECONNREFUSED ENOMEM ETIMEDOUT ENOTCONN EHOSTUNREACH|all|mix|ok|
123456|sendto|EINTR|all|good|retried|
3456|sendto|EAGAIN|all|good|retried|
12|sendto|EAGAIN|all|mix|ok|
123456|sendto|EPIPE ECONNRESET ENOBUFS ENOMEM ENOTCONN ETIMEDOUT EHOSTUNREACH|all|mix|ok|
3|pselect6|EINTR ENOMEM|all|good|served|
3|pselect6|EBADF EINVAL|ends|good|ends|
4|ppoll|EINTR ENOMEM|all|good|served|
4|ppoll|EFAULT EINVAL|ends|good|ends|
5|epoll_pwait|EINTR ENOMEM|all|good|served|
5|epoll_pwait|EBADF EFAULT EINVAL|ends|good|ends|
6|epoll_wait|EINTR ENOMEM|all|good|served|
6|epoll_wait|EBADF EFAULT EINVAL|ends|good|ends|
6|epoll_pwait|EINTR ENOMEM|all|good|served|
6|epoll_pwait|EBADF EFAULT EINVAL|ends|good|ends|
56|epoll_ctl|ENOMEM ENOSPC|all|mix|ok|
2|clone3|EAGAIN ENOMEM EPERM|all|good|served|
2|clone|EAGAIN ENOMEM EPERM|all|good|served|
2|mmap|ENOMEM EAGAIN|all|good|served|
2|mprotect|ENOMEM|all|good|served|
2|madvise|EAGAIN ENOMEM|all|good|served|
2|!futex|EINTR EAGAIN ETIMEDOUT|all|good|served|clone3:error=EAGAIN
123456|brk|retval=0|all|many|ok|mmap:error=ENOMEM
12|setsockopt|ENOMEM ENOBUFS EINVAL|all|mix|ok|
12|clock_nanosleep|EINTR|all|good|retried|
3|!clock_nanosleep|EINTR|all|good|served|pselect6:error=ENOMEM
4|!clock_nanosleep|EINTR|all|good|served|ppoll:error=ENOMEM
5|!clock_nanosleep|EINTR|all|good|served|epoll_pwait:error=ENOMEM
6|!clock_nanosleep|EINTR|all|good|served|epoll_wait:error=ENOMEM
123456|shutdown|ENOTCONN ENOBUFS|all|mix|ok|
123456|close|EINTR EIO ENOSPC EDQUOT|all|mix|ok|
123456|getpeername|ENOTCONN ENOBUFS|all|good|served|
12345|write|EIO ENOSPC EPIPE EAGAIN EINTR EDQUOT EFBIG|all|good|served|
6|write|EIO ENOSPC EPIPE EAGAIN EINTR EDQUOT EFBIG|first later every|good|served|
123456|openat|EMFILE ENFILE ENOMEM EACCES EINTR ENOENT|first|good|served|
123456|newfstatat|EACCES ENOMEM|first|good|served|
123456|fstat|ENOMEM|first|good|served|
123456|read|EIO EINTR EISDIR|first|good|served|
123456|lseek|ESPIPE|first|good|served|
'

# Calls whose errors are left out, and why.
left_out='
rt_sigaction     EINVAL and EFAULT alone: a wrong argument
rt_sigprocmask   EINVAL and EFAULT alone: a wrong argument
rt_sigreturn     returns to where the signal came, never an error
restart_syscall  the kernel resumes what strace, as it attached, had interrupted
exit             never returns
exit_group       never returns
fcntl            F_SETFL (the handler of SIGTERM): EPERM for append-only files alone, EBADF
set_robust_list  EINVAL alone: a wrong argument
rseq             EINVAL, EPERM: a wrong argument; the C library ends the process
futex            without another fault made only where threads meet by chance: see !futex above
sched_getaffinity  the C library counts CPUs, to size its arenas, and makes do without
munmap           ENOMEM where a mapping would be split: the C library unmaps whole ones, and aborts otherwise
'

load() { # the clients, in the words of probe
    case $1 in
    good) echo '5x0:/fast 4x0:/slow 30:/slow 60:/fast 90:/fast 120:/fast 150:/fast' ;;
    mix) echo '5x0:/nowhere 4x0:/fast 4x0:/slow 40:/fast 80:/nowhere 120:/slow 160:/fast' ;; # 404: says that it closes, and lingers
    many) echo '100x0:/slow' ;;                     # more memory than there is at the start
    esac
}

for tool in strace:strace awk:mawk; do
    command -v "${tool%:*}" >/dev/null || {
        echo "faults.sh: ${tool%:*} is missing. To install it: make deps-tools" \
            "(or: apt-get install ${tool#*:})" >&2
        exit 1
    }
done
for stage in $stages; do
    case " $all " in
    *" $stage "*) ;;
    *)
        echo "faults.sh: $stage: want a stage, one of $all" >&2
        exit 2
        ;;
    esac
done
for program in $stages probe; do
    [ -x "$build/$program" ] || {
        echo "faults.sh: $build/$program is missing. To build it: make $program" >&2
        exit 1
    }
done
ticks=$(getconf CLK_TCK)

work=$(mktemp -d)
lane_pids='' server='' tracer='' client=''
end_all() {
    trap '' INT TERM
    # shellcheck disable=SC2086 # a list of words
    [ -z "$lane_pids$server$tracer$client" ] || kill $lane_pids $tracer $client $server 2>/dev/null
    wait
}
trap 'end_all; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# ---- one server: server, url, base (its descriptors); out and err are its files

running() { # a dead one that nobody has waited for is not
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    case ${stat##*) } in Z* | X*) return 1 ;; esac
}

until_ended() { # PID SECONDS
    i=$(($2 * 50))
    while running "$1" && [ "$i" -gt 0 ]; do
        sleep 0.02
        i=$((i - 1))
    done
    ! running "$1"
}

descriptors() {
    set -- "/proc/$server/fd/"*
    echo $#
}

threads() {
    set -- "/proc/$server/task/"*
    echo $#
}

cpu_ticks() {
    read -r stat <"/proc/$server/stat" || return 1
    # shellcheck disable=SC2086 # a list of words: state is the first, utime and stime are 12 and 13
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

start() { # STAGE
    out=$work/$lane.out err=$work/$lane.err
    : >"$out"
    "$build/$1" --port 0 --delay 0.2 --timeout 1 --verbose >"$out" 2>"$err" &
    server=$!
    i=250
    until read -r url <"$out"; do
        sleep 0.02
        i=$((i - 1))
        [ "$i" -gt 0 ] || return 1
    done
    url=${url##* }
    base=$(descriptors)
}

ask() { # SHOT...
    # shellcheck disable=SC2086 # a list of words
    "$build/probe" --tsv --timeout 8 "$url" "$@" >"$work/$lane.answers"
}

trace() { # STRACE-ARGUMENT...: returns when it has attached
    log=$work/$lane.log
    : >"$log" # both: not what they hold of the last time
    : >"$work/$lane.strace"
    strace -f -p "$server" -o "$log" "$@" 2>"$work/$lane.strace" &
    tracer=$!
    i=250
    until grep -q attached "$work/$lane.strace"; do
        running "$tracer" && [ "$i" -gt 0 ] || return 1
        sleep 0.02
        i=$((i - 1))
    done
}

# A tracer that leaves between the start and the end of a call that it has fail would leave ENOSYS as
# its error. So it leaves a server that is stopped, which none is inside a call.
untrace() {
    kill -STOP "$server" 2>/dev/null
    i=100
    while running "$server" && [ "$i" -gt 0 ] &&
        [ "$(grep -c -e '--- stopped by SIGSTOP' "$log")" -lt "$(threads)" ]; do
        sleep 0.02
        i=$((i - 1))
    done
    # From a process that is ending it must not be sent away (strace 6.1 waits for ever for a main
    # thread that is gone before the others): it leaves with it.
    running "$server" || until_ended "$tracer" 1
    kill "$tracer" 2>/dev/null
    until_ended "$tracer" 2 || kill -KILL "$tracer" 2>/dev/null
    wait "$tracer" 2>/dev/null
    tracer=
    kill -CONT "$server" 2>/dev/null
}

end_client() {
    [ -z "$client" ] || kill "$client" 2>/dev/null
    [ -z "$client" ] || wait "$client" 2>/dev/null
    client=
}

stop() { # sets problem
    kill -TERM "$server" 2>/dev/null
    must_end 0
}

must_end() { # STATUS: sets problem
    if until_ended "$server" 5; then
        wait "$server" 2>/dev/null
        status=$?
        [ "$status" -eq "$1" ] || problem="ended with status $status: $(messages | tail -n 1)"
    else
        kill -KILL "$server"
        wait "$server" 2>/dev/null
        problem='does not end'
    fi
}

messages() { # what it said besides the lines of --verbose
    grep -v '^[0-9-]*T[0-9:]*Z ' "$err"
}

# ---- what a server calls while it listens: lines "stage call calls most-by-a-thread stop?"

list() { # STAGE
    if ! start "$1" || ! trace; then
        echo "$1 was-not-traced 0 0 -"
        return
    fi
    # shellcheck disable=SC2046 # lists of words
    {
        ask $(load mix)
        [ "$1" = 01-blocking ] || ask $(load many) # 01 would take 20 s
        ask $(load mix)
    }
    "$build/probe" "$url" 0:/slow >/dev/null &
    client=$!
    sleep 0.1
    stop
    untrace
    end_client
    server=
    awk -v stage="$1" '
        /^[0-9]+ +--- SIGTERM/ { stopping = 1 }
        match($0, /^[0-9]+ +[a-z_0-9]+\(/) {
            call = $2; sub(/\(.*/, "", call)
            calls[call]++
            if (++by[$1, call] > most[call]) most[call] = by[$1, call]
            if (!stopping) listening[call] = 1
        }
        END { for (call in calls)
                  print stage, call, calls[call], most[call], call in listening ? "-" : "stop" }' "$log" |
        sort
}

# ---- a fault

injected() { # how many times
    grep -c "$call.*(INJECTED)" "$log"
}

right_answers() {
    ask 0:/fast 0:/slow && awk -F '\t' '
        $8 == 200 && $2 == "/fast" && $9 == "That was fast!" { fast++ }
        $8 == 200 && $2 == "/slow" && $9 == "That was slow!" { slow++ }
        END { exit !(fast == 1 && slow == 1) }' "$work/$lane.answers"
}

settled() { # are descriptors and threads as few as at the start? DESCRIPTORS-MORE
    i=500
    until [ "$(descriptors)" -eq $((base + $1)) ] && [ "$(threads)" -eq 1 ]; do
        sleep 0.02
        i=$((i - 1))
        [ "$i" -gt 0 ] || return 1
    done
}

quiet() {
    before=$(cpu_ticks)
    sleep 0.3
    [ $((($(cpu_ticks) - before) * 1000)) -lt $((100 * ticks)) ]
}

at_once() { # may the call be tried again at once? Else it must not, for as long as the error stays
    case $call,$error in
    *,EINTR | accept4,ECONNABORTED | accept4,EPROTO | futex,*) ;;
    accept4,EAGAIN | recvfrom,EAGAIN | sendto,EAGAIN) ;; # the kernel, unlike strace, then says when
    *) false ;;
    esac
}

# After close has returned, with whatever error, the number may be somebody else's.
closed_twice() {
    awk '/accept4.* = [0-9]+$/ { delete closed[$NF] }
         match($0, /close\([0-9]+/) { fd = substr($0, RSTART + 6, RLENGTH - 6); if (closed[fd]++) twice = 1 }
         END { exit !twice }' "$log"
}

judge() { # sets problem
    if [ "$times" -eq 0 ]; then
        problem='was not injected'
    elif [ "$outcome" = ends ]; then
        must_end 1
        if [ -z "$problem" ] &&
            { [ "$(messages | grep -c "^$stage: ")" -ne 1 ] || [ "$(messages | wc -l)" -ne 1 ]; }; then
            problem="does not say so in one line: $(messages | head -n 3 | tr '\n' '|')"
        fi
    elif [ "$when" = stop ]; then
        must_end 0
    else
        answers
    fi
}

answers() { # sets problem
    more=0 # strace has a call fail by not making it
    [ "$call" != close ] || more=$times
    if ! running "$server"; then
        must_end none 2>/dev/null
        return
    fi
    if [ "$outcome" = served ] || { [ "$outcome" = retried ] && [ "$when" != every ]; }; then
        [ -z "$client" ] || wait "$client" || problem="a client was let down: $(awk -F '\t' 'NR > 1 && $8 != 200 { print $2, $8; exit }' "$work/$lane.clients")"
        client=
    fi
    end_client
    if [ -n "$problem" ]; then
        return
    elif ! right_answers; then
        problem="no right answer afterwards: $(awk -F '\t' 'NR > 1 { printf "%s %s; ", $2, $8 }' "$work/$lane.answers")"
    elif [ "$call" = close ] && closed_twice; then
        problem='closes a number twice'
    elif ! settled "$more"; then
        problem="leaks: $(descriptors) descriptors, $(threads) threads; at the start $base and 1"
    elif ! quiet; then
        problem='spins afterwards'
    elif [ "$when" = every ] && [ "$times" -gt 250 ] && ! at_once; then
        problem="spins: $times calls in a second"
    else
        stop
    fi
}

inject() { # STAGE CALL ERROR WHEN CLIENTS OUTCOME BESIDES MOST: sets problem
    stage=$1 call=${2#!} error=$3 when=$4 outcome=$6 besides=$7 problem=
    clients=$(load "$5")
    case $3 in *=*) fault=$3 ;; *) fault=error=$3 ;; esac
    warm=false
    case $when in
    first) from=1 ;;
    later) case $2 in
        !*) from=2 ;;
        *) if [ "$8" -ge 5 ]; then from=5; else from=1 warm=true; fi ;;
        esac ;;
    *) from=1+ ;;
    esac

    if [ "$outcome" = unknown ]; then
        problem='the table knows nothing of this call'
        return
    fi
    if ! start "$stage"; then
        problem='did not start'
        return
    fi
    [ "$call" != close ] || ask 0:/fast # the C library's own, of the time zone, is behind us
    # shellcheck disable=SC2086 # a list of words
    if $warm; then
        ask $clients
        settled 0
    fi
    set -- -e "trace=$call,accept4${besides:+,${besides%%:*}}" -e "inject=$call:$fault:when=$from"
    [ -z "$besides" ] || set -- "$@" -e "inject=$besides"
    if ! trace "$@"; then
        problem="strace did not attach: $(tail -n 1 "$work/$lane.strace")"
        return
    fi
    i=250
    while [ "$(injected)" -eq 0 ] && [ "$i" -gt 0 ] && running "$server"; do
        if [ -z "$client" ] || ! running "$client"; then # again, if they were too few calls
            end_client
            # shellcheck disable=SC2086 # a list of words
            "$build/probe" --tsv --timeout 8 "$url" $clients >"$work/$lane.clients" &
            client=$!
        fi
        sleep 0.02
        i=$((i - 1))
    done
    case $when in
    every) sleep 1 ;;
    stop)
        sleep 0.1
        kill -TERM "$server" 2>/dev/null
        until_ended "$server" 1
        ;;
    *) [ "$outcome" != ends ] || until_ended "$server" 3 ;;
    esac
    untrace
    times=$(injected)
    judge
}

run_lane() { # LANE: every so many-th of the faults
    lane=$1 lane_pids=''
    trap 'end_all; exit 130' TERM
    trap '' INT
    awk -v lane="$lane" -v lanes="$lanes" 'NR % lanes == lane' "$work/faults" >"$work/$lane.faults"
    while IFS='|' read -r number stage name error when load outcome besides most; do
        # A busy machine can spoil a try, but not make good what is broken: so twice more, and say so.
        again=''
        for try in 1 2 3; do
            inject "$stage" "$name" "$error" "$when" "$load" "$outcome" "$besides" "$most" </dev/null
            if [ -n "$problem" ]; then
                result="FAILED: $problem"
            elif [ "$outcome" = ends ]; then
                result="ends: $(messages)$again"
            else
                result=ok$again
            fi
            [ -z "$server" ] || kill -KILL "$server" 2>/dev/null
            [ -z "$tracer" ] || untrace
            end_client
            wait
            server=
            [ -n "$problem" ] || break
            again=" (try $((try + 1)); before: $problem)"
        done
        printf '%-12s %-16s %-13s %-6s %s\n' "$stage" "${call#!}" "${error#*=}" "$when" "$result" >"$work/$lane.result"
        mv "$work/$lane.result" "$work/result.$number"
    done <"$work/$lane.faults"
}

# ---- all of it

lane=list
for stage in $stages; do
    list "$stage"
done >"$work/calls"
echo 'Calls made while a stage listens (- while it serves, stop: after SIGTERM):'
awk '{ printf "%-12s %-16s %6d, by one thread at most %d %s\n", $1, $2, $3, $4, $5 }' "$work/calls"
! $list_only || exit 0
echo

echo "$table" >"$work/table"
echo "$left_out" >"$work/left_out"
awk -F '|' '
    FILENAME ~ /left_out$/ { split($0, words, " "); left_out[words[1]] = 1; next }
    FILENAME ~ /table$/ { if (NF) row[++rows] = $0; next }
    { split($0, c, " "); stage = c[1]; digit = substr(stage, 2, 1)
      if (!(stage in seen)) { seen[stage] = 1; order[++stages] = stage }
      called[stage, c[2]] = c[4]; known = 0
      for (i = 1; i <= rows; i++) {
          split(row[i], f, "|")
          if (index(f[1], digit) && f[2] == c[2]) known = 1
      }
      if (!known && !(c[2] in left_out))
          printf "%d|%s|%s|any|any||unknown||0\n", ++n, stage, c[2] }
    END { for (s = 1; s <= stages; s++) for (i = 1; i <= rows; i++) {
              split(row[i], f, "|"); stage = order[s]
              if (!index(f[1], substr(stage, 2, 1)) || (f[2] !~ /^!/ && !((stage, f[2]) in called))) continue
              errors = split(f[3], error, " ")
              ways = split(f[4] == "all" ? "first later every stop" : f[4] == "ends" ? "first later" : f[4], way, " ")
              for (e = 1; e <= errors; e++) for (w = 1; w <= ways; w++)
                  printf "%d|%s|%s|%s|%s|%s|%s|%s|%d\n", ++n, stage, f[2], error[e], way[w], f[5], f[6], f[7],
                         called[stage, f[2]] } }' "$work/left_out" "$work/table" "$work/calls" |
    grep -E -e "${ONLY:-.}" >"$work/chosen"
awk -F '|' '{ sub(/^[0-9]+/, NR); print }' "$work/chosen" >"$work/faults"

count=$(wc -l <"$work/faults")
i=0
while [ "$i" -lt "$lanes" ]; do
    run_lane "$i" &
    lane_pids="$lane_pids $!"
    i=$((i + 1))
done

any_running() { # PID...
    for pid; do
        ! running "$pid" || return 0
    done
    return 1
}

printf '%-12s %-16s %-13s %-6s %s\n' stage call error when outcome
number=0
while [ "$number" -lt "$count" ]; do
    number=$((number + 1))
    until [ -e "$work/result.$number" ]; do
        sleep 0.1
        # shellcheck disable=SC2086 # a list of words
        any_running $lane_pids || [ -e "$work/result.$number" ] || break 2
    done
    cat "$work/result.$number"
done | tee "$work/results"
wait
lane_pids=

awk -v count="$count" '
     / FAILED: / { failed[++n] = $0; next }
     / ends: /   { ended++; next }
                 { survived++ }
     END { for (; NR < count; count--) failed[++n] = "a fault was not tried: its lane of this script has ended"
           if (n) print "\nWhat failed:"
           for (i = 1; i <= n; i++) print failed[i]
           printf "\n%d faults: %d survived, %d ended with a message, %d failed\n", survived + ended + n, survived, ended, n
           printf "%d passed, %d failed\n", survived + ended, n
           exit n > 0 || NR == 0 }' "$work/results"
