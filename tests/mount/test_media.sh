#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Images and devices that can't be mounted: one clear line, exit code 32, and nothing is changed, left mounted or hung.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC2119
. "$(dirname "$0")/lib.sh"

patch=$here/patch_super.py

# refused REGEX [ARGUMENT of knotfs...]: the image is refused with one line like REGEX, and is as it was before.
refused() {
	local pattern=$1 before=
	shift

	[ ! -f "$image" ] || before=$(sha256sum <"$image")
	expect 32 "$pattern" "$bin/knotfs" "$image" "$dir" "$@"
	[ "$(wc -l <err)" -eq 1 ] || fail "$pattern: not one line: $(cat err)"
	! is_mounted || fail "$pattern: mounted"
	[ -z "$(daemon_pid)" ] || fail "$pattern: a daemon is left"
	[ -z "$before" ] || [ "$(sha256sum <"$image")" = "$before" ] || fail "$pattern: the image was changed"
}

# fsck_refuses CODE REGEX
fsck_refuses() {
	expect "$1" "$2" "$bin/fsck.knotfs" -n "$image"
}

no_image_at_all() {
	image=$work/missing
	refused "^knotfs: $image: No such file or directory"
	image=$work/folder
	mkdir "$image"
	refused "^knotfs: $image: neither a file nor a block device"
	image=$work/pipe
	mkfifo "$image"
	refused "^knotfs: $image: neither a file nor a block device"
	image=/dev/null
	refused "^knotfs: $image: neither a file nor a block device"
	image=$work/test.img
	new_image 16M
	ln -s "$image" "$work/link.img"
	image=$work/link.img
	mount_it
	unmount_it
	image=$work/test.img
}

no_volume_in_it() {
	rm -f "$image"
	: >"$image"
	refused "^knotfs: $image: .*(not a knotfs volume|too small)"
	head -c 100 /dev/urandom >"$image"
	refused "^knotfs: $image: .*(not a knotfs volume|too small)"
	truncate -s 32M "$image"
	refused "^knotfs: $image: not a knotfs volume"
	head -c 32M /dev/urandom >"$image"
	refused "^knotfs: $image: not a knotfs volume"
	if command -v mkfs.ext4 >/dev/null; then
		mkfs.ext4 -qF "$image"
		refused "^knotfs: $image: not a knotfs volume"
	fi
	fsck_refuses 8 "not a knotfs volume"
}

a_truncated_image() {
	local size

	for size in 40M 20M 9M 8M 1M 4096; do
		new_image 64M
		truncate -s "$size" "$image"
		refused "^knotfs: $image: "
		refused "^knotfs: $image: " -o ro
		"$bin/fsck.knotfs" -n "$image" >/dev/null 2>&1
		[ $? -ge 4 ] || fail "fsck accepts $size"
	done
}

a_newer_volume() {
	new_image 16M
	python3 "$patch" "$image" 76 4 7 || { fail "patch"; return; }
	mount_it # a minor version may be newer
	unmount_it
	python3 "$patch" "$image" 72 4 2
	refused "^knotfs: $image: .*version 2"
	refused "^knotfs: $image: .*version 2" -o ro
	fsck_refuses 8 "version 2"
	new_image 16M
	python3 "$patch" "$image" 96 8 0x4000000000
	refused "^knotfs: $image: .*incompat.*38|^knotfs: $image: .*does not know"
	refused "does not know" -o ro
	fsck_refuses 8 "does not know"
	new_image 16M
	python3 "$patch" "$image" 104 8 1
	refused "does not know"
	new_image 16M
	python3 "$patch" "$image" 88 8 1 # for writing only
	expect 0 "can only read" "$bin/knotfs" "$image" "$dir"
	expect 1 "Read-only file system" touch "$dir/x"
	unmount_it
	new_image 16M
	python3 "$patch" "$image" 80 8 0xffffffff # compat: none of our business
	mount_it
	touch "$dir/x" || fail "touch"
	unmount_it
	fsck_is_clean
}

a_damaged_superblock() {
	new_image 64M
	mount_it
	echo kept >"$dir/kept"
	unmount_it
	# Its beginning tells whose it is: with another magic it would be somebody else's.
	dd if=/dev/urandom of="$image" bs=512 seek=1 count=7 conv=notrunc status=none
	expect 0 "superblock.*spare" "$bin/knotfs" "$image" "$dir"
	[ "$(cat "$dir/kept")" = kept ] || fail "with the spare"
	unmount_it
	dd if=/dev/urandom of="$image" bs=4096 seek=2048 count=1 conv=notrunc status=none
	refused "^knotfs: $image: "
	new_image 64M
	# Only the spare: mkfs.knotfs ends with the primary one, so this may be an aborted mkfs
	dd if=/dev/zero of="$image" bs=4096 count=1 conv=notrunc status=none
	"$bin/knotfs" "$image" "$dir" 2>err && unmount_it
	[ "$(wc -l <err)" -le 1 ] || fail "zeroed superblock: $(cat err)"
}

a_damaged_log_or_root() {
	local page code

	# Nothing of this may crash or hang, whatever it says; fsck must not call it clean.
	for page in $(seq 1 3 130); do
		new_image 16M
		dd if=/dev/urandom of="$image" bs=4096 seek="$page" count=1 conv=notrunc status=none
		code=0
		timeout 20 "$bin/knotfs" "$image" "$dir" 2>err || code=$?
		if [ $code -eq 0 ]; then
			timeout 20 sh -c "ls -la '$dir'; stat -f '$dir'; echo x >'$dir/x'; sync '$dir/x'; rm '$dir/x'" >out 2>&1
			[ $? -lt 124 ] || fail "page $page: hangs or crashed: $(cat out)"
			timeout 30 "$bin/knotctl" unmount "$dir" 2>err || umount -l "$dir" || fail "page $page: $(cat err)"
		elif [ $code -ne 32 ]; then
			fail "page $page: exit code $code: $(cat err)"
		fi
		for _ in $(seq 100); do
			[ -n "$(daemon_pid)" ] || break
			sleep 0.05
		done
		[ -z "$(daemon_pid)" ] || fail "page $page: a daemon is left"
	done
}

locked_by_another() {
	new_image 16M
	flock -x "$image" -c "$bin/knotfs $image $dir" 2>err && fail "mounted although locked"
	grep -q "^knotfs: $image is in use by another program (pid [0-9]*)" err || fail "$(cat err)"
	mount_it
	mkdir -p second
	expect 32 "^knotfs: $image is in use by another knotfs" "$bin/knotfs" "$image" second
	[ "$(wc -l <err)" -eq 1 ] || fail "not one line: $(cat err)"
	expect 8 "is mounted|in use" "$bin/fsck.knotfs" "$image"
	"$bin/mkfs.knotfs" -q "$image" 2>err && fail "formatted while mounted"
	touch "$dir/alive" || fail "the first mount is hurt"
	unmount_it
	fsck_is_clean
}

a_write_protected_image() {
	local loop

	new_image 16M
	mount_it
	echo kept >"$dir/kept"
	unmount_it
	if is_root; then
		loop=$(losetup -r -f --show "$image") || return 0
		expect 32 "^knotfs: $loop: .*(write-protected|[Rr]ead-only|Permission)" "$bin/knotfs" "$loop" "$dir"
		expect 0 "" "$bin/knotfs" "$loop" "$dir" -o ro
		[ "$(cat "$dir/kept")" = kept ] || fail "read-only device"
		expect 1 "Read-only file system" touch "$dir/x"
		unmount_it
		losetup -d "$loop"
	else
		chmod 400 "$image"
		refused "^knotfs: $image: "
		expect 0 "" "$bin/knotfs" "$image" "$dir" -o ro
		[ "$(cat "$dir/kept")" = kept ] || fail "read-only file"
		unmount_it
		chmod 600 "$image"
	fi
}

# The device fails under a mount that works: a loop device over a file on a file system that gets full.
a_device_that_stops_taking_writes() {
	local i bad=0

	is_root || return 0
	mkdir -p small && mount -t tmpfs -o size=9M none small || return 0
	image=$work/small/test.img
	# mkfs writes the log (1 MiB) and little else: the rest of the file has no pages yet.
	new_image 32M
	mount_it
	for i in $(seq 300); do
		dd if=/dev/urandom of="$dir/file$i" bs=50k count=1 conv=fsync status=none 2>>errors || bad=$((bad + 1))
	done
	[ $bad -gt 0 ] || fail "the device took everything"
	! grep -v "Input/output error\|Read-only file system\|Structure needs cleaning" errors | grep -q . ||
		fail "$(grep -v "Input/output error\|Read-only file system" errors | head -n 3)"
	timeout 20 cat "$dir/file1" >/dev/null || fail "reading after the failure"
	timeout 60 "$bin/knotctl" unmount "$dir" 2>err || umount -l "$dir"
	mount -o remount,size=64M small
	for i in $(seq 100); do
		[ -n "$(daemon_pid)" ] || break
		sleep 0.05
	done
	fsck_is_clean "after the device failed" || return
	mount_it
	for i in $(seq $((300 - bad))); do
		[ "$(stat -c %s "$dir/file$i" 2>/dev/null)" = 51200 ] || fail "file$i was synced and is gone"
	done
	unmount_it
	echo "    $((300 - bad)) files were synced, $bad were refused"
	umount small
	image=$work/test.img
}

run_cases no_image_at_all no_volume_in_it a_truncated_image a_newer_volume a_damaged_superblock a_damaged_log_or_root \
	locked_by_another a_write_protected_image a_device_that_stops_taking_writes
