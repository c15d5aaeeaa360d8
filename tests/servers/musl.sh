#!/bin/sh
# Build 01 to 05 with musl instead of glibc, and run the black-box tests over them. (06 needs libev, built with glibc.)
set -eu
cd "$(dirname "$0")/../.."
tests/deps.sh musl-tools

mkdir -p build/musl/include/sys
# musl has no sys/queue.h. That of glibc includes nothing and depends on nothing.
cp "/usr/include/$(gcc -print-multiarch)/sys/queue.h" build/musl/include/sys
# The signs: musl's FD_SET divides an int by a size_t.
make -s BUILD=build/musl CC='musl-gcc -idirafter build/musl/include' CFLAGS='-O2 -g -Wno-sign-conversion' WERROR=1 \
    01-blocking 02-threaded 03-select 04-poll 05-epoll
make -s probe
cp build/probe build/musl
make BUILD=build/musl -o all case STAGE='01-blocking 02-threaded 03-select 04-poll 05-epoll'
