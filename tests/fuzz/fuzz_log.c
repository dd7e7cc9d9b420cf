/* SPDX-License-Identifier: MIT */
/* A log whose blocks verify but lie: replay it, on the device and in memory, then check and mount what came out. */
#include "fs/txn/recovery.h"
#include "fuzz_volume.h"

#include <stddef.h>

#define PATCHES_MAX 8u

static void seal_block(const struct fuzz_volume *fuzz, struct knot_disk_block *block)
{
	block->crc = knot_put32(~knot_crc32c(fuzz->super.seal.crc_seed, block, offsetof(struct knot_disk_block, crc)));
}

static void seal_slot(const struct fuzz_volume *fuzz, struct knot_disk_slot *slot)
{
	slot->crc = knot_put32(0);
	slot->crc = knot_put32(~knot_crc32c(fuzz->super.seal.crc_seed, slot, sizeof(*slot)));
}

static void patch_log(const struct fuzz_volume *fuzz, struct knot_device *device, struct fuzz_input *input)
{
	const struct knot_segment *log = &fuzz->super.segments[0];
	_Alignas(4096) uint8_t page[KNOT_PAGE_BYTES];
	bool slot = fuzz_take(input, 1) % 8 == 0;
	/* the populated volume has used about the first 200 pages of the ring */
	uint64_t page_no = log->page_no + (slot ? fuzz_take(input, 1) % 2 : 2 + fuzz_take(input, 2) % (log->pages - 2));
	size_t block = slot ? 0 : fuzz_take(input, 1) % 8 * KNOT_LOG_BLOCK_BYTES;
	unsigned len_bytes = 1 + (unsigned)fuzz_take(input, 1) % 16;
	size_t at = fuzz_take(input, 2) % (slot ? 60u : KNOT_LOG_BLOCK_BYTES);

	fuzz_must(knot_device_read(device, page, sizeof(page), page_no * KNOT_PAGE_BYTES), "read");
	fuzz_patch_bytes(page, block + at, input, len_bytes);
	if (slot)
		seal_slot(fuzz, (void *)page);
	else
		seal_block(fuzz, (void *)(page + block));
	fuzz_must(knot_device_write(device, page, sizeof(page), page_no * KNOT_PAGE_BYTES), "write");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_volume fuzz;
	static bool verbose;
	static const struct knot_messages messages = { .emit = fuzz_emit, .arg = &verbose };
	struct fuzz_input input = { .at = data, .left = size };
	struct knot_recovery_result result;
	struct knot_recovery_options options = { .batch_bytes = 1 << 20 };
	struct knot_device *device;
	struct knot_volume *volume;
	uint64_t clock = 5000;
	int err;

	if (!fuzz.base) {
		verbose = getenv("KNOT_FUZZ_VERBOSE") != NULL;
		fuzz_volume_make(&fuzz, false);
	}
	fuzz_must(knot_device_open_overlay(fuzz.base, &device), "overlay");
	options.dry_run = fuzz_take(&input, 1) % 8 == 0;
	for (unsigned i = 1 + (unsigned)fuzz_take(&input, 1) % PATCHES_MAX; i > 0; i--)
		patch_log(&fuzz, device, &input);
	err = knot_recovery_run(device, &fuzz.super, &messages, &options, &result);
	if (!err) {
		fuzz_check(device, &messages);
		if (fuzz_open(device, &messages, &clock, false, &volume) == 0)
			(void)knot_volume_close(volume);
	}
	knot_device_close(device);
	return 0;
}
