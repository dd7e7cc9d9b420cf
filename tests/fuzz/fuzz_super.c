/* SPDX-License-Identifier: MIT */
/* Superblocks that verify: parsing, what is derived, and opening a volume by them. */
#include "fuzz_volume.h"

static void derive(const struct knot_super *super)
{
	const uint64_t some[] = {
		0, 1, 2, 2048, super->pages - 1, super->state_page, super->root_page, super->group_table_page
	};

	for (unsigned i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		(void)knot_super_page_is_fixed(super, some[i]);
	(void)knot_super_group_pages(super, 0);
	(void)knot_super_group_pages(super, super->groups - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_volume fuzz;
	static bool verbose;
	static const struct knot_messages messages = { .emit = fuzz_emit, .arg = &verbose };
	struct fuzz_input input = { .at = data, .left = size };
	_Alignas(4096) uint8_t page[KNOT_PAGE_BYTES];
	struct knot_device *device;
	struct knot_volume *volume;
	struct knot_super super;
	uint64_t clock = 5000;
	bool read_only = false, seal;

	if (!fuzz.base) {
		verbose = getenv("KNOT_FUZZ_VERBOSE") != NULL;
		fuzz_volume_make(&fuzz, true);
	}
	fuzz_must(knot_device_read(fuzz.base, page, sizeof(page), 0), "read");
	seal = fuzz_take(&input, 1) % 16;
	while (input.left) {
		unsigned len_bytes = 1 + (unsigned)fuzz_take(&input, 1) % 8;

		fuzz_patch_bytes(page, fuzz_take(&input, 2) % 1280, &input, len_bytes);
	}
	if (seal) {
		struct knot_seal own;

		knot_seal_init(&own, ((struct knot_disk_superblock *)(void *)page)->salt);
		knot_page_seal(&own, page);
	}
	if (knot_super_decode(page, 0, &messages, &super, &read_only) == 0)
		derive(&super);
	fuzz_must(knot_device_open_overlay(fuzz.base, &device), "overlay");
	fuzz_must(knot_device_write(device, page, sizeof(page), 0), "write");
	if (fuzz_open(device, &messages, &clock, false, &volume) == 0)
		(void)knot_volume_close(volume);
	fuzz_check(device, &messages);
	knot_device_close(device);
	return 0;
}
