#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A full disk: every operation that needs space fails with ENOSPC and with nothing else, what was written stays whole and
# can be overwritten, everything can be deleted, and then all space is back.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# fill_and_empty small|big|names SIZE OPTIONS
fill_and_empty() {
	local kind=$1 size=$2 options=$3 before count

	new_image "$size"
	mount_it "$options"
	before=$(free_pages)
	if ! count=$("$tools/tool_full" "$kind" "$dir" 2>err); then
		fail "$kind, $size, $options: $(cat err)"
	fi
	cat err
	"$tools/tool_full" verify "$dir" "$count" 2>err || fail "$kind, $size, $options: $(cat err)"
	unmount_it
	fsck_is_clean "$kind, $size, $options, full" || return
	mount_it "$options"
	"$tools/tool_full" verify "$dir" "$count" 2>err || fail "$kind, $size, $options, mounted again: $(cat err)"
	find "$dir" -mindepth 1 -delete 2>err || fail "$kind, $size, $options: deleting: $(head -n 3 err)"
	[ -z "$(ls -A "$dir")" ] || fail "$kind, $size, $options: not empty"
	free_pages_become "$before" ||
		fail "$kind, $size, $options: $before pages free at first, $(free_pages) at last"
	unmount_it
	fsck_is_clean "$kind, $size, $options, emptied" || return
	echo "    $size $options, $kind: $count written, $before pages free before and after"
}

a_flood_of_small_files_is_survived() {
	fill_and_empty small 32M data=ordered
	fill_and_empty small 32M data=strict
	fill_and_empty small 64M data=ordered,commit=1
}

a_file_as_large_as_the_volume_is_survived() {
	fill_and_empty big 32M data=ordered
	fill_and_empty big 64M data=strict
}

a_flood_of_names_is_survived() {
	fill_and_empty names 32M data=ordered
	[ -z "${KNOT_LONG:-}" ] || fill_and_empty names 32M data=strict
}

several_writers_meet_the_end_together() {
	local pids=() i before options

	for options in data=ordered data=strict; do
		new_image 32M
		mount_it "$options"
		before=$(free_pages)
		mkdir "$dir"/part{0..3}
		pids=()
		for i in 0 1 2 3; do
			"$tools/tool_full" small "$dir/part$i" >"count$i" 2>"err$i" &
			pids+=($!)
		done
		for i in 0 1 2 3; do
			wait "${pids[i]}" || fail "$options: $(cat "err$i")"
		done
		unmount_it
		fsck_is_clean "$options, full" || return
		mount_it "$options"
		for i in 0 1 2 3; do
			"$tools/tool_full" verify "$dir/part$i" "$(cat "count$i")" 2>err || fail "$options: $(cat err)"
		done
		rm -rf "$dir"/part* || fail "$options: deleting"
		free_pages_become "$before" || fail "$options: $before pages free at first, $(free_pages) at last"
		unmount_it
		fsck_is_clean "$options, emptied" || return
		echo "    $options: $(cat count? | paste -sd+) files"
	done
}

run_cases a_flood_of_small_files_is_survived a_file_as_large_as_the_volume_is_survived a_flood_of_names_is_survived \
	several_writers_meet_the_end_together
