#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# mkfs.knotfs from the outside: what it makes, what it refuses, its messages and exit codes.
set -euo pipefail

mkfs=${KNOT_BIN_DIR:?}/mkfs.knotfs
[ -x "$mkfs" ] || exit 77
work=$(mktemp -d)
loop=
failures=0

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	! mountpoint -q "$work/a mnt" || umount "$work/a mnt" || umount -l "$work/a mnt"
	[ -z "$loop" ] || losetup -d "$loop" || true
	rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# expect CODE REGEX ARGUMENT...: run it; the exit code is CODE, and standard error is one line like REGEX, or
# nothing if REGEX is empty.
expect() {
	local code=$1 pattern=$2 got=0
	shift 2

	"$mkfs" "$@" >out 2>err || got=$?
	[ "$got" -eq "$code" ] || fail "mkfs.knotfs $*: exit code $got instead of $code: $(cat err)"
	if [ -z "$pattern" ]; then
		[ ! -s err ] || fail "mkfs.knotfs $*: said $(cat err)"
	else
		[ "$(wc -l <err)" -eq 1 ] || fail "mkfs.knotfs $*: not one line: $(cat err)"
		grep -Eq "^mkfs\.knotfs: $pattern" err || fail "mkfs.knotfs $*: said $(cat err)"
	fi
}

out_has() {
	grep -Eq "$1" out || fail "output lacks '$1': $(cat out)"
}

size_is() {
	[ "$(stat -c %s "$1")" -eq "$2" ] || fail "$1 has $(stat -c %s "$1") bytes instead of $2"
}

same_as_before() {
	[ "$(sha256sum <"$1")" = "$before" ] || fail "$1 was changed"
}

usage_is_told() {
	expect 0 "" --help
	out_has "^usage: mkfs.knotfs"
	expect 0 "" --version
	out_has "^mkfs.knotfs [0-9]"
	expect 1 "no image given"
	expect 1 "one image only" --size 16M a b
	expect 1 "bad size '12x'" --size 12x a
	expect 1 "bad size '0'" --size 0 a
	expect 1 "bad size '99999999P'" --size 99999999P a
	expect 1 "bad log size '-1'" --size 16M --log-size -1 a
	expect 1 "bad number of log segments '0'" --size 16M --log-segments 0 a
	expect 1 "bad UUID 'abc'" -U abc --size 16M a
	[ ! -e a ] || fail "an image was made"
}

images_are_created() {
	expect 1 "new: does not exist" new
	expect 0 "" -n --size 16M new
	out_has "^new: would be a knotfs volume, 16 MiB"
	[ ! -e new ] || fail "a dry run made an image"

	expect 0 "" -L "my volume" -U 01234567-89ab-cdef-0123-456789ABCDEF --size 32M --log-size 1M new
	out_has '^new: knotfs volume, 32 MiB, label "my volume"$'
	out_has '^  UUID 01234567-89ab-cdef-0123-456789abcdef$'
	out_has '^  log 1 MiB in 1 segment$'
	size_is new $((32 << 20))
	expect 0 "" -q --log-segments 4 --size 300M quiet
	[ ! -s out ] || fail "-q printed $(cat out)"

	expect 1 "small: .*too small.*16 MiB" --size 15M small
	expect 1 "small: .*log.*too small.*264 KiB" --size 16M --log-size 100K small
	expect 1 "small: a log of 512 KiB is too small; this volume needs 1024 KiB" --size 16M --log-size 512K small
	expect 1 "small: a log of 2048 KiB is too small; this volume needs 4096 KiB" --size 256M --log-size 2M small
	expect 1 "small: .*more than half" --size 16M --log-size 16M small
	expect 1 "small: .*too many" --size 16M --log-segments 33 small
	expect 1 "small: the label is too long" --size 16M -L "$(printf '%064d' 0)" small
	[ ! -e small ] || fail "an image was left behind"
	expect 1 "none/image: can't be created: No such file" --size 16M none/image
	expect 1 "none/image: does not exist" none/image
	expect 1 "new/image: Not a directory" new/image
}

other_contents_are_kept() {
	before=$(sha256sum <new)
	expect 1 "new: holds a knotfs volume; -f overwrites it" new
	expect 1 "new: holds a knotfs volume" -n new
	same_as_before new
	expect 0 "" -f -n new
	same_as_before new

	# a damaged one is one, too
	printf 'XX' | dd of=new bs=1 seek=300 conv=notrunc status=none
	expect 1 "new: holds a knotfs volume" new
	expect 0 "" -f new
	expect 1 "new: holds a knotfs volume" new

	truncate -s 64M other
	if command -v mkfs.ext4 >/dev/null; then
		mkfs.ext4 -q -F other
		before=$(sha256sum <other)
		expect 1 "other: holds data already \(ext4 file system\)" other
		same_as_before other
		expect 0 "" -f other
		[ -z "$(blkid -p other 2>/dev/null || true)" ] || fail "marks of ext4 were left: $(blkid -p other)"
	fi
	truncate -s 0 other
	truncate -s 64M other
	if command -v mkswap >/dev/null; then
		mkswap -q other 2>/dev/null
		expect 1 "other: holds data already \(swap" other
	fi
}

images_grow_but_never_shrink() {
	truncate -s 20M grow
	expect 1 "grow: has 20971520 bytes, and is never made smaller" --size 16M grow
	size_is grow $((20 << 20))
	expect 1 "grow: .*more than half" --size 40M --log-size 21M grow
	size_is grow $((20 << 20))
	expect 0 "" -n --size 40M grow
	size_is grow $((20 << 20))
	expect 0 "" --size 40M grow
	out_has "40 MiB"
	size_is grow $((40 << 20))
	expect 0 "" -f --size 40M grow
	truncate -s $(((20 << 20) + 1234)) odd
	expect 0 "" odd
	out_has "20 MiB"
}

what_is_in_use_is_refused() {
	truncate -s 20M locked
	before=$(sha256sum <locked)
	exec 9<locked
	flock -s 9
	expect 1 "locked: is in use by another program" -f locked
	exec 9<&-
	same_as_before locked
	expect 1 ".: can't be opened: Is a directory" .
	mkfifo fifo
	expect 1 "fifo: is neither a file nor a block device" fifo
	expect 1 "/dev/null: is neither a file nor a block device" /dev/null
}

mounted_images_are_refused() {
	[ "$(id -u)" -eq 0 ] && command -v losetup mkfs.ext4 >/dev/null || return 0
	rm -f image && truncate -s 64M image
	loop=$(losetup -f --show "$work/image" 2>/dev/null) || { loop=; return 0; }
	expect 1 "image: is attached to $loop" -f image

	mkfs.ext4 -q -F "$loop"
	mkdir -p "a mnt"
	if mount -t ext4 "$loop" "a mnt" 2>/dev/null; then
		expect 1 "$loop: is mounted on .*/a mnt" -f "$loop"
		expect 1 "image: is attached to $loop" -f image
		umount "a mnt"
	fi
	expect 1 "$loop: holds data already" "$loop"
	expect 1 "$loop: is a device of 67108864 bytes" -f --size 32M "$loop"
	expect 0 "" -f "$loop"
	out_has "64 MiB"
	losetup -d "$loop"
	loop=
	expect 1 "image: holds a knotfs volume" image
}

users_need_no_privileges() {
	[ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null || return 0
	chmod 755 . && mkdir -m 777 user
	setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$mkfs" || return 0
	setpriv --reuid 65534 --regid 65534 --clear-groups "$mkfs" -q --size 16M user/image || fail "a user can't format"
	size_is user/image $((16 << 20))
	touch forbidden && chmod 600 forbidden && truncate -s 16M forbidden
	! setpriv --reuid 65534 --regid 65534 --clear-groups "$mkfs" forbidden 2>err || fail "a foreign file was formatted"
	grep -q "forbidden: can't be opened: Permission denied" err || fail "said $(cat err)"
}

# The largest file differs between host file systems: ext4 takes one page less than 16 TiB.
huge_images_take_no_time() {
	local size=$(((16 << 40) - 4096)) start end

	truncate -s $size huge 2>/dev/null || return 0
	start=$(date +%s%N)
	expect 0 "" huge
	end=$(date +%s%N)
	echo "16 TiB: $(((end - start) / 1000000)) ms, $(du -k huge | cut -f1) KiB"
	[ "$(du -k huge | cut -f1)" -lt $((80 << 10)) ] || fail "a sparse image of 16 TiB takes $(du -h huge)"
	rm huge
}

usage_is_told
images_are_created
other_contents_are_kept
images_grow_but_never_shrink
what_is_in_use_is_refused
mounted_images_are_refused
users_need_no_privileges
huge_images_take_no_time
[ "$failures" -eq 0 ]
