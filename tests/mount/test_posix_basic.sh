#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# POSIX behaviour on a real mount (tool_posix.c), and a hammer: many processes on one small tree, verified at the end.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

what_posix_says() {
	local options

	for options in data=ordered data=strict,cache=16M data=ordered,writeback; do
		echo "    -- $options"
		new_image 256M
		mount_it "$options"
		mkdir "$dir/work"
		timeout 200 "$tools/tool_posix" "$dir/work" 2>err || fail "$options: $(cat err)"
		rm -rf "$dir/work" || fail "$options: rm"
		unmount_it
		fsck_is_clean "$options" || return
	done
}

# Each process has files of its own, which must be right at the end; all of them fight for the same names besides.
hammer() {
	local seconds=${KNOT_HAMMER_SECONDS:-10} options i pids

	for options in data=ordered data=strict,cache=16M; do
		new_image 256M --log-size 4M
		mount_it "$options"
		pids=()
		for i in 0 1 2 3 4 5 6 7; do
			timeout $((seconds + 100)) "$tools/tool_hammer" "$dir" $i "$seconds" >"hammer$i" 2>"err$i" &
			pids+=($!)
		done
		for i in 0 1 2 3 4 5 6 7; do
			wait "${pids[i]}" || fail "$options: process $i: $(cat "err$i")"
		done
		diff <(cd "$dir" && find . -printf '%p %y %s %n\n' | sort) <(ls "$dir" >/dev/null; cd "$dir" && find . -printf '%p %y %s %n\n' | sort) ||
			fail "two listings differ"
		(cd "$dir" && find . -type f -exec sha256sum {} + | sort) >sums
		unmount_it
		fsck_is_clean "$options" || return
		mount_it "$options"
		(cd "$dir" && find . -type f -exec sha256sum {} + | sort) | diff sums - >differences || fail "$options: $(head -n 3 differences)"
		for i in 0 1 2 3 4 5 6 7; do
			"$tools/tool_hammer" "$dir" $i 0 2>err >/dev/null || fail "$options: after a mount, process $i: $(cat err)"
		done
		rm -rf "${dir:?}"/* || fail "rm"
		unmount_it
		fsck_is_clean "$options, emptied" || return
		echo "    $options: $(cat hammer? | awk '{ s += $1 } END { print s }') operations of 8 processes in $seconds s"
	done
}

run_cases what_posix_says hammer
