/* SPDX-License-Identifier: MIT */
/* Shape rules on arbitrary bytes; what they pass must be safe to read, and tree pages safe to change. */
#include "fs/tree/tree_page_int.h"
#include "fuzz_volume.h"

static void read_all(const void *page)
{
	volatile uint8_t sink = 0;

	for (unsigned i = 0; i < knot_tree_page_count(page); i++) {
		struct knot_tree_item item;
		bool found;

		knot_tree_page_item(page, i, &item);
		for (size_t b = 0; b < item.payload_bytes; b++)
			sink = (uint8_t)(sink + ((const uint8_t *)item.payload)[b]);
		if (!knot_tree_page_covers(page, &item.key) || knot_tree_page_find(page, &item.key, &found) != i ||
		    !found)
			abort();
	}
}

static void change(uint8_t *page, struct fuzz_input *input)
{
	const uint8_t value[KNOT_VALUE_BYTES_MAX] = { 1 };
	struct knot_tree_item item = { .payload = value };
	unsigned count = knot_tree_page_count(page), slot;
	bool found;

	if (count && fuzz_take(input, 1) % 2) {
		knot_tree_page_remove(page, (unsigned)fuzz_take(input, 2) % count);
		return;
	}
	for (unsigned i = 0; i < KNOT_KEY_BYTES; i++)
		item.key.bytes[i] = (uint8_t)fuzz_take(input, 1);
	memcpy(item.key.bytes, ((struct knot_disk_tree_page *)(void *)page)->prefix, knot_tree_page_prefix(page));
	item.payload_bytes = knot_tree_page_level(page) ? sizeof(struct knot_disk_child)
							: fuzz_take(input, 2) % (sizeof(value) + 1);
	slot = knot_tree_page_find(page, &item.key, &found);
	if (!found && knot_tree_page_fits(page, item.payload_bytes))
		knot_tree_page_insert(page, slot, &item);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum knot_page_type types[] = { KNOT_PAGE_SUPER,  KNOT_PAGE_GROUP, KNOT_PAGE_GROUP_TABLE,
						     KNOT_PAGE_CHECKS, KNOT_PAGE_STATE, KNOT_PAGE_TREE };
	static struct fuzz_volume fuzz;
	struct fuzz_input input = { .at = data, .left = size };
	const struct fuzz_page *target;
	_Alignas(4096) uint8_t page[KNOT_PAGE_BYTES];

	if (!fuzz.base)
		fuzz_volume_make(&fuzz, true);
	target = &fuzz.pages[fuzz_take(&input, 2) % fuzz.page_count];
	fuzz_must(knot_device_read(fuzz.base, page, sizeof(page), target->page_no * KNOT_PAGE_BYTES), "read");
	for (unsigned i = (unsigned)fuzz_take(&input, 1) % 8; i > 0; i--) {
		if (fuzz_take(&input, 1) % 2)
			fuzz_patch_item(page, &input);
		else
			fuzz_patch_bytes(page, 64 + fuzz_take(&input, 2) % 4032, &input,
					 1 + (unsigned)fuzz_take(&input, 1) % 16);
	}
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i] != KNOT_PAGE_TREE)
			(void)knot_page_verify_shape(page, types[i]);
	if (knot_page_verify_shape(page, KNOT_PAGE_TREE) != KNOT_PAGE_OK)
		return 0;
	read_all(page);
	while (input.left) {
		change(page, &input);
		if (knot_tree_page_level(page) && !knot_tree_page_count(page))
			break; /* callers never empty an inner page */
		if (knot_tree_page_level(page) == 0 && knot_page_verify_shape(page, KNOT_PAGE_TREE) != KNOT_PAGE_OK)
			abort();
	}
	return 0;
}
