#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fsck.knotfs from the outside: messages, exit codes, what it changes and what not.
set -euo pipefail

mkfs=${KNOT_BIN_DIR:?}/mkfs.knotfs
fsck=$KNOT_BIN_DIR/fsck.knotfs
knotfs=$KNOT_BIN_DIR/knotfs
[ -x "$mkfs" ] && [ -x "$fsck" ] || exit 77
work=$(mktemp -d)
daemon=
failures=0

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	if mountpoint -q "$work/mnt" 2>/dev/null; then
		fusermount3 -u "$work/mnt" 2>/dev/null || umount -l "$work/mnt" || true
	fi
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# expect CODE REGEX ARGUMENT...: run it; the exit code is CODE, and a line of standard error is like REGEX, or there is
# none if REGEX is empty.
expect() {
	local code=$1 pattern=$2 got=0
	shift 2

	"$fsck" "$@" >out 2>err || got=$?
	[ "$got" -eq "$code" ] || fail "fsck.knotfs $*: exit code $got instead of $code: $(cat out err)"
	if [ -z "$pattern" ]; then
		[ ! -s err ] || fail "fsck.knotfs $*: said $(cat err)"
	else
		grep -Eq "^fsck\.knotfs: $pattern" err || fail "fsck.knotfs $*: said $(cat err)"
	fi
}

out_has() {
	grep -Eq "$1" out || fail "output lacks '$1': $(cat out)"
}

# damage FILE PAGE OFFSET: one byte of it.
damage() {
	printf '\xa5' | dd of="$1" bs=1 seek=$(($2 * 4096 + $3)) conv=notrunc status=none
}

sum_of() {
	sha256sum <"$1"
}

usage_is_told() {
	expect 0 "" --help
	out_has "^usage: fsck.knotfs"
	expect 0 "" --version
	out_has "^fsck.knotfs [0-9]"
	expect 16 "no image given"
	expect 16 "one image only" a b
	expect 16 "-n excludes -p" -n -p a
	expect 16 "try 'fsck.knotfs --help'" --no-such-option a
}

what_is_no_volume_is_refused() {
	expect 8 "missing: can't be opened: No such file" missing
	truncate -s 32M zeros
	expect 8 "zeros: not a knotfs volume" zeros
	expect 8 "zeros: not a knotfs volume" -nf zeros
	"$mkfs" -q --size 32M short
	truncate -s 20M short
	expect 8 "short: truncated: the volume has 33554432 bytes" -n short
	mkfifo pipe
	expect 8 "pipe: is neither a file nor a block device" -n pipe
}

clean_volumes_are_not_changed() {
	local before

	"$mkfs" -q --size 64M image
	before=$(sum_of image)
	for option in -n -p -y -a -f -nf -pf --scrub; do
		expect 0 "" $option image
		out_has "^image: "
	done
	expect 0 "" image
	out_has "^image: clean"
	expect 0 "" -f image
	out_has "^image: no problems; 1 inodes, [0-9]+/16384 pages"
	expect 0 "" -fv image
	out_has "1 directories"
	expect 0 "" -fq image
	[ ! -s out ] || fail "-q said $(cat out)"
	[ "$(sum_of image)" = "$before" ] || fail "a clean volume was changed"
}

damage_is_told_and_left_alone() {
	local before

	"$mkfs" -qf image
	damage image 2048 200
	damage image 1 3000
	before=$(sum_of image)
	for option in -nf -pf -yf -f; do
		expect 4 "image: page 2048 \(spare superblock\): wrong checksum \[102\]" $option image
		grep -q "page 1 (group header): wrong checksum \[501\]" err || fail "group header: $(cat err)"
		out_has "^image: 2 problems found, none repaired"
	done
	expect 4 "image: page 2048" -n image
	[ "$(sum_of image)" = "$before" ] || fail "the volume was changed"
	damage image 0 200
	expect 4 "image: the superblock and its spare are damaged" -n image
}

one_program_at_a_time() {
	"$mkfs" -qf image
	flock -x image "$fsck" image >out 2>err && fail "a locked image was checked"
	grep -q "image: is mounted, or in use by another program" err || fail "locked: $(cat err)"
	flock -x image "$fsck" -n image >out 2>err && fail "a locked image was checked with -n"
	flock -s image "$fsck" -n image >out 2>err || fail "two readers at once: $(cat err)"
}

read_only_images_need_n() {
	[ "$(id -u)" -ne 0 ] || return 0
	"$mkfs" -qf image
	chmod 444 image
	expect 8 "image: can't be opened for writing \(-n needs only to read\): Permission denied" image
	expect 0 "" -nf image
	chmod 644 image
}

# Unless it is done by then.
a_signal_cancels() {
	local code=0

	"$mkfs" -q --size 8T huge 2>/dev/null || return 0
	timeout --preserve-status -s TERM 0.02 "$fsck" -nf huge >out 2>err || code=$?
	[ "$code" -eq 32 ] || [ "$code" -eq 0 ] || fail "cancelled: exit code $code: $(cat err)"
	rm huge
}

a_killed_daemon_leaves_a_log_to_replay() {
	local before

	[ -x "$knotfs" ] && [ -r /dev/fuse ] || return 0
	mkdir mnt
	rm -f image
	"$mkfs" -q --size 64M image
	"$knotfs" -f image mnt >daemon.out 2>&1 &
	daemon=$!
	for _ in $(seq 100); do
		mountpoint -q mnt && break
		kill -0 $daemon 2>/dev/null || break
		sleep 0.1
	done
	if ! mountpoint -q mnt; then
		echo "no mount here: $(cat daemon.out)"
		return 0
	fi
	cp -r "$KNOT_SOURCE_DIR/fsck" mnt/ && sync -f mnt/fsck
	mkdir mnt/deep && ln -s target mnt/link && sync mnt/deep
	expect 8 "image: is mounted, or in use" -n image
	expect 8 "image: is mounted, or in use" image
	kill -9 $daemon
	wait $daemon 2>/dev/null || true
	daemon=
	fusermount3 -u mnt 2>/dev/null || umount -l mnt

	before=$(sum_of image)
	expect 0 "" -nf image
	out_has "no problems"
	[ "$(sum_of image)" = "$before" ] || fail "-n has changed the image"
	expect 0 "" -p image
	[ "$(sum_of image)" != "$before" ] || fail "the log was not replayed"
	expect 0 "" image
	out_has "^image: clean"
	expect 0 "" --scrub -v image
	out_has "pages of data read"
}

usage_is_told
what_is_no_volume_is_refused
clean_volumes_are_not_changed
damage_is_told_and_left_alone
one_program_at_a_time
read_only_images_need_n
a_signal_cancels
a_killed_daemon_leaves_a_log_to_replay
[ "$failures" -eq 0 ]
