#!/bin/sh
# Beside the servers that you know: who waits for whom, and what does a request cost?

stages="01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev"
delay=1 rounds=21 seconds=1 clients=64 tsv=''

usage() {
    cat <<END
usage: tests/peers.sh [OPTION]...
Asks the six stages, gunicorn, uvicorn, Node and nginx (those that are installed;
make deps-peers) for the same, one process each:

  latency  /fast while somebody waits for /slow, and five /slow at once
  cost     the CPU time of one /fast, of all processes of the server, with $clients
           clients that keep their connections; and as a ratio to the floor, a bare
           epoll loop that answers a constant (tests/floor.c)
  workers  the same of 05 with two workers, as a ratio to 05 with one

  --quick     fewer rounds
  --tsv FILE  write the figures as tab-separated values:
              server, metric, value, least, most
  --help

BUILD in the environment says where the programs are (build).
Exit status: 0 if no answer was lost and the claims at the end hold; 1 if not,
2 for a bad command line.
END
}

refuse() {
    printf 'peers.sh: %s\n' "$*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --help)
        usage
        exit
        ;;
    --quick) rounds=3 ;;
    --tsv=*)
        value=${1#*=}
        shift
        set -- --tsv "$value" "$@"
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
    *) refuse "$1: unexpected argument; see --help" ;;
    esac
    shift
done

CDPATH='' cd -- "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
LC_ALL=C
export LC_ALL
for program in probe floor cpu $stages; do
    if [ ! -x "$BUILD/$program" ]; then
        echo "peers.sh: $BUILD/$program is not built; make $BUILD/$program" >&2
        exit 1
    fi
done
if ! command -v wrk >/dev/null; then
    echo "peers.sh: wrk is missing. To install it: make deps-peers" >&2
    exit 1
fi

# What a request costs depends on how often the server falls asleep and is woken, and that on who is
# slower, it or its client: with two cores the floor slept 40 times in 1,000 requests, nginx 10
# times. So that all are asked the same, server and client share one core, and who is woken does not
# push the other aside (SCHED_BATCH, sched(7)): each works until nothing is left to do, and each turn
# of a server finds all clients waiting. (16 times in 1,000, each of them.)
core=$(sed -n 's/^Cpus_allowed_list:.*[^0-9]//p' /proc/self/status)
any_core='chrt --batch 0'
one_core="taskset -c $core $any_core"
if ! $one_core true; then
    echo "peers.sh: cannot bind a process to core $core, or make it SCHED_BATCH, with the taskset and chrt of util-linux" >&2
    exit 1
fi
[ -z "$tsv" ] || echo server metric value least most | tr ' ' '\t' 2>/dev/null >"$tsv" ||
    refuse "--tsv $tsv: cannot be written"

. tests/processes.sh

failed=0

fail() {
    echo "    FAILED: $*"
    failed=$((failed + 1))
}

# figure METRIC VALUE [LEAST MOST], of server $name
figure() {
    [ -z "$tsv" ] ||
        printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$1" "$2" "${3:--}" "${4:--}" >>"$tsv"
}

# started NAME TESTS [PROMISE]: the process that was just started in the background is the server
# NAME. Waits until it says where it listens, and answers there.
started() {
    name=$1 pid=$!
    running="$running $pid"
    left=150
    while [ $left -gt 0 ] && alive "$pid"; do
        url=$(sed -n 's|.*\(http://127\.0\.0\.1:[0-9][0-9]*\).*|\1|p' "$work/$name.out" 2>/dev/null | sed 1q)
        if [ -n "$url" ] && "$BUILD/probe" --timeout 2 "$url" 0:/fast >/dev/null 2>&1; then
            printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$pid" "$url" "$2" "${3:--}" >>"$work/servers"
            return
        fi
        sleep 0.1
        left=$((left - 1))
    done
    fail "$name does not answer"
    sed -n '1,5s/^/      /p' "$work/$name.out"
    alive "$pid" || wait "$pid"
}

# Loud, since a comparison without it is another comparison.
missing() {
    echo "LEFT OUT: $1 is not installed ($2); make deps-peers" | tee -a "$work/missing"
}

start_stage() { # NAME STAGE CORES TESTS PROMISE [OPTION]...
    name=$1 stage=$2 cores=$3 tests=$4 promise=$5
    shift 5
    $cores "$BUILD/$stage" --port 0 --delay $delay --timeout 3600 "$@" >"$work/$name.out" 2>&1 &
    started "$name" "$tests" "$promise"
}

free_port() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '
        { split($2, part, ":"); used[toupper(part[2])] = 1 }
        END { for (port = 18000; sprintf("%04X", port) in used; ) port++; print port }'
}

start_all() {
    : >"$work/servers"
    : >"$work/missing"
    # in the order in which they are asked: those that a claim compares, one right after the other
    both='latency cost'
    start_stage 01-blocking 01-blocking "$one_core" "$both" serializes
    for stage in 02-threaded 03-select 04-poll; do
        start_stage $stage $stage "$one_core" "$both" concurrent
    done
    start_stage 06-libev--block 06-libev "$one_core" latency serializes --block
    start_stage 06-libev 06-libev "$one_core" "$both" concurrent
    start_stage floor floor "$one_core" cost -
    start_stage 05-epoll 05-epoll "$one_core" "$both" concurrent

    DELAY=$delay
    export DELAY
    if command -v nginx >/dev/null; then
        port=$(free_port)
        mkdir "$work/nginx"
        sed "s/PORT/$port/" tests/peers/nginx.conf >"$work/nginx/nginx.conf"
        echo "http://127.0.0.1:$port" >"$work/nginx.out"
        $one_core nginx -p "$work/nginx" -c nginx.conf -e stderr >>"$work/nginx.out" 2>&1 &
        started nginx cost
    else
        missing nginx nginx-light
    fi
    if command -v node >/dev/null; then
        $one_core node tests/peers/node.js >"$work/node.out" 2>&1 &
        started node "$both" concurrent
    else
        missing Node nodejs
    fi
    # without -B, a program of the tests would leave its __pycache__ behind
    PYTHONDONTWRITEBYTECODE=1
    export PYTHONDONTWRITEBYTECODE
    if command -v uvicorn >/dev/null && has uvicorn fastapi; then
        $one_core uvicorn --workers=1 --port 0 --no-access-log --app-dir tests/peers \
            fastapi_app:app >"$work/uvicorn+FastAPI.out" 2>&1 &
        started uvicorn+FastAPI "$both" concurrent
        kind=$(sed -n 's/^loop: //p' "$work/uvicorn+FastAPI.out")
        MISTAKE=1 $one_core uvicorn --workers=1 --port 0 --no-access-log --app-dir tests/peers \
            fastapi_app:app >"$work/FastAPI,time.sleep.out" 2>&1 &
        started FastAPI,time.sleep latency serializes
    else
        missing 'uvicorn with FastAPI' 'uvicorn python3-fastapi'
    fi
    if command -v gunicorn >/dev/null && has gunicorn flask; then
        $one_core gunicorn --workers=1 --bind 127.0.0.1:0 --worker-tmp-dir "$work" \
            --chdir tests/peers flask_app:app >"$work/gunicorn+Flask.out" 2>&1 &
        started gunicorn+Flask "$both" serializes
    else
        missing 'gunicorn with Flask' 'gunicorn python3-flask'
    fi
    if [ "$(nproc)" -gt 1 ]; then
        for workers in 1 2; do
            start_stage 05-epoll--workers=$workers 05-epoll "$any_core" workers - --workers $workers
        done
    else
        echo "LEFT OUT: two workers, as there is one core" | tee -a "$work/missing"
    fi
}

# Has the Python that program $1 runs on module $2?
has() {
    python=$(sed -n '1s/^#! *//p' "$(command -v "$1")")
    # shellcheck disable=SC2086 # it may be "/usr/bin/env python3"
    $python -c "import $2" 2>/dev/null
}

# ---- latency

latency() {
    while IFS='	' read -r name pid url tests promise; do
        case $tests in latency*) ;; *) continue ;; esac
        "$BUILD/probe" --tsv "$url" 0:/slow 100:/fast >"$work/two" 2>"$work/err" ||
            fail "$name: $(sed 1q "$work/err") answers lost"
        "$BUILD/probe" --tsv "$url" 5x0:/slow >"$work/five" 2>"$work/err" ||
            fail "$name: $(sed 1q "$work/err") answers lost"
        fast_ms=$(awk -F '\t' '$2 == "/fast" { print $7 - $3 }' "$work/two")
        five_ms=$(awk -F '\t' 'NR > 1 && $7 > end { end = $7 } END { print end }' "$work/five")
        verdict=concurrent
        [ "$(calculate %d "$fast_ms < $delay * 500 && $five_ms < $delay * 2000")" = 1 ] ||
            verdict=serializes
        figure fast_ms "$fast_ms"
        figure five_slow_ms "$five_ms"
        printf '%-22s %10.1f ms %12.1f ms  %s\n' "$name" "$fast_ms" "$five_ms" "$verdict"
        [ "$verdict" = "$promise" ] || fail "$name $verdict: its model promises otherwise"
    done <"$work/servers"
}

# ---- cost

# CPU time of a server so far, in us: of the process that was started, and of its children.
cpu_us() {
    # shellcheck disable=SC2046 # numbers
    "$BUILD/cpu" "$1" $(cat "/proc/$1/task/$1/children")
}

# One round: a line of server, round, CPU time of a request in us, requests per second.
load() { # CLIENT...
    before=$(cpu_us "$pid")
    "$@" -c$clients -d${seconds}s --timeout 10s "$url/fast" >"$work/wrk" 2>&1
    after=$(cpu_us "$pid")
    lost=$(grep -e 'Non-2xx' -e 'Socket errors' "$work/wrk")
    [ -z "$lost" ] || fail "$name: $lost"
    awk -v name="$name" -v us="$(calculate %.3f "$after - $before")" -v round="$round" '
        / requests in / { n = $1; s = $4; if (s ~ /ms,/) s /= 1000 }
        END { if (n > 0 && s + 0 > 0)
                  printf "%s\t%d\t%.3f\t%.0f\n", name, round, us / n, n / (s + 0) }' "$work/wrk" \
        >>"$work/rounds.$experiment"
}

measure() { # EXPERIMENT BASE CLIENT...
    experiment=$1 base=$2
    shift 2
    : >"$work/rounds.$experiment"
    for round in $(seq $rounds); do
        while IFS='	' read -r name pid url tests promise; do
            case $tests in *"$experiment") load "$@" ;; esac
        done <"$work/servers"
    done
    summary
}

# Of each server, the median of the rounds, the least and the most: CPU time, its ratio to that of
# $base in the same round, requests per second.
summary() {
    awk -F '\t' -v base="$base" '
        function sorted(list, n,  i, j, v) {
            for (i = 2; i <= n; i++) {
                v = list[i]
                for (j = i - 1; j > 0 && list[j] > v; j--) list[j + 1] = list[j]
                list[j + 1] = v
            }
            return sprintf("%.3f\t%.3f\t%.3f", list[int((n + 1) / 2)], list[1], list[n])
        }
        !($1 in seen) { seen[$1] = 1; name[++names] = $1 }
        { cpu[$1, $2] = $3; rate[$1, $2] = $4 }
        $2 > rounds { rounds = $2 }
        END {
            for (i = 1; i <= names; i++) {
                n = 0
                for (r = 1; r <= rounds; r++)
                    if ((name[i], r) in cpu && (base, r) in cpu) {
                        n++
                        a[n] = cpu[name[i], r]
                        b[n] = cpu[name[i], r] / cpu[base, r]
                        c[n] = rate[name[i], r]
                    }
                if (n) printf "%s\t%s\t%s\t%s\n", name[i], sorted(a, n), sorted(b, n), sorted(c, n)
            }
        }' "$work/rounds.$experiment" | sort -t '	' -k 2,2g >"$work/summary"
    printf '%-22s %26s %24s %12s\n' server 'CPU us a /fast' "times ${base#05-epoll--}" '/fast a second'
    while IFS='	' read -r name cpu cpu_least cpu_most ratio ratio_least ratio_most rate rate_least \
        rate_most; do
        figure "${experiment}_us" "$cpu" "$cpu_least" "$cpu_most"
        figure "${experiment}_ratio" "$ratio" "$ratio_least" "$ratio_most"
        figure "${experiment}_rate" "$rate" "$rate_least" "$rate_most"
        printf '%-22s %9.2f (%6.2f to %6.2f) %8.2f (%5.2f to %5.2f) %12.0f\n' "$name" "$cpu" \
            "$cpu_least" "$cpu_most" "$ratio" "$ratio_least" "$ratio_most" "$rate"
    done <"$work/summary"
}

# The median of the rounds: what does server $1 take of what server $2 takes?
ratio() {
    awk -F '\t' -v a="$1" -v b="$2" '
        $1 == a { x[$2] = $3 }
        $1 == b { y[$2] = $3 }
        END {
            for (r in x) if (r in y) {
                v = x[r] / y[r]
                for (i = n++; i > 0 && list[i] > v; i--) list[i + 1] = list[i]
                list[i + 1] = v
            }
            if (n) printf "%.4f\n", list[int((n + 1) / 2)]
        }' "$work"/rounds.*
}

# claim A B LEAST MOST TEXT: A's CPU time for a request, as a ratio to B's.
claim() {
    value=$(ratio "$1" "$2")
    if [ -z "$value" ]; then
        printf '    not measured: %s\n' "$5"
    elif [ "$(calculate %d "$value >= $3 && $value <= $4")" = 1 ]; then
        printf '    holds (%.2f): %s\n' "$value" "$5"
    else
        fail "$(printf '(%.2f): %s' "$value" "$5")"
    fi
}

start_all
echo
echo "Who waits for whom: /slow waits $delay s"
printf '%-22s %13s %15s  %s\n' server '/fast behind' 'five /slow' verdict
latency
[ -z "${kind:-}" ] || echo "uvicorn's loop: $kind"
echo
echo "CPU time of the server for one /fast: $clients clients, $rounds rounds of $seconds s, each round asks all in"
echo "turn; the median, least to most. Server and client share core $core, and take turns there. All"
echo "connections are kept, but with 01-blocking and gunicorn, which close each: there the price is"
echo "that of a new connection, too."
# shellcheck disable=SC2086 # a command and its options
measure cost floor $one_core wrk -t1
echo
echo "The same, but on all cores, and with a client of two threads:"
# shellcheck disable=SC2086
measure workers 05-epoll--workers=1 $any_core wrk -t2
echo
echo "Claims, as ratios of CPU time for each request:"
claim 05-epoll floor 0 1.10 '05 takes at most 1.10 times the floor'
claim 06-libev floor 0 1.20 '06 takes at most 1.20 times the floor'
claim 05-epoll nginx 0 0.85 "05 takes at most 0.85 times nginx's"
claim uvicorn+FastAPI 05-epoll 10 1e9 'uvicorn with FastAPI takes at least 10 times that of 05'
claim gunicorn+Flask 05-epoll 25 1e9 'gunicorn with Flask takes at least 25 times that of 05'
claim 05-epoll--workers=2 05-epoll--workers=1 0 1.11 '05 with two workers takes at most 1.11 times that with one'
cat "$work/missing"
if [ $failed -gt 0 ]; then
    echo "$failed failed: see above."
    exit 1
fi
