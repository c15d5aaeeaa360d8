#!/bin/sh
# run.sh PROGRAM...: runs the Check programs, and sums up. check_stages runs once for each stage, all
# six side by side, since it mostly waits.
set -u

work=$(mktemp -d)
: >"$work/pids"
# A shell has what it starts in the background ignore Ctrl-C. With a test goes its server.
end_all() {
    xargs -r kill -KILL <"$work/pids" 2>/dev/null
    rm -rf "$work"
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for program; do
    case $program in
    *check_stages) set -- 01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev ;;
    *) set -- all ;;
    esac
    for stage; do
        STAGE=$stage "$program" >"$work/$stage" 2>&1 &
        echo $! >>"$work/pids"
    done
    for stage; do
        read -r pid
        wait "$pid" || echo "!! ${program##*/} $stage: exit status $?" >>"$work/$stage"
    done <"$work/pids"
    : >"$work/pids"
    for stage; do
        echo "== ${program##*/} $stage"
        cat "$work/$stage"
    done
done | tee "$work/log"

# A program that died left no line with its numbers: that is a failure, too.
awk '/^== /              { programs++ }
     /%: Checks: [0-9]+/ { sub(/.*Checks:/, "Checks:"); gsub(/[^0-9 ]/, "")
                           counted++; failed += $2 + $3; passed += $1 - $2 - $3 }
     /^!! /              { ended_badly++ }
     /:[FE]:/            { line[++n] = $0 }
     END { if (n) print "\nWhat failed:"
           for (i = 1; i <= n; i++) print line[i]
           failed += programs - counted
           if (failed == 0 && ended_badly) failed = ended_badly
           printf "%d passed, %d failed\n", passed, failed
           exit failed > 0 || passed == 0 }' "$work/log"
