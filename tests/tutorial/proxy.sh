#!/bin/sh
# nginx in front of two stages, with the configuration of tests/proxy: shows that each is asked in
# turn, that a silent client no longer blocks 01, and that one of two may be stopped meanwhile.
# Needs the ports 8000 to 8002.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}

command -v nginx >/dev/null || {
    echo "proxy.sh: nginx is missing. To install it: make deps-peers" >&2
    exit 1
}
work=$(mktemp -d)
first='' second='' proxy='' silent=''
clean() {
    for pid in $first $second $proxy $silent; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

fail() {
    echo "FAILED: $*"
    cat "$work"/log*
    exit 1
}

# Waits until a server answers on a port.
up() {
    tries=100
    until "$BUILD/probe" --timeout 5 "http://127.0.0.1:$1" 0:/fast >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "nobody answers on port $1"
        sleep 0.1
    done
}

# Asks for /fast 20 times through the proxy: 20 answers?
ask() {
    : >"$work/log1"
    : >"$work/log2"
    "$BUILD/probe" --timeout 10 http://127.0.0.1:8000 0:/fast 50:/fast 100:/fast 150:/fast \
        16x200:/fast >"$work/answers" || fail "not every answer had status 200: $(cat "$work/answers")"
    one=$(grep -c ' 200 ' "$work/log1") || true
    two=$(grep -c ' 200 ' "$work/log2") || true
    echo "  20 answers: $one from 01, $two from 05"
}

"$BUILD/01-blocking" --port 8001 --delay 2 --verbose >"$work/out1" 2>"$work/log1" & first=$!
"$BUILD/05-epoll" --port 8002 --delay 2 --verbose >"$work/out2" 2>"$work/log2" & second=$!
nginx -p "$work" -c "$PWD/tests/tutorial/nginx.conf" >"$work/log" 2>&1 & proxy=$!
up 8001
up 8002
up 8000

echo "Each is asked in turn:"
ask
if [ "$one" -lt 5 ] || [ "$two" -lt 5 ]; then
    fail "they are not asked in turn"
fi

echo "A client that is connected, and silent, does not block 01:"
bash -c 'exec 3<>/dev/tcp/127.0.0.1/8000; exec sleep 20' & silent=$!
sleep 0.3
ask
[ "$one" -ge 5 ] || fail "01 does not answer"

echo "05 is told to stop, and nobody notices:"
kill "$second"
wait "$second" || fail "05 ended with status $?"
second=''
ask
[ "$one" -eq 20 ] || fail "only $one of 20 answers came from 01"
echo "all as it should be"
