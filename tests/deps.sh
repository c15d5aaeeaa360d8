#!/bin/sh
# deps.sh PACKAGE...: install those of these Debian or Ubuntu packages that are missing. A package that only some
# releases have ends with a question mark.
set -eu

if ! command -v apt-get >/dev/null; then
    echo "This system has no apt-get. With its own tools, install the packages that Debian calls: $*" >&2
    exit 1
fi
missing=
for package; do
    case $(dpkg-query -W -f '${Status}' "${package%\?}" 2>/dev/null || true) in
    *' installed') ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
    echo "There is no sudo. Run as root: apt-get install$missing" >&2
    exit 1
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -q update
known=
for package in $missing; do
    case $package in
    *\?) apt-cache show "${package%\?}" >/dev/null 2>&1 || continue ;;
    esac
    known="$known ${package%\?}"
done
# shellcheck disable=SC2086 # a list of words
$sudo apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $known
