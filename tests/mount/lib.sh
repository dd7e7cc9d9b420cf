# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2119,SC2120
# What the scripts of this folder share: a private folder with an image and a mount point, the daemon, fsck, cleaning up.
#
# . lib.sh; the script then has $bin, $tools, $here (this folder), $work (its current folder), $image and $dir (not mounted).

bin=${KNOT_BIN_DIR:?}
tools=${KNOT_TOOL_DIR:?}
here=$(cd "$(dirname "$0")" && pwd)
for program in knotfs knotctl mkfs.knotfs fsck.knotfs; do
	[ -x "$bin/$program" ] || { echo "$program is not built" >&2; exit 77; }
done
[ -e /dev/fuse ] || { echo "no /dev/fuse" >&2; exit 77; }

# As root everything happens in a mount namespace of its own: nothing can be left behind.
if [ "$(id -u)" -eq 0 ] && [ -z "${KNOT_UNSHARED:-}" ]; then
	KNOT_UNSHARED=1 exec unshare -m "$BASH" "$here/$(basename "$0")" "$@"
fi

work=$(mktemp -d)
image=$work/test.img
dir=$work/mnt
failures=0
children=()
RANDOM=${KNOT_SEED:-1}

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	local mount pid

	for pid in "${children[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	while mount=$(awk -v under="$work/" 'index($2, under) == 1 { last = $2 } END { print last }' /proc/self/mounts) &&
		[ -n "$mount" ]; do
		pid=$(daemon_pid)
		fusermount3 -uz "$mount" 2>/dev/null || umount -l "$mount" || break
		[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
	done
	[ ! -x "$(command -v losetup)" ] || losetup -n -O NAME,BACK-FILE 2>/dev/null |
		awk -v under="$work/" 'index($2, under) == 1 { print $1 }' | xargs -r -n 1 losetup -d 2>/dev/null
	cd / && rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1
chmod 755 "$work"
mkdir "$dir"

fail() {
	echo "FAILED: ${FUNCNAME[1]}: $*" >&2
	failures=$((failures + 1))
}

is_root() {
	[ "$(id -u)" -eq 0 ]
}

# new_image SIZE [ARGUMENT of mkfs.knotfs...]
new_image() {
	local size=$1
	shift
	rm -f "$image"
	"$bin/mkfs.knotfs" -q --size "$size" "$@" "$image" || { echo "mkfs.knotfs failed" >&2; exit 1; }
}

# expect CODE REGEX COMMAND...: the exit code is CODE; standard error's first line is like REGEX, or there is none.
expect() {
	local code=$1 pattern=$2 got=0
	shift 2

	timeout 120 "$@" >"$work/out" 2>"$work/err" || got=$?
	[ "$got" -eq "$code" ] || fail "$*: exit code $got instead of $code: $(cat "$work/err")"
	if [ -z "$pattern" ]; then
		[ ! -s "$work/err" ] || fail "$*: said $(cat "$work/err")"
	else
		head -n 1 "$work/err" | grep -Eq "$pattern" || fail "$*: said $(cat "$work/err")"
	fi
}

# The daemon that has the image: only its command line names it.
daemon_pid() {
	pgrep -f "^$bin/knotfs .*$image" | head -n 1
}

is_mounted() {
	grep -q " $dir fuse[a-z]*\.knotfs " /proc/self/mounts
}

# mount_it [OPTIONS]: or the test ends here.
mount_it() {
	if ! timeout 120 "$bin/knotfs" "$image" "$dir" ${1:+-o "$1"} 2>"$work/err"; then
		echo "FAILED: mounting with '${1:-}': $(cat "$work/err")" >&2
		exit 1
	fi
}

unmount_it() {
	timeout 120 "$bin/knotctl" unmount "$dir" || fail "unmount"
}

# fsck finds nothing to complain about.
fsck_is_clean() {
	local got=0

	timeout 300 "$bin/fsck.knotfs" -n -f "$image" >"$work/fsck.out" 2>&1 || got=$?
	[ $got -eq 0 ] || { fail "fsck.knotfs: exit code $got${1:+ ($1)}: $(head -n 20 "$work/fsck.out")"; return 1; }
}

# The process is gone, or dead with all of its threads and not yet collected by whoever is process 1 here.
has_ended() {
	local stat tasks

	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
	tasks=("/proc/$1/task/"*)
	[[ ${stat##*) } == Z* && ${#tasks[@]} -le 1 ]]
}

wait_ended() {
	local tries

	for ((tries = 0; tries < 1200; tries++)); do
		has_ended "$1" && return 0
		sleep 0.02
	done
	return 1
}

kill_daemon() {
	local pid

	pid=$(daemon_pid)
	[ -n "$pid" ] || { fail "no daemon"; return 1; }
	kill -KILL "$pid"
	wait_ended "$pid" || fail "it survived SIGKILL"
}

free_pages() {
	stat -f -c %f "$dir"
}

# So many pages are free, at the latest when what was deleted has been finished in the background.
free_pages_become() {
	local tries

	for ((tries = 0; tries < 100; tries++)); do
		"$bin/knotctl" checkpoint "$dir" || return 1
		[ "$(free_pages)" -ne "$1" ] || return 0
		sleep 0.1
	done
	return 1
}

# run_cases NAME...: each is a function. Exit 0 if none failed.
run_cases() {
	local case started

	for case in "$@"; do
		[ -z "${KNOT_CASE:-}" ] || [ "$KNOT_CASE" = "$case" ] || continue
		started=$SECONDS
		echo "$case"
		$case
		echo "    $((SECONDS - started)) s"
	done
	[ $failures -eq 0 ]
}
