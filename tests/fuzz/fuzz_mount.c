/* SPDX-License-Identifier: MIT */
/* A volume whose pages verify but lie: mount, walk, change, unmount and check it. */
#include "fuzz_volume.h"

#define PATCHES_MAX 6u
#define NAMES_MAX   48u

struct name {
	char bytes[256];
	size_t len_bytes;
	uint64_t inode;
	bool looked_up;
};

struct names {
	struct name names[NAMES_MAX];
	unsigned count;
};

static int take_name(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type, uint64_t next_offset,
		     const struct knot_attr *attr)
{
	struct names *names = arg;
	struct name *out = &names->names[names->count];

	(void)type;
	(void)next_offset;
	if (names->count == NAMES_MAX)
		return 1;
	memcpy(out->bytes, name, name_bytes);
	out->len_bytes = name_bytes;
	out->inode = inode;
	out->looked_up = attr != NULL;
	names->count++;
	return 0;
}

static void use_file(struct knot_volume *volume, uint64_t inode, struct fuzz_input *input)
{
	static uint8_t buffer[24 << 10];
	const struct knot_attr wanted = { .size = fuzz_take(input, 1) * 1000, .mode = 0600 };
	struct knot_attr attr;
	size_t got, len_bytes = 4095;

	(void)knot_vfs_getattr(volume, NULL, inode, &attr);
	(void)knot_vfs_readlink(volume, NULL, inode, (char *)buffer, &len_bytes);
	(void)knot_vfs_read(volume, NULL, inode, 0, sizeof(buffer), buffer, &got);
	switch (fuzz_take(input, 1) % 8) {
	case 0:
		(void)knot_vfs_write(volume, NULL, inode, wanted.size, 6000, buffer, false);
		break;
	case 1:
		(void)knot_vfs_setattr(volume, NULL, inode, KNOT_SET_SIZE, &wanted, &attr);
		break;
	case 2:
		(void)knot_vfs_write(volume, NULL, inode, wanted.size, 100, buffer, true);
		(void)knot_vfs_fsync(volume, NULL, inode, false);
		break;
	case 3:
		(void)knot_vfs_setattr(volume, NULL, inode, KNOT_SET_MODE, &wanted, &attr);
		break;
	case 4:
		(void)knot_vfs_write(volume, NULL, inode, 0, sizeof(buffer), buffer, false);
		break;
	default:
		break;
	}
	(void)knot_vfs_read(volume, NULL, inode, 0, sizeof(buffer), buffer, &got);
}

static void change_name(struct knot_volume *volume, uint64_t dir, const struct name *name, struct fuzz_input *input)
{
	struct knot_attr attr;
	unsigned flags = (unsigned)fuzz_take(input, 1);

	switch (fuzz_take(input, 1) % 8) {
	case 0:
		(void)knot_vfs_unlink(volume, NULL, dir, name->bytes, name->len_bytes);
		break;
	case 1:
		(void)knot_vfs_rmdir(volume, NULL, dir, name->bytes, name->len_bytes);
		break;
	case 2:
		(void)knot_vfs_rename(volume, NULL, dir, name->bytes, name->len_bytes, FUZZ_ROOT, "linked", 6,
				      flags % 8);
		break;
	case 3:
		(void)knot_vfs_rename(volume, NULL, FUZZ_ROOT, "directory0", 10, dir, "moved", 5, flags % 8);
		break;
	case 4:
		if (knot_vfs_link(volume, NULL, name->inode, FUZZ_ROOT, "another", 7, &attr) == 0)
			knot_vfs_forget(volume, NULL, attr.inode, 1);
		break;
	case 5:
		if (knot_vfs_mkdir(volume, NULL, name->inode, "new", 3, 0755, &attr) == 0)
			knot_vfs_forget(volume, NULL, attr.inode, 1);
		break;
	default:
		break;
	}
}

static void walk(struct knot_volume *volume, uint64_t dir, unsigned depth, struct fuzz_input *input)
{
	struct names names;
	uint64_t offset = 0;
	struct knot_attr attr;

	names.count = 0;
	if (knot_vfs_readdir(volume, NULL, dir, offset, depth % 2, take_name, &names) != 0)
		return;
	for (unsigned i = 0; i < names.count; i++) {
		const struct name *name = &names.names[i];

		if (name->bytes[0] == '.')
			continue;
		if (knot_vfs_lookup(volume, NULL, dir, name->bytes, name->len_bytes, &attr) == 0) {
			use_file(volume, attr.inode, input);
			if (S_ISDIR(attr.mode) && depth < 4)
				walk(volume, attr.inode, depth + 1, input);
			change_name(volume, dir, name, input);
			knot_vfs_forget(volume, NULL, attr.inode, 1);
		}
		if (name->looked_up)
			knot_vfs_forget(volume, NULL, name->inode, 1);
	}
	(void)knot_volume_tick(volume, false);
}

static void use(struct knot_device *device, const struct knot_messages *messages, struct fuzz_input *input)
{
	uint64_t clock = 5000;
	struct knot_volume *volume;
	struct knot_statfs statfs;
	unsigned how = (unsigned)fuzz_take(input, 1);

	if (fuzz_open(device, messages, &clock, how % 8 == 7, &volume) != 0)
		return;
	(void)knot_vfs_statfs(volume, NULL, &statfs);
	(void)knot_volume_tick(volume, true);
	walk(volume, FUZZ_ROOT, 0, input);
	(void)knot_vfs_syncfs(volume, NULL);
	if (how % 4 == 3)
		knot_volume_abandon(volume);
	else
		(void)knot_volume_close(volume);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_volume fuzz;
	static bool verbose;
	static const struct knot_messages messages = { .emit = fuzz_emit, .arg = &verbose };
	struct fuzz_input input = { .at = data, .left = size };
	struct knot_device *device;
	unsigned patches;

	if (!fuzz.base) {
		verbose = getenv("KNOT_FUZZ_VERBOSE") != NULL;
		fuzz_volume_make(&fuzz, true);
	}
	fuzz_must(knot_device_open_overlay(fuzz.base, &device), "overlay");
	patches = 1 + (unsigned)fuzz_take(&input, 1) % PATCHES_MAX;
	for (unsigned i = 0; i < patches; i++)
		fuzz_patch(&fuzz, device, &input);
	use(device, &messages, &input);
	fuzz_check(device, &messages);
	knot_device_close(device);
	return 0;
}
