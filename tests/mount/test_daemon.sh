#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The daemon from the outside: how it starts, what it refuses, how it ends, and knotctl.
set -uo pipefail

bin=${KNOT_BIN_DIR:?}
for program in knotfs knotctl mkfs.knotfs; do
	[ -x "$bin/$program" ] || exit 77
done
[ -e /dev/fuse ] || exit 77

# As root everything happens in a mount namespace of its own: nothing can be left behind, and mount(8) can be shown helpers.
if [ "$(id -u)" -eq 0 ] && [ -z "${KNOT_UNSHARED:-}" ]; then
	KNOT_UNSHARED=1 exec unshare -m "$0" "$@"
fi

work=$(mktemp -d)
image=$work/test.img
dir=$work/mnt
failures=0
pids=()

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	local mount pid

	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	for mount in "$work"/*mnt "$work"/user/mnt; do
		while grep -q " $mount " /proc/self/mounts; do
			fusermount3 -uz "$mount" 2>/dev/null || umount -l "$mount" || break
		done
	done
	rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1
chmod 755 "$work"
mkdir "$dir" "$work/second mnt"

fail() {
	echo "FAILED: ${FUNCNAME[1]}: $*" >&2
	failures=$((failures + 1))
}

is_root() {
	[ "$(id -u)" -eq 0 ]
}

new_image() {
	rm -f "$image"
	"$bin/mkfs.knotfs" -q --size 64M "$image" || { echo "mkfs.knotfs failed" >&2; exit 1; }
}

# expect CODE REGEX COMMAND...: the exit code is CODE; standard error's first line is like REGEX, or there is none.
expect() {
	local code=$1 pattern=$2 got=0
	shift 2

	timeout 60 "$@" >out 2>err || got=$?
	[ "$got" -eq "$code" ] || fail "$*: exit code $got instead of $code: $(cat err)"
	if [ -z "$pattern" ]; then
		[ ! -s err ] || fail "$*: said $(cat err)"
	else
		head -n 1 err | grep -Eq "$pattern" || fail "$*: said $(cat err)"
	fi
}

type_at() {
	awk -v dir="$1" '$2 == dir { type = $3 } END { print type }' /proc/self/mounts
}

# Of the one that serves the image.
daemon_pid() {
	pgrep -n -x -f "$bin/knotfs $image .*"
}

# The process is gone, or dead and not yet collected by whoever is process 1 here.
has_ended() {
	local stat

	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
	[[ ${stat##*) } == Z* ]]
}

wait_ended() {
	local tries

	for ((tries = 0; tries < 600; tries++)); do
		has_ended "$1" && return 0
		sleep 0.05
	done
	return 1
}

wait_mounted() {
	local tries

	for ((tries = 0; tries < 600; tries++)); do
		[[ $(type_at "$1") == *knotfs ]] && return 0
		sleep 0.05
	done
	return 1
}

loops_on() {
	losetup -n -O BACK-FILE 2>/dev/null | grep -c "^$1" || true
}

unmount_is_clean() {
	expect 0 "" "$bin/knotctl" unmount "$1"
	[ -z "$(type_at "$1")" ] || fail "$1 is still mounted"
}

# ---- cases ----

usage_is_told() {
	expect 0 "" "$bin/knotfs" --help
	grep -q "^usage: knotfs IMAGE DIR" out || fail "no usage"
	expect 0 "" "$bin/knotfs" -V
	grep -Eq "^knotfs [0-9]" out || fail "no version"
	expect 0 "" "$bin/knotctl" --help
	expect 0 "" "$bin/knotctl" --version
	expect 1 "^knotfs: IMAGE and DIR are needed" "$bin/knotfs"
	expect 1 "^knotfs: unknown option: bogus" "$bin/knotfs" "$image" "$dir" -o ro,bogus=1
	expect 2 "^knotctl: a command is needed" "$bin/knotctl"
	expect 2 "^knotctl: unknown command: fly" "$bin/knotctl" fly "$dir"
	expect 2 "^knotctl: DIR is missing" "$bin/knotctl" stats
}

what_can_not_be_mounted_is_refused_with_one_line() {
	new_image
	expect 32 "^knotfs: $work/none.img: No such file" "$bin/knotfs" "$work/none.img" "$dir"
	expect 32 "^knotfs: $work/none: No such file" "$bin/knotfs" "$image" "$work/none"
	expect 32 "^knotfs: $image: not a directory" "$bin/knotfs" "$image" "$image"
	expect 32 "neither a file nor a block device" "$bin/knotfs" "$work" "$dir"
	truncate -s 64M zero.img
	expect 32 "^knotfs: zero.img: " "$bin/knotfs" zero.img "$dir"
	[ "$(wc -l <err)" -eq 1 ] || fail "not one line: $(cat err)"
	[ -z "$(type_at "$dir")" ] || fail "something is mounted"
	[ "$(loops_on "$work/zero.img")" -eq 0 ] || fail "a loop device is left"
}

files_are_there_after_unmount_and_mount() {
	new_image
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	mkdir "$dir/d" && echo hello >"$dir/d/f" && ln -s d/f "$dir/s" || fail "writing"
	unmount_is_clean "$dir"
	# The relative names must still be found by a daemon that has left for "/".
	expect 0 "" "$bin/knotfs" test.img mnt
	[ "$(cat "$dir/s")" = hello ] || fail "the file is not as it was"
	unmount_is_clean "$dir"
}

the_mount_has_the_right_type() {
	local wanted=fuse.knotfs

	! is_root || [ ! -e /dev/loop-control ] || wanted=fuseblk.knotfs
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	[ "$(type_at "$dir")" = $wanted ] || fail "$(type_at "$dir")"
	if is_root; then
		sync -f "$dir" || fail "syncfs"
		umount "$dir" || fail "umount"
	else
		unmount_is_clean "$dir"
	fi
	[ "$(loops_on "$image")" -eq 0 ] || fail "a loop device is left"
}

options_are_obeyed() {
	expect 0 "" "$bin/knotfs" "$image" "$dir" -o \
		"noatime,nosuid,nodev,noexec,cache=8M,log_buffer=2M,flush_log_at_commit=2,commit=1,data=strict,threads=1,x-a=b"
	grep " $dir " /proc/self/mounts | grep -q nosuid,nodev,noexec,noatime || fail "$(grep " $dir " /proc/self/mounts)"
	"$bin/knotctl" stats --json "$dir" >json || fail "stats"
	grep -q '"strict": true' json || fail "not strict"
	for i in 1 2 3 4 5 6 7 8; do
		dd if=/dev/zero of="$dir/p$i" bs=64k count=4 conv=fsync status=none &
	done
	wait
	[ "$(cat "$dir"/p? | wc -c)" -eq $((8 * 262144)) ] || fail "writing in parallel through one thread"
	rm "$dir"/p?
	unmount_is_clean "$dir"
	expect 0 "" "$bin/knotfs" "$image" "$dir" -o writeback
	grep -q '"writeback": true' <("$bin/knotctl" stats --json "$dir") || fail "not writeback"
	seq 100000 >"$dir/seq"
	touch -d '2001-02-03 04:05:06 UTC' "$dir/seq"
	unmount_is_clean "$dir"
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	cmp -s "$dir/seq" <(seq 100000) || fail "written through the kernel's cache, read back different"
	[ "$(stat -c %Y "$dir/seq")" -eq 981173106 ] || fail "the time that was set is gone"
	unmount_is_clean "$dir"
}

an_image_in_use_is_refused_by_name() {
	local pid

	expect 0 "" "$bin/knotfs" "$image" "$dir"
	pid=$(daemon_pid)
	expect 32 "^knotfs: $image is in use by another knotfs \(pid ${pid:-[0-9]*}\)" "$bin/knotfs" "$image" "$work/second mnt"
	expect 32 "in use" "$bin/knotfs" -o ro "$image" "$work/second mnt"
	[ "$(type_at "$dir")" ] || fail "the first is gone"
	unmount_is_clean "$dir"
}

a_signal_unmounts_cleanly() {
	local signal pid status

	for signal in TERM INT; do
		# A shell without job control makes its children deaf to INT.
		python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$bin/knotfs" -f "$image" "$dir" 2>err &
		pid=$!
		pids+=("$pid")
		wait_mounted "$dir" || fail "not mounted"
		echo $signal >"$dir/$signal"
		kill -$signal $pid
		wait $pid
		status=$?
		[ $status -eq 0 ] || fail "$signal: exit code $status: $(cat err)"
		[ -z "$(type_at "$dir")" ] || fail "$signal: still mounted"
	done
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	[ "$(cat "$dir/TERM" "$dir/INT")" = "TERM
INT" ] || fail "what was written before the signal is gone"
	unmount_is_clean "$dir"
}

a_signal_ends_a_mount_that_is_in_use() {
	local pid user status

	"$bin/knotfs" -f "$image" "$dir" 2>err &
	pid=$!
	pids+=("$pid")
	wait_mounted "$dir" || fail "not mounted"
	echo saved >"$dir/saved"
	exec 9<"$dir/saved"
	kill -TERM $pid
	wait $pid
	status=$?
	[ $status -eq 0 ] || fail "exit code $status: $(cat err)"
	exec 9<&-
	[ -z "$(type_at "$dir")" ] || fail "still mounted"
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	[ "$(cat "$dir/saved")" = saved ] || fail "not saved"
	unmount_is_clean "$dir"
}

a_signal_leaves_what_others_mounted_over_it() {
	local pid

	is_root || return 0
	"$bin/knotfs" -f "$image" "$dir" 2>err &
	pid=$!
	pids+=("$pid")
	wait_mounted "$dir" || fail "not mounted"
	echo below >"$dir/below"
	mount -t tmpfs none "$dir" || fail "can't mount over it"
	kill -TERM $pid
	wait $pid || fail "exit code $?: $(cat err)"
	[ "$(type_at "$dir")" = tmpfs ] || fail "what was mounted over it is gone"
	umount "$dir"
	umount "$dir" || fail "its own mount point is gone"
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	[ "$(cat "$dir/below")" = below ] || fail "not saved"
	unmount_is_clean "$dir"
}

statfs_and_removed_directories_are_as_elsewhere() {
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	[ "$(stat -f -c %c "$dir")" -ge "$(stat -f -c %d "$dir")" ] || fail "more free inodes than inodes"
	mkdir "$dir/removed"
	exec 9<"$dir/removed"
	rmdir "$dir/removed"
	[ "$(stat -L -c %h /proc/self/fd/9)" = 0 ] || fail "a removed directory has links"
	exec 9<&-
	unmount_is_clean "$dir"
}

a_killed_daemon_is_recovered_from_and_its_mount_point_detached() {
	local pid round

	for round in 1 2 3; do
		expect 0 "" "$bin/knotfs" "$image" "$dir"
		pid=$(daemon_pid)
		dd if=/dev/urandom of="$dir/synced$round" bs=10000 count=7 conv=fsync status=none
		cp "$dir/synced$round" "$work/copy$round"
		echo unsynced >"$dir/unsynced$round"
		kill -KILL "$pid"
		wait_ended "$pid" || fail "it survived SIGKILL"
		expect 1 "its daemon is gone" "$bin/knotctl" stats "$dir"
		expect 0 "detached what a killed knotfs left" "$bin/knotfs" "$image" "$dir"
		for i in $(seq $round); do
			cmp "$work/copy$i" "$dir/synced$i" || fail "synced file $i after kill $round"
		done
		[ "$(grep -c " $dir " /proc/self/mounts)" -eq 1 ] || fail "mounted more than once"
		unmount_is_clean "$dir"
		[ "$(loops_on "$image")" -eq 0 ] || fail "a loop device is left"
	done
}

a_read_only_mount_changes_nothing() {
	local before pid

	expect 0 "" "$bin/knotfs" "$image" "$dir"
	pid=$(daemon_pid)
	echo new >"$dir/new"
	sync "$dir/new"
	kill -KILL "$pid"
	wait_ended "$pid"
	fusermount3 -uz "$dir" 2>/dev/null || umount -l "$dir"
	before=$(sha256sum <"$image")
	# The log is not empty: it is replayed in memory.
	expect 0 "" "$bin/knotfs" "$image" "$dir" -o ro
	[ "$(cat "$dir/new")" = new ] || fail "what is only in the log is not seen"
	expect 1 "Read-only file system" touch "$dir/x"
	expect 1 "Read-only file system" rm "$dir/new"
	grep -q '"read_only": true' <("$bin/knotctl" stats --json "$dir") || fail "stats say otherwise"
	unmount_is_clean "$dir"
	[ "$(sha256sum <"$image")" = "$before" ] || fail "the image was changed"
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	[ "$(cat "$dir/new")" = new ] || fail "gone"
	unmount_is_clean "$dir"
}

knotctl_reports_and_works() {
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	mkdir -p "$dir/sub"
	for i in 1 2 3; do
		dd if=/dev/zero of="$dir/sub/f$i" bs=4096 count=1 conv=fsync status=none
	done
	expect 0 "" "$bin/knotctl" stats "$dir/sub"
	grep -Eq "^log: end \(LSN\) +[1-9]" out || fail "no LSN: $(cat out)"
	grep -Eq "^requests: fsync +3$" out || fail "not three fsyncs: $(grep fsync out)"
	expect 0 "" "$bin/knotctl" stats --json "$dir"
	python3 - out <<'PY' || fail "JSON: $(cat out)"
import json, sys
s = json.load(open(sys.argv[1]))
assert s["checkpoint_lsn"] <= s["flushed_lsn"] <= s["written_lsn"] <= s["lsn"], s
assert s["requests"]["write"] >= 3 and s["write_bytes"] >= 3 * 4096 and s["threads"] >= 1, s
assert s["ring_bytes"] > 0 and s["frames"] > 0, s
PY
	expect 0 "" "$bin/knotctl" checkpoint "$dir/sub"
	expect 1 "not on a knotfs mount" "$bin/knotctl" stats "$work"
	expect 1 "not on a knotfs mount" "$bin/knotctl" unmount "$work"
	expect 1 "No such file" "$bin/knotctl" stats "$work/none"
	exec 9<"$dir/sub"
	expect 1 "." "$bin/knotctl" unmount "$dir"
	[ "$(type_at "$dir")" ] || fail "unmounted although in use"
	exec 9<&-
	unmount_is_clean "$dir"
}

unmounting_returns_when_the_daemon_has_ended() {
	local pid

	expect 0 "" "$bin/knotfs" "$image" "$dir"
	pid=$(daemon_pid)
	dd if=/dev/zero of="$dir/large" bs=1M count=16 status=none
	unmount_is_clean "$dir"
	has_ended "$pid" || fail "it still runs"
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	[ "$(stat -c %s "$dir/large")" -eq $((16 << 20)) ] || fail "not all is there"
	rm "$dir/large"
	unmount_is_clean "$dir"
}

writing_and_chown_clear_setuid() {
	is_root || return 0
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	chmod 1777 "$dir"
	setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "echo x >'$dir/w' && chmod 6755 '$dir/w' && echo y >>'$dir/w'"
	[ "$(stat -c %a "$dir/w")" = 755 ] || fail "write: $(stat -c %a "$dir/w")"
	setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "chmod 4755 '$dir/w' && truncate -s 1 '$dir/w'"
	[ "$(stat -c %a "$dir/w")" = 755 ] || fail "truncate: $(stat -c %a "$dir/w")"
	chmod 4755 "$dir/w"
	chown 1:1 "$dir/w"
	[ "$(stat -c %a "$dir/w")" = 755 ] || fail "chown: $(stat -c %a "$dir/w")"
	chmod 4755 "$dir/w"
	echo z >>"$dir/w"
	[ "$(stat -c %a "$dir/w")" = 4755 ] || fail "root keeps it: $(stat -c %a "$dir/w")"
	chmod 0755 "$dir"
	unmount_is_clean "$dir"
}

mount_8_and_fstab_work() {
	is_root || return 0
	mkdir helpers
	ln -s "$bin/knotfs" helpers/mount.knotfs
	ln -s "$bin/knotfs" helpers/mount.fuse.knotfs
	# mount(8) looks for helpers in its own folder only: show it one more there.
	mount -t overlay none -o "lowerdir=$work/helpers:/usr/sbin" /usr/sbin 2>/dev/null || return 0
	expect 0 "" mount -t knotfs -o noatime,nofail,_netdev "$image" "$dir"
	expect 0 "" umount "$dir"
	expect 0 "" mount -t fuse.knotfs "$image" "$dir"
	expect 0 "" umount "$dir"
	expect 0 "" mount -f -t knotfs "$image" "$dir"
	[ -z "$(type_at "$dir")" ] || fail "faked, yet mounted"
	expect 1 "^knotfs: unknown option: bogus" mount -t knotfs -o bogus "$image" "$dir"
	echo "$image $dir knotfs ro,noauto,x-systemd.automount 0 0" >fstab
	expect 0 "" mount -T "$work/fstab" "$dir"
	grep -q " $dir fuseblk.knotfs ro" /proc/self/mounts || fail "$(grep " $dir " /proc/self/mounts)"
	expect 0 "" umount "$dir"
	umount -l /usr/sbin
}

a_block_device_is_mounted_as_itself() {
	local loop

	is_root || return 0
	loop=$(losetup -f --show "$image") || return 0
	expect 0 "" "$bin/knotfs" "$loop" "$dir"
	grep -q "^$loop $dir fuseblk.knotfs" /proc/self/mounts || fail "$(grep " $dir " /proc/self/mounts)"
	expect 32 "is in use" "$bin/knotfs" "$loop" "$work/second mnt"
	expect 0 "" umount "$dir"
	losetup -d "$loop"
}

an_ordinary_user_mounts_too() {
	local user=() image=$work/user/test.img dir=$work/user/mnt pid

	mkdir -p "$dir"
	if is_root; then
		# Not every machine gives all users the device; here they have it.
		mkdir dev && mount -t tmpfs none dev && mknod -m 666 dev/fuse c 10 229 && mount --bind dev/fuse /dev/fuse || return 0
		user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
		chown 65534:65534 "$work/user" "$dir"
	fi
	command -v fusermount3 >/dev/null || return 0
	"${user[@]}" "$bin/mkfs.knotfs" -q --size 64M "$image" || fail mkfs
	if is_root; then
		# Its root directory shall be the user's.
		expect 0 "" "$bin/knotfs" "$image" "$dir"
		chown 65534:65534 "$dir"
		unmount_is_clean "$dir"
	fi
	expect 0 "" "${user[@]}" "$bin/knotfs" "$image" "$dir"
	[ "$(type_at "$dir")" = fuse.knotfs ] || fail "$(type_at "$dir")"
	grep " $dir " /proc/self/mounts | grep -q nosuid,nodev || fail "neither nosuid nor nodev"
	"${user[@]}" sh -c "echo mine >'$dir/f' && sync '$dir/f'" || fail "writing"
	expect 0 "" "${user[@]}" "$bin/knotctl" checkpoint "$dir"
	expect 0 "" "${user[@]}" "$bin/knotctl" unmount "$dir"
	expect 0 "" "${user[@]}" "$bin/knotfs" "$image" "$dir"
	[ "$("${user[@]}" cat "$dir/f")" = mine ] || fail "gone"
	pid=$(daemon_pid)
	kill -KILL "$pid"
	wait_ended "$pid"
	expect 0 "detached what a killed knotfs left" "${user[@]}" "$bin/knotfs" "$image" "$dir"
	[ "$("${user[@]}" cat "$dir/f")" = mine ] || fail "gone"
	pid=$(daemon_pid)
	kill -TERM "$pid"
	wait_ended "$pid"
	[ -z "$(type_at "$dir")" ] || fail "TERM left it mounted"
	is_root || return 0
	umount /dev/fuse
	umount dev
}

only_the_owner_may_have_it_checkpointed() {
	is_root || return 0
	expect 0 "" "$bin/knotfs" "$image" "$dir"
	expect 0 "" setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/knotctl" stats "$dir"
	expect 1 "only root and whoever mounted it" setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$bin/knotctl" checkpoint "$dir"
	expect 1 "only root and whoever mounted it" setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$bin/knotctl" unmount "$dir"
	unmount_is_clean "$dir"
}

for case in usage_is_told what_can_not_be_mounted_is_refused_with_one_line files_are_there_after_unmount_and_mount \
	the_mount_has_the_right_type options_are_obeyed an_image_in_use_is_refused_by_name a_signal_unmounts_cleanly \
	a_signal_ends_a_mount_that_is_in_use a_signal_leaves_what_others_mounted_over_it \
	statfs_and_removed_directories_are_as_elsewhere a_killed_daemon_is_recovered_from_and_its_mount_point_detached \
	a_read_only_mount_changes_nothing knotctl_reports_and_works unmounting_returns_when_the_daemon_has_ended \
	writing_and_chown_clear_setuid mount_8_and_fstab_work a_block_device_is_mounted_as_itself an_ordinary_user_mounts_too \
	only_the_owner_may_have_it_checkpointed; do
	echo "$case"
	$case
done
[ $failures -eq 0 ]
