# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154
# What quickstart, runtests and .ci/run share. Source it with bash; set `program` first.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/build/release/bin

die() {
	echo "$program: $*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# missing_packages GROUP...: prints those of the groups that are not installed.
missing_packages() {
	local group package groups=" $* "

	while read -r group package; do
		[[ $groups == *" $group "* ]] || continue
		dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || echo "$package"
	done < <(grep -v '^#' "$root/.ci/packages")
}

# install_packages GROUP...: installs what is missing, and nothing when all is there.
install_packages() {
	local missing

	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		echo "$program: this is not Debian: see .ci/packages for what must be installed" >&2
		return 0
	fi
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0

	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		die "packages are missing and there is no sudo. As root run: apt-get install ${missing[*]}"
	fi
	echo "$program: installing ${missing[*]}"
	as_root apt-get update -q >/dev/null || echo "$program: apt-get update failed, trying with the lists that are here" >&2
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null ||
		die "could not install: ${missing[*]}"
}

# build PRESET [argument of cmake --build...]: quiet unless it fails.
build() {
	local preset=$1 log=$root/build/$1.log
	shift

	mkdir -p "$root/build" || return 1
	if ! (cd "$root" && cmake --preset "$preset" && cmake --build --preset "$preset" "$@") >"$log" 2>&1; then
		grep -nE -A5 '(error|Error|FAILED)' "$log" | head -n 60 >&2
		echo "$program: building preset $preset failed, see build/$preset.log" >&2
		return 1
	fi
}

# fuse_device: makes sure that /dev/fuse is there.
fuse_device() {
	[ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
	[ -e /dev/fuse ]
}
