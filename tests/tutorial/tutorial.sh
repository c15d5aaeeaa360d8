#!/bin/sh
# Does what tutorial.md says hold? Its code stands in the files that it names, its diffs are what
# diff prints, its tables are the measured ones, its links lead somewhere, and its commands print
# what it says (clitest).
set -u
cd "$(dirname "$0")/../.." || exit 1
text=${TUTORIAL:-tutorial.md}
failed=0 passed=0

say() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $2"
    fi
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Each block with a file behind its language becomes two files: where it stands, and what it says.
awk -v work="$work" '
    /^```(c|nginx|diff) / { n++; name = work "/block" n; $1 = substr($1, 4); print $0 > (name ".of"); next_line = NR + 1
                            print FILENAME ":" NR > (name ".at"); on = 1; next }
    /^```/ { on = 0 }
    on { print > (name ".text") }
    END { print n + 0 > (work "/count") }' "$text"
blocks=$(cat "$work/count")
[ "$blocks" -ge 15 ]
say $? "only $blocks blocks of code were found: does this test still see them?"

# Do the lines of file $1 stand one after the other, whole, in file $2?
stands_in() {
    awk 'NR == FNR { want[++n] = $0; next }
         { have[++m] = $0 }
         END { for (i = 0; i + n <= m; i++) {
                   for (j = 1; j <= n && have[i + j] == want[j]; j++) ;
                   if (j > n) exit 0
               }
               exit 1 }' "$1" "$2"
}

i=0
while [ "$i" -lt "$blocks" ]; do
    i=$((i + 1))
    read -r language file other <"$work/block$i.of"
    if [ "$language" = diff ]; then
        diff -U1 "$file" "$other" | sed 1,2d >"$work/source"
        [ -s "$work/source" ]
        say $? "$(cat "$work/block$i.at"): no diff of $file and $other"
    else
        cat "$file" >"$work/source"
    fi
    stands_in "$work/block$i.text" "$work/source"
    say $? "$(cat "$work/block$i.at"): this is not what stands in $file $other"
done

tests/bench/tables.py --check
say $? "the tables"

grep -o '](\([^)#][^)]*\))' "$text" | sed 's/^](//; s/)$//' | grep -v '^http' | sort -u >"$work/links"
while read -r link; do
    [ -e "$link" ]
    say $? "$text has a link to $link, which is not there"
done <"$work/links"
# shellcheck disable=SC2016 # quotes of Markdown, not of the shell
grep -o '`[a-z0-9.-][a-z0-9.-]*/[a-zA-Z0-9_./-]*`' "$text" README.md | sed 's/.*:`//; s/^`//; s/`$//' | sort -u >"$work/paths"
while read -r path; do
    case $path in
    build/* | Lib/*) continue ;;
    esac
    [ -e "$path" ]
    say $? "$path is named, but not there"
done <"$work/paths"

if [ "${1:-}" != --static ]; then
    if command -v clitest >/dev/null; then
        make -s all build/check_stages build/hold trigger early >/dev/null || exit 1
        # Some commands are about who waits for whom: a machine that stops for a second can spoil
        # that, but not make a wrong text right. So twice more, and say so.
        for try in 1 2 3; do
            LC_ALL=C.UTF-8 clitest --prefix 4 "$text"
            status=$?
            if [ "$status" -eq 0 ] || [ "$try" -eq 3 ]; then
                break
            fi
            echo "again: the commands, try $((try + 1)) of 3"
            sleep 5
        done
        say "$status" "the commands"
    else
        say 1 "clitest is missing: the commands were not run. To install it: make deps-tutorial"
    fi
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
