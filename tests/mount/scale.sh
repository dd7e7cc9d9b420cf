# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# What test_scale.sh and long_scale.sh share: large directories, memory, recovery, large volumes. Both set:
#   entries  of a large directory
#   megabytes  of a large file
#   trees  how often a real tree is unpacked

# The daemon's resident memory, at its highest, in KiB.
peak_kib() {
	awk '$1 == "VmHWM:" { print $2 }' "/proc/$(daemon_pid)/status"
}

# memory_is_bounded MIB WHAT: at most cache= and 64 MiB.
memory_is_bounded() {
	local peak

	peak=$(peak_kib)
	echo "    $2: at most $((peak / 1024)) MiB resident, cache $1 MiB"
	[ "$peak" -le $((($1 + 64) * 1024)) ] || fail "$2: $peak KiB resident with a cache of $1 MiB"
}

a_directory_costs_the_same_at_any_size() {
	new_image 8G
	mount_it
	mkdir "$dir/big" "$dir/small"
	"$tools/tool_scale" grow "$dir/big" "$dir/small" "$entries" 2>err || fail "$(cat err)"
	memory_is_bounded 256 "creating"
	rm -rf "$dir/big" || fail "rm"
	memory_is_bounded 256 "rm -rf"
	unmount_it
	fsck_is_clean
}

a_listing_neither_loses_nor_repeats_a_name() {
	new_image 4G
	mount_it
	mkdir "$dir/a"
	"$tools/tool_listing" "$dir/a" $((entries / 5)) 10 2>err || fail "$(head -n 5 err)"
	unmount_it
	fsck_is_clean
}

# What a listing with attributes finds when nothing is in memory; its time is printed only.
a_cold_listing_is_complete() {
	local cache=$1 count started

	unmount_it
	mount_it "cache=${cache}M"
	started=$EPOCHREALTIME
	count=$(find "$dir/many" -type f -links 1 -size -2 | wc -l)
	[ "$count" -eq "$entries" ] || fail "$count of $entries files listed"
	echo "    listed cold, $(awk -v a="$started" -v b="$EPOCHREALTIME" -v n="$entries" \
		'BEGIN { printf "%.1f", (b - a) * 1e6 / n }') us an entry"
	memory_is_bounded "$cache" "listing"
}

memory_case() {
	local cache=$1 i

	new_image 8G
	mount_it "cache=${cache}M"
	mkdir "$dir/many"
	"$tools/tool_scale" fill "$dir/many" "$entries" || fail "filling"
	memory_is_bounded "$cache" "creating"
	a_cold_listing_is_complete "$cache"
	dd if=/dev/zero of="$dir/large" bs=1M count="$megabytes" status=none || fail "dd"
	memory_is_bounded "$cache" "writing a large file"
	unmount_it
	mount_it "cache=${cache}M"
	cmp -n $((megabytes << 20)) "$dir/large" /dev/zero || fail "the large file"
	for ((i = 0; i < trees; i++)); do
		mkdir "$dir/tree$i"
		tar -C /usr -cf - include share/doc 2>tar.err | tar -C "$dir/tree$i" -xf - || fail "tar"
	done
	mkdir "$dir/little"
	"$tools/tool_scale" fill "$dir/little" $((entries / 5)) 3000 || fail "little files"
	sync -f "$dir"
	memory_is_bounded "$cache" "reading, unpacking, little files"
	unmount_it
	fsck_is_clean
}

memory_stays_within_a_small_cache() {
	memory_case 32
}

memory_stays_within_the_default_cache() {
	memory_case 256
}

# The cleaner begins at 3/8 of the log, when nothing else makes it: so 192 MiB leave more than 64 MiB to be replayed.
a_large_log_is_replayed_in_seconds() {
	local used before started took

	new_image 4G --log-size 192M
	mount_it "cache=512M,commit=600"
	mkdir "$dir/many"
	"$tools/tool_scale" fill "$dir/many" 100000 || fail "filling"
	echo last >"$dir/last"
	sync "$dir/last"
	used=$("$bin/knotctl" stats "$dir" | awk '/^log: bytes since the checkpoint/ { print $NF }')
	[ "$used" -ge $((48 << 20)) ] || fail "only $used bytes of log"
	kill_daemon
	fusermount3 -uz "$dir" 2>/dev/null || umount -l "$dir"
	before=$EPOCHREALTIME
	dd if="$image" of=/dev/null bs=1M count=128 iflag=direct status=none || fail "dd"
	started=$EPOCHREALTIME
	mount_it
	took=$EPOCHREALTIME
	awk -v a="$before" -v b="$started" -v c="$took" -v used="$used" 'BEGIN {
		printf "    %d MiB of log replayed in %.2f s; reading 128 MiB took %.2f s\n", used / 1048576, c - b, b - a
		exit !(c - b < 20) }' || fail "recovery takes too long"
	[ "$(cat "$dir/last")" = last ] || fail "what was synced is gone"
	memory_is_bounded 256 "recovering"
	unmount_it
	fsck_is_clean
}

# milliseconds COMMAND...
milliseconds() {
	local started=$EPOCHREALTIME

	"$@" || fail "$*"
	awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%d\n", (b - a) * 1000 }'
}

# The largest image that ext4 can hold; sparse.
a_huge_volume_mounts_like_a_small_one() {
	local size=17592186040320 made small large smalls=() larges=() i

	truncate -s $size probe 2>/dev/null || { echo "    skipped: no such file sizes here"; return; }
	rm probe
	new_image 1G
	mv "$image" small.img
	made=$(milliseconds new_image $size)
	mv "$image" large.img
	for ((i = 0; i < 5; i++)); do
		ln -f small.img "$image"
		smalls+=("$(milliseconds mount_it)")
		unmount_it
		ln -f large.img "$image"
		larges+=("$(milliseconds mount_it)")
		unmount_it
	done
	small=$(printf '%s\n' "${smalls[@]}" | sort -n | sed -n 3p)
	large=$(printf '%s\n' "${larges[@]}" | sort -n | sed -n 3p)
	echo "    16 TiB: formatted in $made ms, mounted in $large ms; 1 GiB: mounted in $small ms"
	[ "$made" -lt 5000 ] || fail "formatting takes $made ms"
	[ "$large" -le $((3 * small + 200)) ] || fail "mounting takes $large ms, that of 1 GiB $small ms"

	mount_it
	dd if=/dev/urandom of="$work/random" bs=1M count=16 status=none
	cp "$work/random" "$dir/file" || fail "cp"
	memory_is_bounded 256 "16 TiB"
	unmount_it
	(ulimit -v $((4 << 20)) && fsck_is_clean "16 TiB") || fail "fsck"
	mount_it
	cmp "$work/random" "$dir/file" || fail "the file differs"
	unmount_it
	rm -f large.img small.img
}
