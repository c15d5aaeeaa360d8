#!/bin/sh
# Writes the measured figures of tests/bench/results into the tables of tutorial.md, between their marks.
# --check: says whether they stand there already.
set -eu
cd "$(dirname "$0")/../.."

stages='01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev'

idle() {
    awk -F '\t' -v stages="$stages" '
        $1 == "idle" && $4 == "cpu_us" { value[$2, $3] = sprintf($5 < 10 ? "%.1f µs" : "%.0f µs", $5) }
        END {
            print "| idle connections | 0 | 100 | 1,000 | 10,000 |"
            print "|---|--:|--:|--:|--:|"
            n = split(stages, stage, " ")
            for (i = 2; i <= n; i++) {
                line = "| " stage[i]
                for (count = 0; count <= 10000; count = count ? count * 10 : 100)
                    line = line " | " ((stage[i], count) in value ? value[stage[i], count] : "-")
                print line " |"
            }
        }' tests/bench/results/scale.tsv
    machine tests/bench/results/scale.tsv 'make scale'
}

waits() {
    awk -F '\t' -v stages="$stages" '
        $1 == "waits" { value[$2, $3, $4] = $5 }
        END {
            print "| | the last was late by | threads | memory for each client: in the server | in the kernel, beside it |"
            print "|---|--:|--:|--:|--:|"
            n = split(stages, stage, " ")
            for (i = 1; i <= n; i++)
                if ((stage[i], 10000, "late_ms") in value)
                    printf "| %s | %.0f ms | %s | %.1f KiB | %.1f KiB |\n", stage[i],
                        value[stage[i], 10000, "late_ms"], value[stage[i], 10000, "threads"],
                        value[stage[i], 10000, "server_kib"], value[stage[i], 10000, "kernel_kib"]
        }' tests/bench/results/scale.tsv
    machine tests/bench/results/scale.tsv 'make scale'
}

peers() {
    awk -F '\t' '
        $2 == "cost_us" { order[++n] = $1; cpu[$1] = $3 }
        $2 == "cost_ratio" { ratio[$1] = $3 }
        END {
            print "| | processor time for one `/fast` | against a bare loop |"
            print "|---|--:|--:|"
            for (i = 1; i <= n; i++)
                printf "| %s | %.1f µs | %.2f |\n", order[i], cpu[order[i]], ratio[order[i]]
        }' tests/bench/results/peers.tsv
    machine tests/bench/results/peers.tsv 'make peers'
}

machine() {
    sed -n '1s/^# //p' "$1" | awk -v command="$2" '{ print ""; print "(" $0 ". Measured by `" command "`; medians.)" }'
}

new=$(mktemp)
trap 'rm -f "$new" "$new".*' EXIT
for table in idle waits peers; do
    $table >"$new.$table"
done
awk -v new="$new" '
    /^<!-- table: / { print; name = $3; while ((getline line < (new "." name)) > 0) print line; skip = 1; tables++ }
    /^<!-- end -->/ { skip = 0 }
    !skip
    END { exit tables != 3 }' tutorial.md >"$new"
if [ "${1:-}" = --check ]; then
    cmp -s "$new" tutorial.md || {
        echo "the tables of tutorial.md are not those of tests/bench/results; make tables" >&2
        diff tutorial.md "$new" >&2
        exit 1
    }
else
    cat "$new" >tutorial.md
fi
