#!/bin/sh
# Draws the pictures of the tutorial from what was measured: tests/results/*.tsv.
set -eu

stages="01-blocking 02-threaded 03-select 04-poll 05-epoll 06-libev"
measure=false quick=''

usage() {
    cat <<END
usage: tests/figures.sh [OPTION]...
Draws 01-blocking/timeline.svg to 06-libev/timeline.svg, 06-libev/trap.svg,
tests/scale-idle.svg, tests/scale-waits.svg and tests/peers.svg from the figures in
tests/results.

  --measure  first measure here (latency.py, scale.sh, peers.sh; some ten
             minutes), and put the figures into tests/results
  --quick    with --measure: fewer clients, shorter rounds
  --help

BUILD in the environment says where the programs are (build).
Exit status: 0 if all is drawn, and nothing measured was other than it should be;
1 if not, 2 for a bad command line.
END
}

for argument; do
    case $argument in
    --help)
        usage
        exit
        ;;
    --measure) measure=true ;;
    --quick) quick=--quick ;;
    *)
        echo "figures.sh: $argument: no such option; see --help" >&2
        exit 2
        ;;
    esac
done
CDPATH='' cd -- "$(dirname "$0")/.."
LC_ALL=C
export LC_ALL
results=tests/results
if ! command -v gnuplot >/dev/null; then
    echo "figures.sh: gnuplot is missing. To install it: make deps-tutorial" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What was measured where and when goes with the figures.
machine() {
    model=$(sed -n 's/^model name[^:]*: *//p; s/^Model[^:]*: *//p' /proc/cpuinfo | sed 1q)
    echo "# ${model:-$(uname -m)}, $(getconf _NPROCESSORS_ONLN) cores, $(uname -s) $(uname -r | cut -d- -f1), $(date -u +%F)"
}

others=0
record() { # NAME PROGRAM...
    name=$1
    shift
    "$@" --tsv "$work/$name.tsv" || others=$((others + 1))
    if [ ! -s "$work/$name.tsv" ]; then
        echo "figures.sh: $1 measured nothing" >&2
        exit 1
    fi
    {
        machine
        cat "$work/$name.tsv"
    } >"$work/whole"
    mkdir -p $results
    mv "$work/whole" "$results/$name.tsv"
}

if $measure; then
    record latency tests/latency.py
    # shellcheck disable=SC2086 # an option, or none
    record scale tests/scale.sh $quick
    # shellcheck disable=SC2086
    record peers tests/peers.sh $quick
fi
for name in latency scale peers; do
    if [ ! -r $results/$name.tsv ]; then
        echo "figures.sh: $results/$name.tsv is missing; --measure makes it" >&2
        exit 1
    fi
    sed '/^#/d' $results/$name.tsv >"$work/$name"
done

# draw OUT RESULTS SCRIPT [NAME=VALUE]...: the values are strings, but those of numbers.
draw() {
    out=$1 script=$3
    printf "out = '%s'\nwork = '%s'\nmachine = '%s'\n" "$out" "$work" \
        "$(sed -n '1s/^# //p' "$results/$2.tsv" | tr -d "'")" >"$work/head"
    shift 3
    for pair; do
        case ${pair#*=} in
        *[!0-9.]*) printf '%s = "%s"\n' "${pair%%=*}" "${pair#*=}" ;;
        *) printf '%s = %s\n' "${pair%%=*}" "${pair#*=}" ;;
        esac
    done >>"$work/head"
    LC_ALL=C.UTF-8 gnuplot "$work/head" "tests/$script.gnuplot"
    echo "$out"
}

color() {
    case $1 in
    01*) echo '#d55e00' ;;
    02*) echo '#e69f00' ;;
    03*) echo '#56b4e9' ;;
    04*) echo '#0072b2' ;;
    05*) echo '#009e73' ;;
    06*) echo '#cc79a7' ;;
    floor) echo '#222222' ;;
    *) echo '#888888' ;;
    esac
}

# ---- timelines

# The last try is the one that counted. Served from: /slow takes a delay of its own, the shortest one
# that was seen; what it took more, it waited for its turn, and /fast all of it.
timeline() { # STAGE OUT
    awk -F '\t' -v stage="$1" -v work="$work" '
        function text(ms) {
            return ms < 100 ? sprintf("%.1f ms", ms) : sprintf("%.2f s", ms / 1000)
        }
        function row(y, i, from) {
            printf "%.2f\t%.4f\t%.4f\t%.4f\t\"%s\"\t\"%s\"\n", y, start[i] / 1000, from / 1000, \
                end[i] / 1000, text(end[i] - start[i]), path[i]
        }
        $1 != stage { next }
        $3 != try { n = 0; try = $3 }
        {
            n++
            experiment[n] = $2; path[n] = $5; start[n] = $6; end[n] = $10
            took = $10 - $6
            if ($5 == "/slow" && (delay == "" || took < delay)) delay = took
        }
        END {
            for (i = 1; i <= n; i++) {
                if (experiment[i] == "fast-behind-slow") {
                    if (path[i] == "/slow") row(8.3, i, end[i] - delay)
                    else { row(7.5, i, end[i] - start[i] < delay / 2 ? start[i] : end[i]); fast = end[i] - start[i] }
                } else five[++fives] = i
            }
            for (i = 1; i <= fives; i++)
                for (j = i; j > 1 && end[five[j]] < end[five[j - 1]]; j--) {
                    swap = five[j]; five[j] = five[j - 1]; five[j - 1] = swap
                }
            for (i = 1; i <= fives; i++) row(6.5 - i * 0.8, five[i], end[five[i]] - delay)
            print (fast > delay / 2 ? "one waits for the other" : "nobody waits for another") >(work "/verdict")
        }' "$work/latency" >"$work/rows"
    [ -s "$work/rows" ] || return 0
    read -r verdict <"$work/verdict"
    name=$1
    [ "$2" != 06-libev/trap.svg ] || name='The trap, 06-libev --block'
    draw "$2" latency timeline "rows=$work/rows" "longest=$longest" "color=$(color "$1")" \
        "heading=$name: $verdict" \
        'first_heading=One client asks for /slow, and 0.1 s later another one for /fast:' \
        'five_heading=Five clients ask for /slow at once:'
}

# one scale for all, with room for what is written behind the last bar
longest=$(awk -F '\t' 'NR > 1 && $10 > end { end = $10 } END { printf "%.1f", end / 1000 * 1.1 }' "$work/latency")
for stage in $stages; do
    timeline "$stage" "$stage/timeline.svg"
done
timeline '06-libev --block' 06-libev/trap.svg

# ---- scale

# Labels behind the ends of the lines, at their height, but a factor apart.
labels() { # FILE FACTOR
    for stage in 02-threaded 04-poll 05-epoll 06-libev; do
        printf '%s\t%s\t%s\n' "$(tail -n 1 "$work/$1.${stage%%-*}" | cut -f 2)" "$(color "$stage")" $stage
    done | grep -v NaN | sort -g | awk -F '\t' -v factor="$2" '
        { y = $1 > last * factor ? $1 : last * factor; last = y }
        { printf "set label \"%s\" at graph 1.03,first %.3f left offset character 1.2,-0.35 ", $3, y }
        { printf "point pt 5 ps 0.9 lc rgb \"%s\" textcolor rgb ink font \",12\"\n", $2 }' >"$work/$1.labels"
}

# 10000 -> 10,000
group() {
    echo "$1" | sed 's/\([0-9]\)\([0-9][0-9][0-9]\)$/\1,\2/'
}

number() {
    printf '%d' "0x$(color "$1" | tr -d '#')"
}

series() { # EXPERIMENT METRIC STAGE: clients, value, least, most
    awk -F '\t' -v experiment="$1" -v metric="$2" -v stage="$3" '
        $1 == experiment && $4 == metric && $2 == stage { print $3 "\t" $5 "\t" $6 "\t" $7 }' "$work/scale"
}

nothing='NaN	NaN	NaN	NaN'
for stage in $stages; do
    short=${stage%%-*}
    series idle cpu_us "$stage" | sed 's/^0	/10	/' >"$work/idle.$short"
    series waits late_ms "$stage" | awk -F '\t' '{ print $1 "\t" ($2 < 1 ? 1 : $2) }' >"$work/waits.$short"
    for file in idle waits; do
        [ -s "$work/$file.$short" ] || echo "$nothing" >"$work/$file.$short"
    done
done
labels idle 1.7
labels waits 1.9
draw tests/scale-idle.svg scale scale-idle

place=0
for stage in 02-threaded 03-select 04-poll 05-epoll 06-libev; do
    place=$((place + 1))
    n=$(series waits server_kib "$stage" | tail -n 1 | cut -f 1)
    own=$(series waits server_kib "$stage" | tail -n 1 | cut -f 2)
    kernel=$(series waits kernel_kib "$stage" | awk -F '\t' -v n="$n" '$1 == n { print $2 }')
    text="${own:-not measured}"
    [ -z "$kernel" ] || text="$own + $kernel"
    printf '%s\t%s\t%s\t%s\t"%s"\n' $place "$(number "$stage")" "${own:-0}" "${kernel:-0}" "$text"
done >"$work/waits.memory"
memory_n=$(series waits server_kib 05-epoll | tail -n 1 | cut -f 1)
memory_most=$(awk -F '\t' '$3 + $4 > most { most = $3 + $4 } END { printf "%.1f", most * 1.5 + 1 }' "$work/waits.memory")
late01=$(cut -f 2 "$work/waits.01" | sed 's/NaN/1/')
note="solid: the server's own"
! grep -q '+' "$work/waits.memory" || note="$note; pale: the kernel's, for both ends"
draw tests/scale-waits.svg scale scale-waits "memory_most=$memory_most" "late01=$late01" \
    "memory_note=$note" "memory_clients=$(group "$memory_n")"

# ---- peers

awk -F '\t' '$2 == "cost_us" { cpu[$1] = $3 "\t" $4 "\t" $5 }
    $2 == "cost_ratio" { print cpu[$1] "\t" $3 "\t" $1 }' "$work/peers" | sort -g >"$work/sorted"
place=0
while IFS='	' read -r cpu least most ratio name; do
    place=$((place + 1))
    text=$(awk "BEGIN { printf $cpu < 10 ? \"%.2f µs, %.2f ×\" : \"%.0f µs, %.0f ×\", $cpu, $ratio }")
    printf '%s\t%s\t%s\t%s\t%s\t"%s"\t"%s"\n' $place "$(number "$name")" "$cpu" "$least" "$most" "$text" "$name"
done <"$work/sorted" >"$work/rows"
draw tests/peers.svg peers peers "rows=$work/rows" "servers=$place"

[ $others -eq 0 ] || echo "Not all figures are as they should be: see above." >&2
[ $others -eq 0 ]
