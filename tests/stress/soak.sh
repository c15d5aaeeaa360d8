#!/bin/sh
# soak.sh [SECONDS]: honest and hostile clients over all six servers at once, for SECONDS (120). No
# honest client may notice; no server may die, grow, keep a descriptor or a thread, or be busy when
# nobody wants anything. Each has so few descriptors that it runs out of them now and then.
# At the end each is told to stop with its clients waiting, and has to answer them.
set -u
cd "$(dirname "$0")/.." || exit 1

build=${BUILD:-build}
seconds=${1:-120}
stages='01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev'
limit=64 # descriptors of a server
most_kb=1024 ratio=125 # what memory may grow by: a MiB, and to 125 %

case $seconds in
[1-9][0-9] | [1-9][0-9][0-9] | [1-9][0-9][0-9][0-9]) ;;
*)
    echo "soak.sh: $seconds: want seconds, from 10 to 9999" >&2
    exit 2
    ;;
esac
for program in $stages probe hostile; do
    [ -x "$build/$program" ] || {
        echo "soak.sh: $build/$program is missing. To build it: make all $build/hostile" >&2
        exit 1
    }
done
ticks=$(getconf CLK_TCK)

work=$(mktemp -d)
lanes='' servers='' client=''
end_all() {
    trap '' INT TERM HUP
    # shellcheck disable=SC2086 # a list of words
    [ -z "$lanes$client$servers" ] || kill $lanes $client $servers 2>/dev/null
    # shellcheck disable=SC2086
    [ -z "$lanes" ] || wait $lanes
    # shellcheck disable=SC2086 # the second signal ends those that have somebody to answer
    [ -z "$servers" ] || kill $servers 2>/dev/null
    wait
    rm -rf "$work"
}
trap end_all EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- a server, by its pid

running() { # a dead one that nobody has waited for is not
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    case ${stat##*) } in Z* | X*) return 1 ;; esac
}

descriptors() {
    set -- "/proc/$1/fd/"*
    echo $#
}

cpu_ticks() {
    read -r stat 2>/dev/null <"/proc/$1/stat" || stat=') '
    # shellcheck disable=SC2086 # a list of words: state is the first, utime and stime are 12 and 13
    set -- ${stat##*) } 0 0 0 0 0 0 0 0 0 0 0 0 0
    echo $((${12} + ${13}))
}

sample() { # STAGE PID SECOND: a line "second rss high-water descriptors threads ticks"
    running "$2" || return 0
    rss=0 high=0 threads=0
    while read -r key value _; do
        case $key in
        VmRSS:) rss=$value ;;
        VmHWM:) high=$value ;;
        Threads:) threads=$value ;;
        esac
    done 2>/dev/null <"/proc/$2/status"
    [ "$rss" -eq 0 ] || echo "$3 $rss $high $(descriptors "$2") $threads $(cpu_ticks "$2")" >>"$work/$1.samples"
}

pid_of() { # STAGE: sets pid and url
    read -r pid url <"$work/$1.server"
}

# ---- the clients of one server; each lane a process of its own

ask() { # SHOT...: honest clients. 01 has others before them.
    "$build/probe" --tsv --timeout 60 "$url" "$@" >"$work/$stage.rows" 2>>"$work/$stage.says" &
    client=$!
    wait "$client"
    client=''
    awk -F '\t' -v wrong="$work/$stage.wrong" '
        NR == 1 { next }
        $8 == 200 && $9 == ($2 == "/fast" ? "That was fast!" : "That was slow!") { right++; next }
        { lost++; printf "%s: %s %s\n", $2, $8, $9 >>wrong }
        END { print right + 0, lost + (NR < 2) }' "$work/$stage.rows" >>"$work/$stage.honest"
}

abuse() { # SEED SECONDS CONNECTIONS
    "$build/hostile" --seed "$1" --seconds "$2" --connections "$3" "$url" \
        >"$work/$stage.abuse" 2>>"$work/$stage.says" &
    hostile=$!
}

abused() {
    wait "$hostile"
    status=$?
    hostile=''
    sed 1d "$work/$stage.abuse" >>"$work/$stage.hostile"
    [ $status -eq 0 ] || echo "hostile: exit status $status" >>"$work/$stage.bad"
}

# shellcheck disable=SC2086 # lists of words
lane() { # STAGE
    stage=$1 client='' hostile=''
    trap 'trap "" TERM; kill $client $hostile 2>/dev/null; wait; exit 143' TERM
    trap - EXIT
    pid_of "$stage"
    case $stage in
    01*) connections=3 gap=1 shots='4x0:/fast 300:/slow' ;;
    *) connections=60 gap=0.1 shots='20x0:/fast 10x0:/slow 250:/fast 10x400:/fast' ;;
    esac
    seed=0
    until [ -e "$work/over" ] || ! running "$pid"; do
        seed=$((seed + 1))
        abuse $seed 3 $connections
        ask $shots
        while running "$hostile"; do
            ask $shots
        done
        abused
        sleep $gap
    done
    # all hang up in the middle of whatever they are at, which is no reason to be busy
    for i in 1 2 3; do
        abuse $((seed + i)) 1 $connections
        abused
        before=$(cpu_ticks "$pid")
        sleep 1
        echo $((($(cpu_ticks "$pid") - before) * 100 / ticks))
    done >"$work/$stage.shares"
    sort -n "$work/$stage.shares" | tail -n 1 >"$work/$stage.quiet"
}

# ---- all of it

now() {
    date +%s
}

for stage in $stages; do
    : >"$work/$stage.out"
    (
        # shellcheck disable=SC3045 # dash, bash and busybox have it
        ulimit -n $limit
        exec "$build/$stage" --port 0 --delay 0.5 --timeout 1
    ) >"$work/$stage.out" 2>"$work/$stage.err" &
    servers="$servers $!"
    echo $! >"$work/$stage.pid"
done
for stage in $stages; do
    read -r pid <"$work/$stage.pid"
    i=250
    until read -r url <"$work/$stage.out"; do
        i=$((i - 1))
        if [ $i -eq 0 ] || ! running "$pid"; then
            echo "soak.sh: $stage did not start: $(cat "$work/$stage.err")" >&2
            exit 1
        fi
        sleep 0.02
    done
    echo "$pid ${url##* }" >"$work/$stage.server"
    : >"$work/$stage.says"
    sample "$stage" "$pid" -1
done

echo "Six servers with $limit descriptors each, $seconds s: memory in KiB, CPU in s"
for stage in $stages; do
    lane "$stage" &
    lanes="$lanes $!"
done
start=$(now) shown=0 second=0
while [ "$second" -lt "$seconds" ]; do
    sleep 0.5
    second=$(($(now) - start))
    for stage in $stages; do
        pid_of "$stage"
        sample "$stage" "$pid" "$second"
    done
    [ $((second - shown)) -ge $((seconds / 6)) ] || continue
    shown=$second
    for stage in $stages; do
        touch "$work/$stage.honest" "$work/$stage.hostile"
        awk -v second="$second" -v stage="$stage" -v ticks="$ticks" '
            FILENAME ~ /honest$/ { right += $1; wrong += $2 }
            FILENAME ~ /hostile$/ { hostile += $1; bad += $NF }
            FILENAME ~ /samples$/ { rss = $2; fds = $4; threads = $5; cpu = $6 / ticks }
            END { printf "%4d s  %-12s honest %5d, wrong %d; hostile %6d, wrong %d; memory %5d, descriptors %2d, threads %2d, CPU %.1f\n",
                      second, stage, right, wrong, hostile, bad, rss, fds, threads, cpu }' \
            "$work/$stage.honest" "$work/$stage.hostile" "$work/$stage.samples"
    done
done
: >"$work/over"
# shellcheck disable=SC2086 # a list of words
wait $lanes
lanes=''

settle() { # STAGE: are descriptors and threads as few as at the start? Sets fds, threads
    read -r _ _ _ base _ <"$work/$1.samples"
    i=100
    while running "$pid"; do
        set -- "/proc/$pid/task/"*
        threads=$# fds=$(descriptors "$pid")
        [ "$fds" -ne "$base" ] || [ "$threads" -ne 1 ] || return 0
        i=$((i - 1))
        [ $i -gt 0 ] || return 1
        sleep 0.05
    done
    return 1
}

passed=0 failed=0
judge() { # OK? STAGE WHAT DETAIL
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s: %s: FAILED: %s\n' "$2" "$3" "$4" >>"$work/failures"
    fi
}

first_line() {
    head -n 1 "$1" 2>/dev/null
}

: >"$work/table"
: >"$work/failures"
for stage in $stages; do
    touch "$work/$stage.honest" "$work/$stage.hostile"
    pid_of "$stage"
    fds=- threads=-
    settle "$stage"
    settled=$?
    sample "$stage" "$pid" "$seconds"
    quiet=$(cat "$work/$stage.quiet" 2>/dev/null || echo 100)
    # the most of a while on both ends: what a server holds at a moment depends on its clients
    awk -v stage="$stage" -v seconds="$seconds" -v fds="$fds" -v quiet="$quiet" -v ticks="$ticks" '
        FILENAME ~ /honest$/ { right += $1; wrong += $2; next }
        FILENAME ~ /hostile$/ { hostile += $1; bad += $NF
                                for (i = 1; i < NF; i++) n[i] += $i
                                next }
        FNR == 1 { base = $4; next }
        $1 <= seconds / 10 && $2 > tenth { tenth = $2 }
        $1 <= seconds / 5 && $2 > fifth { fifth = $2 }
        $1 >= seconds * 4 / 5 && $2 > last { last = $2 }
        $5 > threads { threads = $5 }
        $2 > high { high = $2 } # which the kernel may not have noticed yet
        $3 > high { high = $3 }
        { cpu = $6 / ticks }
        END { printf "%s\t%d\t%d\t%d\t%d", stage, right, wrong, hostile, bad
              for (i = 2; i <= 10; i++) printf "\t%d", n[i]
              printf "\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%.1f\t%d%%\n",
                     tenth, fifth, last, high, base, fds, threads, cpu, quiet }' \
        "$work/$stage.honest" "$work/$stage.hostile" "$work/$stage.samples" >"$work/row"
    cat "$work/row" >>"$work/table"
    # shellcheck disable=SC2046 # words
    set -- $(cat "$work/row")
    [ "$2" -gt 0 ] && [ "$3" -eq 0 ]
    judge $? "$stage" 'honest clients are served' "$2 right, $3 not: $(first_line "$work/$stage.wrong")"
    [ "$4" -gt 0 ] && [ "$5" -eq 0 ] && [ ! -e "$work/$stage.bad" ]
    judge $? "$stage" 'hostile clients get what they deserve' "$4 connections, $5 wrong: $(first_line "$work/$stage.says")"
    running "$pid"
    judge $? "$stage" 'it lives' "$(first_line "$work/$stage.err")"
    [ $((${17} * 100)) -le $((${16} * ratio + most_kb * 100)) ]
    judge $? "$stage" 'memory does not grow' "${16} KiB in the first fifth, ${17} in the last"
    judge $settled "$stage" 'descriptors and threads come back' "$fds descriptors, $threads threads; at the start ${19} and 1"
    [ "$quiet" -le 10 ]
    judge $? "$stage" 'it is quiet when all have gone' "$quiet % of a CPU"
done

# ---- told to stop, with clients waiting; more of them than it has descriptors

for stage in $stages; do
    pid_of "$stage"
    case $stage in
    01*) count=3 least=1 ;;
    *) count=100 least=100 ;;
    esac
    "$build/probe" --tsv --timeout 30 "$url" "${count}x0:/slow" >"$work/drain" 2>>"$work/$stage.says" &
    client=$!
    sleep 0.1
    before=$(cpu_ticks "$pid")
    sleep 0.3
    busy=$((($(cpu_ticks "$pid") - before) * 1000 / 3 / ticks))
    kill "$pid" 2>/dev/null
    wait "$client"
    client=''
    i=100
    while running "$pid" && [ $i -gt 0 ]; do
        sleep 0.05
        i=$((i - 1))
    done
    running "$pid" && kill -KILL "$pid"
    wait "$pid"
    status=$?
    servers=${servers# "$pid"}
    answered=$(awk -F '\t' '$8 == 200 && $9 == "That was slow!" { n++ } END { print n + 0 }' "$work/drain")
    [ $busy -le 40 ]
    judge $? "$stage" 'it is quiet while its clients wait' "$busy % of a CPU"
    [ "$answered" -ge $least ]
    judge $? "$stage" 'told to stop, it answers who is waiting' "$answered of $count answered"
    [ $status -eq 0 ]
    judge $? "$stage" 'told to stop, it ends well' "exit status $status: $(first_line "$work/$stage.err")"
done

echo
awk -F '\t' '
    BEGIN { row = "%-12s %7s %5s %8s %5s %7s %5s %5s %5s %5s %5s %5s %5s %5s\n"
            printf row, "", "honest", "wrong", "hostile", "wrong", "200", "400", "404", "405", "408", "414", "431", "501", "505" }
    { printf row, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 }' "$work/table"
echo
awk -F '\t' '
    BEGIN { row = "%-12s %9s %9s %9s %9s %11s %8s %8s %7s %5s\n"
            printf row, "memory (KiB)", "1st tenth", "1st fifth", "last 5th", "peak", "descriptors", "at end", "threads", "CPU (s)", "quiet" }
    { printf row, $1, $15, $16, $17, $18, $19, $20, $21, $22, $23 }' "$work/table"
if [ $failed -gt 0 ]; then
    echo
    cat "$work/failures"
    for stage in $stages; do
        [ ! -s "$work/$stage.says" ] || {
            echo "== what the clients of $stage say"
            head -n 12 "$work/$stage.says"
        }
    done
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
