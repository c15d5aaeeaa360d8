#!/bin/sh
# devcontainer.sh: build .devcontainer/Dockerfile, and run the experiment and the recorder in that image.
#
# It needs buildah, mmdebstrap and root, but no registry: mmdebstrap makes the image that FROM names, with the mirror
# and the settings of this machine's apt. Exit status: 0 if all holds, 1 if not, 77 if this machine forbids mounts.
set -eu
cd "$(dirname "$0")/.."
dockerfile=.devcontainer/Dockerfile
build=build/devcontainer

say() {
    printf '== %s\n' "$*"
}

fail() {
    printf 'devcontainer.sh: FAILED: %s\n' "$*" >&2
    exit 1
}

for command in buildah mmdebstrap unshare; do
    command -v $command >/dev/null || fail "$command is missing. To install it: apt-get install buildah mmdebstrap"
done
[ "$(id -u)" -eq 0 ] || fail "it has to run as root"
if ! unshare --mount sh -c 'mount -t tmpfs tmpfs /mnt' 2>/dev/null; then
    echo "devcontainer.sh: SKIPPED, nothing was checked: this machine forbids mounts (is it a container without" \
        "CAP_SYS_ADMIN?), and buildah needs them" >&2
    exit 77
fi

scratch=$(mktemp -d)
store() {
    buildah --root "$scratch/images" --runroot "$scratch/run" --storage-driver vfs "$@"
}
clean_up() {
    store umount --all >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "the names of all files are allowed on Windows"
names=$(find . -mindepth 1 \( -name .git -o -path ./build -o -name __pycache__ \) -prune -o -print |
    grep -iE '/(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.[^/]*)?$|[:*?"<>|\\]|[ .]$' || true)
[ -z "$names" ] || fail "git cannot check this out on Windows: $names"

say "README.md starts the container as devcontainer.json does"
options=$(python3 - <<'PYTHON'
import json
import re
text = open(".devcontainer/devcontainer.json").read()
settings = json.loads(re.sub(r"(?m)^\s*//.*", "", text))
buildah = [f"--cap-add={name}" for name in settings["capAdd"]]
buildah += [word for option in settings["securityOpt"] for word in ("--security-opt", option)]
run = re.search(r"(?m)^docker run .*", open("README.md").read())[0]
for option in [*buildah, *settings["runArgs"], "--init"]:
    if option not in run.split():
        raise SystemExit(f"devcontainer.sh: FAILED: {option} is not in README.md: {run}")
print(*buildah)
PYTHON
)

base=$(sed -n 's/^FROM //p' $dockerfile) # debian:bookworm-slim
suite=${base#*:}
suite=${suite%-slim}
say "$base, made by mmdebstrap"
apt-get indextargets --format "deb \$(REPO_URI) \$(CODENAME) \$(COMPONENT)" \
    'Created-By: Packages' 'Origin: Debian' | grep " $suite" >"$scratch/sources.list" || true
apt-config dump | grep -iE '^Acquire::(https?|check|retries)' >"$scratch/apt.conf" || true
if [ -s "$scratch/sources.list" ]; then
    set -- "$scratch/sources.list" # otherwise mmdebstrap asks deb.debian.org
fi
container=$(store from scratch)
root=$(store mount "$container")
# As in Debian's own image, dpkg does not wait for the disk, and (policy-rc.d) no package starts a server.
mmdebstrap --quiet --mode=root --variant=minbase --aptopt="$scratch/apt.conf" --dpkgopt=force-unsafe-io \
    --customize-hook="printf '#!/bin/sh\nexit 101\n' >\"\$1/usr/sbin/policy-rc.d\"" \
    --customize-hook="chmod +x \"\$1/usr/sbin/policy-rc.d\"" \
    "$suite" "$root" "$@"
store commit --quiet --rm "$container" "docker.io/library/$base" >/dev/null

say "$dockerfile"
store bud --isolation chroot --pull-never --file $dockerfile --tag toolkit . >"$scratch/log" 2>&1 ||
    { tail -n 30 "$scratch/log"; fail "the image cannot be built"; }

# shellcheck disable=SC2086 # a list of words
container=$(store from --pull-never $options localhost/toolkit)
inside() {
    store run --isolation chroot --env "BUILD=$build" --volume "$PWD:/toolkit" "$container" "$@"
}
inside make deps deps-tutorial deps-peers | tee "$scratch/missing"
[ ! -s "$scratch/missing" ] || fail "the image does not have all packages"
inside make -s BUILD=$build all

say "the experiment, in the image"
inside tests/latency.py 01-blocking 05-epoll | tee "$scratch/latency"
grep -q '^01-blocking .* serializes: clock_nanosleep$' "$scratch/latency" || fail "01 does not serialize requests"
grep -q '^05-epoll .* concurrent: epoll_pwait$' "$scratch/latency" || fail "05 is not concurrent"

if inside strace -o /dev/null true 2>"$scratch/strace"; then
    say "the recorder, in the image"
    inside tests/trace.py 01-blocking | grep '^/fast' | tee "$scratch/trace"
    grep -q 'waited .* the only thread was in clock_nanosleep' "$scratch/trace" || fail "the recorder"
else
    cat "$scratch/strace"
    echo "devcontainer.sh: NOT CHECKED: the recorder, because ptrace is impossible here" >&2
fi
say "the image holds what README.md promises"
