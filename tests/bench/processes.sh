# shellcheck shell=sh
# To be sourced by a script that starts servers and clients: however it ends, what it has added to
# $running ends with it, and nothing else does. Its files are in $work.

running='' work='' patience=5

# Is process $1 a child of this shell, and not yet dead? A number alone may have been given anew.
# Sets threads.
# shellcheck disable=SC2034 # which is for the script
alive() {
    state=Z parent=0 threads=0
    [ -r "/proc/$1/status" ] || return 1
    while read -r key value _; do
        case $key in
        State:) state=$value ;;
        PPid:) parent=$value ;;
        Threads:) threads=$value ;;
        esac
    done 2>/dev/null <"/proc/$1/status"
    [ "$state" != Z ] && [ "$parent" = $$ ]
}

# Stops what runs. A server that is told to stop may answer first; one that has not stopped after
# $patience seconds is made to.
stop_all() {
    left=$((patience * 20))
    for pid in $running; do
        ! alive "$pid" || kill "$pid" 2>/dev/null
    done
    for pid in $running; do
        while alive "$pid" && [ $left -gt 0 ]; do
            sleep 0.05
            left=$((left - 1))
        done
        ! alive "$pid" || kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    running=''
}

clean_up() {
    trap '' INT TERM HUP PIPE
    stop_all
    [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
work=$(mktemp -d) || exit 1

say() {
    printf '    %s\n' "$*"
}

# calculate FORMAT EXPRESSION
calculate() {
    awk "BEGIN { printf \"$1\", ($2) }"
}
