#!/bin/sh
# Which server keeps /fast waiting behind /slow? Asks each stage, or a server of yours.

stages="01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev"
delay=1 workers=1 slow=/slow fast=/fast tsv='' tries=3

usage() {
    cat <<END
usage: tests/latency.sh [OPTION]... [STAGE | URL]...
Asks servers for /slow and /fast, and shows which of them serialize requests.

A STAGE is started and stopped here. All of them, if nothing is named:
$stages
trap (which is 06-libev --block).
A URL, such as http://127.0.0.1:8000, is a server of yours that runs already.

  --delay SECONDS  how long /slow waits in a stage, 0.1 to 3600 (1); that of a
                   URL is measured
  --workers N      start each stage with N processes, and ask for N times as many
                   /slow (1)
  --slow PATH      the routes to ask for (/slow, /fast)
  --fast PATH
  --tsv FILE       write what each request came to, as tests/probe.c prints it
  --help

BUILD in the environment says where the programs are (build).
Exit status: 0 if every stage behaves as its model promises, and every URL can
be judged; 1 if not, 2 for a bad command line.
END
}

refuse() {
    printf 'latency.sh: %s\n' "$*" >&2
    exit 2
}

number() {
    case $1 in
    '' | . | *[!0-9.]* | *.*.*) return 1 ;;
    esac
}

check_path() {
    case $2 in
    /*) ;;
    *) refuse "$1 $2: want a path that begins with /" ;;
    esac
    case $2 in
    *[!!-~]* | *\\*) refuse "$1 $2: want a path without blanks, backslashes and bytes above 0x7E" ;;
    esac
}

# What awk prints must not depend on the reader's language, so what is asked of it is kept here.
case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in
*UTF-8* | *utf-8* | *UTF8* | *utf8*) block=█ ;;
*) block='#' ;;
esac
LC_ALL=C
export LC_ALL

all=''
while [ $# -gt 0 ]; do
    case $1 in
    --help)
        usage
        exit
        ;;
    --delay=* | --workers=* | --tsv=* | --slow=* | --fast=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        continue
        ;;
    --delay | --workers | --tsv | --slow | --fast)
        [ $# -gt 1 ] || refuse "$1 wants a value"
        case $1 in
        --delay)
            { number "$2" && echo "$2" | awk '{ exit !($1 >= 0.1 && $1 <= 3600) }'; } ||
                refuse "--delay $2: want seconds, from 0.1 to 3600"
            delay=$2
            ;;
        --workers)
            case $2 in
            '' | *[!0-9]* | ????* | 0*) refuse "--workers $2: want a number from 1 to 999" ;;
            esac
            workers=$2
            ;;
        --tsv)
            [ -n "$2" ] || refuse "--tsv: want the name of a file"
            case $2 in
            /*) tsv=$2 ;;
            *) tsv=$PWD/$2 ;;
            esac
            ;;
        --slow) check_path --slow "$2" && slow=$2 ;;
        --fast) check_path --fast "$2" && fast=$2 ;;
        esac
        shift
        ;;
    -*) refuse "$1: no such option; see --help" ;;
    http://*)
        case $1 in
        http:// | http:///* | http://*/?* | *[!!-~]* | *\\*)
            refuse "$1: want http://HOST[:PORT], without a path (--slow and --fast are the paths)"
            ;;
        esac
        all="$all $1"
        ;;
    *)
        case " $stages trap " in
        *" $1 "*) all="$all $1" ;;
        *) refuse "$1: no such stage, and no http:// URL; want one of: $stages trap" ;;
        esac
        ;;
    esac
    shift
done
[ -n "$all" ] || all="$stages trap"

set -f # http://[::1]:8000 is no pattern of file names
CDPATH='' cd -- "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
if [ ! -x "$BUILD/probe" ]; then
    echo "latency.sh: $BUILD/probe is not built; make probe" >&2
    exit 1
fi
if [ -n "$tsv" ]; then
    echo stage experiment try request path start_ms connected_ms sent_ms first_ms done_ms status \
        body | tr ' ' '\t' 2>/dev/null >"$tsv" || refuse "--tsv $tsv: cannot be written"
fi

good='' bad='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    good=$(printf '\033[32m') bad=$(printf '\033[31m') plain=$(printf '\033[0m')
fi

. tests/processes.sh
# shellcheck disable=SC2034 # for stop_all: nobody waits for what an interrupted experiment asked
patience=1

span='function span(ms) {
    return ms < 100 ? sprintf("%.1f ms", ms) : sprintf("%.3f s", ms / 1000)
}'

# Puts a row of the table aside: /fast, five /slow, verdict, threads.
result() {
    printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$@" >>"$work/table"
}

# $1 went wrong, which is a result, too, but never a time.
fail() {
    say "$bad$1$plain"
    result - - "$1" -
    failed=$((failed + 1))
}

# Starts $stage with the options given; sets url. Returns 1 if it does not come up.
start() {
    if [ ! -x "$BUILD/$stage" ]; then
        case $stage in
        06*) fail "$stage is not built; make deps" ;;
        *) fail "$stage is not built; make $stage" ;;
        esac
        return 1
    fi
    : >"$work/out"
    "$BUILD/$stage" --port 0 --delay "$delay" --timeout "$timeout" --workers "$workers" "$@" \
        >"$work/out" 2>"$work/err" &
    server=$! running="$running $!"
    left=200
    while [ $left -gt 0 ]; do
        url=$(sed -n "1s|^$stage: listening on \\(http://127\\.0\\.0\\.1:[0-9]*\\)\$|\\1|p" \
            "$work/out")
        [ -z "$url" ] || return 0
        alive "$server" || break
        sleep 0.05
        left=$((left - 1))
    done
    if [ $left -gt 0 ]; then
        wait "$server"
        fail "did not start (status $?)"
    else
        fail "did not say in 10 s where it listens"
    fi
    show "$work/err"
    return 1
}

# The first lines of what a program wrote to stderr.
show() {
    sed -n '1,5s/^/      /p' "$1"
}

# ask EXPERIMENT MS:PATH...: leaves what became of the requests in $work/rows, and sets most to the
# number of threads that the server had meanwhile. The client runs in the background, so that this
# shell can count, and hears a signal.
ask() {
    experiment=$1 most=-
    shift
    "$BUILD/probe" --timeout "$longest" "$url" "$@" >"$work/all" 2>"$work/err.client" &
    client=$! running="$running $!"
    while alive "$client"; do
        if [ "$workers" = 1 ] && alive "$server" && { [ "$most" = - ] || [ "$threads" -gt "$most" ]; }; then
            most=$threads
        fi
        sleep 0.05
    done
    wait "$client"
    sed 1d "$work/all" >"$work/rows"
    [ -z "$tsv" ] || awk -v columns="$name	$experiment	$try" '{ print columns "\t" $0 }' \
        "$work/rows" >>"$tsv"
}

# Are the answers in $work/rows what was asked for? If not, fails.
right() {
    wrong=$(awk -F '\t' -v slow="$slow" -v strict="$stage" '
        { body = $2 == slow ? "That was slow!" : "That was fast!" }
        $8 != 200 { print $2 ($8 ~ /^[0-9]+$/ ? ": status " : ": ") $8; exit }
        strict != "" && $9 != body {
            print $2 ": answers \"" $9 "\", not \"" body "\""
            exit
        }' "$work/rows")
    if [ ! -s "$work/rows" ]; then
        fail "cannot be asked"
        show "$work/err.client"
        return 1
    elif [ -z "$wrong" ] && { [ -z "$server" ] || alive "$server"; }; then
        return 0
    fi
    [ -z "$server" ] || sleep 0.2 # who breaks off may be about to die
    if [ -n "$server" ] && ! alive "$server"; then
        wait "$server"
        status=$?
        [ $status -le 128 ] || status="$status, by signal $((status - 128))"
        fail "died (status $status)"
        show "$work/err"
        server=''
    else
        fail "$wrong"
    fi
    return 1
}

# Both requests on one scale: $3 is the start of each, $7 its end.
draw() {
    awk -F '\t' -v block="$block" -v waited="$waited" -v good="$good" -v bad="$bad" \
        -v plain="$plain" "$span"'
        { path[NR] = length($2) > 12 ? substr($2, 1, 11) "~" : $2; from[NR] = $3; to[NR] = $7 }
        $7 > end { end = $7 }
        END {
            for (i = 1; i <= NR; i++) {
                a = int(from[i] / end * 44 + 0.5)
                b = int(to[i] / end * 44 + 0.5)
                if (a == 44) a--
                if (b <= a) b = a + 1
                bar = ""
                for (n = 0; n < 44; n++) bar = bar (n >= a && n < b ? block : n < b ? " " : "")
                for (pad = ""; n > b; n--) pad = pad " "
                color = i < NR ? "" : waited ? bad : good
                printf "    %-12s %s%s%s%s  %8s\n", path[i], color, bar,
                    color == "" ? "" : plain, pad, span(to[i] - from[i])
            }
        }' "$work/rows"
}

# The two experiments, once. Sets fast_took, delays, most and verdict; returns 1 if it has failed.
try() {
    verdict=failed
    clients='one client asks'
    [ "$workers" = 1 ] || clients="$workers clients ask"
    say "$clients for $slow, and $(calculate %.0f "$gap_ms") ms later another for $fast ..."
    ask fast-behind-slow "${workers}x0:$slow" "$gap_ms:$fast"
    right || return 1
    # it has waited if it took more than half of what was left of the delay
    awk -F '\t' -v delay="$delay" "$span"'
        NR == 1 { end = $3 + delay * 1000 }
        { began = $3; took = $7 - $3 }
        END { print (took > (end - began) / 2), span(took) }' "$work/rows" >"$work/numbers"
    read -r waited fast_took <"$work/numbers"
    draw
    if [ "$waited" = 1 ]; then
        say "${bad}$fast had to wait for $slow$plain"
    else
        say "${good}$fast did not wait$plain"
    fi

    clients=five
    [ "$workers" = 1 ] || clients=$((5 * workers))
    say "$clients clients ask for $slow at once ..."
    ask five-slow "$((5 * workers))x0:$slow"
    right || return 1
    awk -F '\t' -v delay="$delay" "$span"'
        NR == 1 || $3 < start { start = $3 }
        $7 > end { end = $7 }
        END {
            n = (end - start) / 1000 / delay
            how = n > 3 ? "serial" : n < 2 ? "concurrent" : "unclear"
            printf "%.1f %s %s\n", n, how, span(end - start)
        }' "$work/rows" >"$work/numbers"
    read -r delays five last_took <"$work/numbers"
    case $five in
    serial) how="${bad}one after the other" ;;
    concurrent) how="${good}side by side" ;;
    *) how="neither one after the other nor side by side" ;;
    esac
    case $most in
    -) count='' ;;
    1) count=', 1 thread' ;;
    *) count=", $most threads" ;;
    esac
    say "the last is answered after $last_took, $delays delays: $how$plain$count"

    case $waited$five in
    1serial) verdict=serializes ;;
    0concurrent) verdict=concurrent ;;
    *) verdict=unclear ;;
    esac
}

# Noise can only add time: so what does not come out as promised is asked again, and said.
judge_stage() {
    try=1
    while try; do
        [ "$verdict" != "$promise" ] || break
        [ $try -lt $tries ] || break
        try=$((try + 1))
        say "again: $verdict, but the model promises $promise (try $try of $tries)"
    done
    [ "$verdict" != failed ] || return 0
    result "$fast_took" "$delays delays" "$verdict" "$most"
    if [ "$verdict" != "$promise" ]; then
        echo "$name: $verdict in each of $tries tries; its model promises $promise" >>"$work/notes"
        failed=$((failed + 1))
    elif [ $try -gt 1 ]; then
        echo "$name: only in try $try as its model promises" >>"$work/notes"
    fi
}

# Its delay is what its /slow takes alone; without a clear one there is nothing to judge.
judge_url() {
    try=1 longest=60 delay=''
    say "how long do $fast and $slow take alone ..."
    ask fast-alone "0:$fast"
    right || return 0
    fast_s=$(awk -F '\t' '{ printf "%.3f", ($7 - $3) / 1000 }' "$work/rows")
    fast_took=$(awk -F '\t' "$span"'{ print span($7 - $3) }' "$work/rows")
    ask slow-alone "0:$slow"
    right || return 0
    delay=$(awk -F '\t' '{ printf "%.3f", ($7 - $3) / 1000 }' "$work/rows")
    say "$fast $fast_took, $slow $delay s"
    if [ "$(calculate %d "$delay >= 0.1 && $delay > 3 * $fast_s")" = 0 ]; then
        fail "cannot be judged: $slow is not clearly slower than $fast"
        return 0
    fi
    set_times
    try || return 0
    result "$fast_took" "$delays delays" "$verdict" "$most"
    if [ "$verdict" = unclear ]; then
        echo "$name: unclear; it may serve a few at a time, with several workers" >>"$work/notes"
        failed=$((failed + 1))
    fi
}

set_times() {
    gap_ms=$(calculate %.3f "$delay >= 1 ? 100 : $delay * 100")
    longest=$(calculate %.3f "$delay * 6 + 10")
    timeout=$(calculate %.3f "$delay * 8 + 20")
}

: >"$work/table"
: >"$work/notes"
failed=0 asked=0 stage_delay=$delay
for stage in $all; do
    [ $asked -eq 0 ] || echo
    asked=$((asked + 1))
    name=$stage promise=concurrent delay=$stage_delay url='' server=''
    set_times
    case $stage in
    http://*)
        url=$stage stage=''
        echo "$name"
        judge_url
        continue
        ;;
    01*) promise=serializes ;;
    trap)
        stage=06-libev name='06-libev --block' promise=serializes
        ;;
    esac
    if [ "$name" = "$stage" ]; then
        echo "$name"
        start && judge_stage
    else
        echo "$name (the trap: /slow sleeps inside the loop)"
        start --block && judge_stage
    fi
    stop_all
done

echo
awk -F '\t' -v good="$good" -v bad="$bad" -v plain="$plain" -v slow="$slow" -v fast="$fast" \
    -v five="$([ "$workers" = 1 ] && echo five || echo $((5 * workers)))" '
    BEGIN {
        line = "%-22s  %18s  %11s  %s%-10s%s  %7s\n"
        if (length(fast slow) > 10) { fast = "fast"; slow = "slow" }
        printf line, "server", fast " behind " slow, five " " slow, "", "verdict", "", "threads"
    }
    {
        name = length($1) > 22 ? substr($1, 1, 21) "~" : $1
        color = $4 == "concurrent" ? good : $4 == "serializes" ? bad : ""
        if ($2 == "-") printf "%-22s  %s%s%s\n", name, bad, substr($4, 1, 56), plain
        else printf line, name, $2, $3, color, $4, color == "" ? "" : plain, $5
    }' "$work/table"
echo
cat "$work/notes"
if [ $failed -gt 0 ]; then
    echo "$failed of $asked did not come out as they should: see above."
    exit 1
fi
echo "A server serializes when it waits for one client and can do nothing else meanwhile:
it takes a thread for each client, or a loop that never blocks, to keep /fast fast."
