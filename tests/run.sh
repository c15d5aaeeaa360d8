#!/bin/sh
# run.sh PROGRAM...: runs the Check programs, and sums up. check_stages runs once for each stage.
set -u

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

for program; do
    case $program in
    *check_stages) stages='01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev' ;;
    *) stages=all ;;
    esac
    for stage in $stages; do
        echo "== ${program##*/} $stage"
        STAGE=$stage "$program"
        status=$?
        [ "$status" -eq 0 ] || echo "!! ${program##*/} $stage: exit status $status"
    done
done 2>&1 | tee "$log"

# A program that died left no line with its numbers: that is a failure, too.
awk '/^== /                 { programs++ }
     /^[0-9]+%: Checks: /   { counted++; bad = $5 + $7; failed += bad; passed += $3 - bad }
     /^!! /                 { ended_badly++ }
     /:[FE]:/               { line[++n] = $0 }
     END { if (n) print "\nWhat failed:"
           for (i = 1; i <= n; i++) print line[i]
           failed += programs - counted
           if (failed == 0 && ended_badly) failed = ended_badly
           printf "%d passed, %d failed\n", passed, failed
           exit failed > 0 || passed == 0 }' "$log"
