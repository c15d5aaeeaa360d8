#!/bin/sh
# bugs.sh [NAME]...: plants each bug of tests/bugs in a copy of the tree, and requires that a test
# catches it. Prints which. The first line of a patch says what it breaks, the second how it shows.
set -u
cd "$(dirname "$0")/.." || exit 1

# Plants one bug in the copy $work/$1, and prints one line: the name, and the test that caught it.
plant() {
    name=$1 tree=$work/$1 log=$work/$1.log
    cp -Rp "$work/clean" "$tree"
    cd "$tree" || exit 1
    if ! patch -s -p1 <"tests/bugs/$name.patch" >"$log" 2>&1; then
        echo "$name: FAILED: the patch does not apply"
        return
    fi
    # Those tests that are near to what is broken, nearest first.
    checks=check_stages sanitize=address
    case $(grep '^+++ ' "tests/bugs/$name.patch") in
    *0[1-6]-*) stages=$(sed -n 's|^+++ b/\(0[1-6]-[a-z]*\)/.*|\1|p' "tests/bugs/$name.patch" | sort -u)
        # AddressSanitizer leaves a process no limit of address space, and so always enough threads
        sanitize=''
        rm -rf build ;;
    *blocking*) stages='01-blocking 02-threaded' ;;
    *net.c*) stages='01-blocking 05-epoll' ;;
    *connections.c*) stages='05-epoll' checks='check_connections check_stages' ;;
    *) stages='05-epoll' checks='check_http check_connections check_stages' ;;
    esac
    for check in $checks; do
        [ "$check" = check_stages ] && needs=$stages || needs=
        # shellcheck disable=SC2086 # a list of words
        if ! make -s CFLAGS=-O1 SANITIZE=$sanitize $needs "build/$check" >"$log" 2>&1; then
            echo "$name: FAILED: does not build"
            return
        fi
        for stage in ${needs:-all}; do
            # The first failure is enough: Check writes its log as it goes.
            : >"$log"
            CK_LOG_FILE_NAME=$log STAGE=$stage timeout 120 "build/$check" >/dev/null 2>&1 &
            pid=$!
            while kill -0 $pid 2>/dev/null && ! grep -q ':[FE]:' "$log"; do
                sleep 0.1
            done
            if ! grep -q ':[FE]:' "$log"; then
                wait $pid && continue
            fi
            { kill $pid && wait $pid; } 2>/dev/null # timeout hands it on
            # file:line:F:suite:test:iteration: message
            awk -F : -v name="$name" -v check="$check" -v stage="$stage" '
                /:[FE]:/ && !caught { caught = $5 }
                END { if (!caught) caught = "(it did not end well)"
                      printf "%-28s caught by %s %s%s\n", name, check, caught,
                             stage == "all" ? "" : " (" stage ")" }' "$log"
            rm -rf "$tree"
            return
        done
    done
    echo "$name: FAILED: no test notices"
}

if [ "${1:-}" = --plant ]; then
    work=$2
    plant "$3"
    exit
fi

command -v patch >/dev/null || {
    echo "bugs.sh: patch is missing; to install it: apt-get install patch" >&2
    exit 1
}
if [ $# -eq 0 ]; then
    for patch in tests/bugs/*.patch; do
        patch=${patch##*/}
        set -- "$@" "${patch%.patch}"
    done
fi
for name; do
    [ -f "tests/bugs/$name.patch" ] || {
        echo "bugs.sh: $name: there is no tests/bugs/$name.patch" >&2
        exit 2
    }
done

work=$(mktemp -d)
# A bug may have made a server deaf: what still runs from the copies is ended.
end_all() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe") in
        "$work"/*) kill -KILL "${process#/proc/}" ;;
        esac
    done 2>/dev/null
    rm -rf "$work"
}
trap end_all EXIT
trap 'exit 130' INT TERM
mkdir "$work/clean"
cp -R Makefile common tests 0* "$work/clean"
rm -rf "$work/clean/build"
echo "Building the tree without a bug ..."
(cd "$work/clean" && make -s CFLAGS=-O1 SANITIZE=address all build/check_http build/check_connections \
    build/check_stages) >"$work/log" 2>&1 || {
    cat "$work/log"
    echo "bugs.sh: the tree does not build" >&2
    exit 1
}
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 "$0" --plant "$work" | tee "$work/result"
failed=$(grep -c FAILED "$work/result")
total=$(wc -l <"$work/result")
echo "$((total - failed)) passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$total" -eq $# ]
