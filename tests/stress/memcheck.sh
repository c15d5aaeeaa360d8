#!/bin/sh
# memcheck.sh BUILD: valgrind's memcheck over the tests of BUILD that run in one process, and over the
# six servers while honest and hostile clients keep them busy; its helgrind over the threads of 02. All
# at the same time, since servers mostly wait.
set -u
cd "$(dirname "$0")/.." || exit 1

build=${1:-build/valgrind}
stages='01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev'
memcheck='--leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite'

command -v valgrind >/dev/null || {
    echo "memcheck.sh: valgrind is missing. To install it: make deps-tools" >&2
    exit 1
}
[ -x "$build/hostile" ] || make -s BUILD="$build" CFLAGS='-O1 -g' "$build/hostile" || exit 1
for program in $stages check_http check_connections probe hostile; do
    [ -x "$build/$program" ] || {
        echo "memcheck.sh: $build/$program is missing. To build it: make memcheck" >&2
        exit 1
    }
done

work=$(mktemp -d)
lanes=''
end_all() {
    trap '' INT TERM HUP
    # shellcheck disable=SC2086 # a list of words
    [ -z "$lanes" ] || kill $lanes 2>/dev/null
    wait
    rm -rf "$work"
}
trap end_all EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

running() { # a dead one that nobody has waited for is not
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    case ${stat##*) } in Z* | X*) return 1 ;; esac
}

grind() { # NAME OUTPUT OPTION... PROGRAM...: a log of each process, which holds errors alone
    log=$work/$1.valgrind out=$2
    shift 2
    valgrind -q --error-exitcode=99 --child-silent-after-fork=no --log-file="$log.%p" "$@" >"$out" 2>&1 &
    child=$!
}

no_errors() { # sets problem
    cat "$log".* >"$log" 2>/dev/null
    [ ! -s "$log" ] || problem=${problem:-"valgrind has found errors"}
}

# Under valgrind an accept beyond the limit of descriptors takes the client, and resets it: what a
# test says of running out is right without it alone.
check() { # PROGRAM
    # shellcheck disable=SC2086 # a list of words
    grind "$name" "$work/$name.out" $memcheck "$build/$1"
    wait "$child"
    status=$?
    child=''
    if ! grep -q '%: Checks: [1-9]' "$work/$name.out"; then
        problem="ended with status $status"
    elif grep ':[FE]:' "$work/$name.out" | grep -qv ':F:running out:'; then
        problem=$(grep ':[FE]:' "$work/$name.out" | grep -v ':F:running out:' | head -n 1)
    elif [ $status -eq 99 ]; then
        problem='valgrind has found errors'
    fi
    no_errors
}

ask() { # SHOT...
    "$build/probe" --tsv --timeout 60 "$url" "$@" >"$work/$name.rows" 2>"$work/$name.says" &
    client=$!
    wait "$client" || problem=${problem:-"a client was let down: $(head -n 1 "$work/$name.says")$(awk -F '\t' 'NR > 1 && $8 != 200 { print $2, $8; exit }' "$work/$name.rows")"}
    client=''
}

abuse() { # SECONDS CONNECTIONS
    "$build/hostile" --seconds "$1" --connections "$2" "$url" >"$work/$name.rows" 2>"$work/$name.says" &
    client=$!
    wait "$client" || problem=${problem:-"a wrong answer: $(head -n 1 "$work/$name.says")"}
    client=''
}

serve() { # STAGE OPTION...
    stage=$1
    shift
    grind "$name" "$work/$name.out" "$@" "$build/$stage" --port 0 --delay 0.3 --timeout 1.5 --verbose
    i=600
    until url=$(sed -n 's/.* listening on //p' "$work/$name.out") && [ -n "$url" ]; do
        i=$((i - 1))
        if [ $i -eq 0 ] || ! running "$child"; then
            problem="did not start: $(head -n 1 "$work/$name.out")"
            no_errors
            return
        fi
        sleep 0.05
    done
    case $stage in
    01*)
        ask 5x0:/fast 2x0:/slow
        abuse 3 2
        ask 0:/fast 0:/slow
        ;;
    *)
        ask 20x0:/fast 10x0:/slow 10x100:/fast
        abuse 5 30
        ask 20x0:/fast 10x0:/slow
        ;;
    esac
    # told to stop with somebody to answer
    "$build/probe" --timeout 60 "$url" 0:/slow >/dev/null 2>&1 &
    client=$!
    sleep 0.2
    kill "$child"
    wait "$client"
    i=600
    while running "$child" && [ $i -gt 0 ]; do
        sleep 0.05
        i=$((i - 1))
    done
    running "$child" && kill -KILL "$child"
    wait "$child"
    status=$?
    child='' client=''
    [ $status -eq 0 ] || problem=${problem:-"ended with status $status"}
    no_errors
}

lane() { # NAME FUNCTION ARGUMENT...
    name=$1 child='' client='' problem=''
    shift
    # the second signal ends a server that has somebody to answer
    trap 'trap "" TERM; kill $child $client 2>/dev/null; sleep 0.2; kill $child 2>/dev/null; wait; exit 143' TERM
    "$@"
    {
        echo "$name: ${problem:-ok}"
        [ -z "$problem" ] || head -n 40 "$log"
    } >"$work/$name.done"
    mv "$work/$name.done" "$work/$name.result"
}

start() { # NAME FUNCTION ARGUMENT...
    lane "$@" &
    lanes="$lanes $!"
    names="$names $1"
}

names=''
start check_http check check_http
start check_connections check check_connections
for stage in $stages; do
    # shellcheck disable=SC2086 # a list of words
    start "$stage" serve "$stage" $memcheck
done
start 02-threaded-helgrind serve 02-threaded --tool=helgrind

passed=0 failed=0 number=0
for name in $names; do
    number=$((number + 1))
    # shellcheck disable=SC2086 # a list of words
    wait "$(set -- $lanes && eval "echo \${$number}")"
    if grep -qx "$name: ok" "$work/$name.result" 2>/dev/null; then
        passed=$((passed + 1))
        echo "$name: ok"
    else
        failed=$((failed + 1))
        echo "$name: FAILED"
        cat "$work/$name.result"
    fi
done
lanes=''
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
