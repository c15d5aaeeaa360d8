#!/bin/sh
# On s390x, which is big-endian and has unsigned chars, in an emulator: the unit tests, and latency.py over 01, 02, 05.
set -eu
cd "$(dirname "$0")/../.."
tests/deps.sh gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user

sysroot=/usr/s390x-linux-gnu
mkdir -p build/s390x/lists/partial build/s390x/emulated
(
    cd build/s390x # Check for s390x, unpacked in here: apt need not know of a second architecture
    s390x="-o APT::Architectures::=s390x -o Dir::State::Lists=$PWD/lists -o Dir::Cache=$PWD"
    # shellcheck disable=SC2086 # a list of words
    apt-get -q $s390x update && apt-get -q $s390x download check:s390x libsubunit-dev:s390x
    for package in *.deb; do
        dpkg -x "$package" .
    done
)
checks='check_http check_connections check_pool'
# shellcheck disable=SC2086 # a list of words
make -s BUILD=build/s390x CC='s390x-linux-gnu-gcc -Lbuild/s390x/usr/lib/s390x-linux-gnu' WERROR=1 \
    01-blocking 02-threaded 05-epoll $checks
make -s probe
for program in 01-blocking 02-threaded 05-epoll $checks; do
    printf '#!/bin/sh\nexec qemu-s390x -L %s build/s390x/%s "$@"\n' $sysroot "$program" >"build/s390x/emulated/$program"
    chmod +x "build/s390x/emulated/$program"
done
cp build/probe build/s390x/emulated
# shellcheck disable=SC2046,SC2086 # lists of words
PYTHONPATH=tests python3 -m kit.check_programs $(printf 'build/s390x/emulated/%s ' $checks)
BUILD=build/s390x/emulated tests/latency.py 01-blocking 02-threaded 05-epoll
