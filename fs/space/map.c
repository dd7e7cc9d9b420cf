/* SPDX-License-Identifier: MIT */
/* Bit maps of one group: 256 words of 64 pages. Pure functions. */
#include "fs/space/space_int.h"

#include <string.h>

uint64_t knot_map_mask(uint32_t word, uint32_t at, uint32_t count)
{
	uint32_t first = word * 64u;
	uint32_t end = at + count;
	uint32_t low = at > first ? at - first : 0;
	uint32_t high = end < first + 64u ? end - first : 64u;

	if (at >= first + 64u || end <= first)
		return 0;
	return (~UINT64_C(0) << low) & (~UINT64_C(0) >> (64u - high));
}

void knot_map_set(uint64_t *words, uint32_t at, uint32_t count)
{
	for (uint32_t w = at / 64u; count && w <= (at + count - 1u) / 64u; w++)
		words[w] |= knot_map_mask(w, at, count);
}

void knot_map_clear(uint64_t *words, uint32_t at, uint32_t count)
{
	for (uint32_t w = at / 64u; count && w <= (at + count - 1u) / 64u; w++)
		words[w] &= ~knot_map_mask(w, at, count);
}

bool knot_map_is(const uint64_t *words, uint32_t at, uint32_t count, bool value)
{
	for (uint32_t w = at / 64u; count && w <= (at + count - 1u) / 64u; w++) {
		uint64_t mask = knot_map_mask(w, at, count);

		if ((words[w] & mask) != (value ? mask : 0))
			return false;
	}
	return true;
}

uint32_t knot_map_next(const uint64_t *words, uint32_t from, uint32_t end, bool value)
{
	uint64_t flip = value ? 0 : ~UINT64_C(0);
	uint64_t hidden = ~UINT64_C(0) << (from % 64u);

	if (from >= end)
		return end;
	for (uint32_t w = from / 64u; w <= (end - 1u) / 64u; w++) {
		uint64_t hits = (words[w] ^ flip) & hidden;

		if (hits) {
			uint32_t bit = w * 64u + (uint32_t)__builtin_ctzll(hits);

			return bit < end ? bit : end;
		}
		hidden = ~UINT64_C(0);
	}
	return end;
}

uint32_t knot_map_zeros(const uint64_t *words)
{
	uint32_t zeros = 0;

	for (uint32_t w = 0; w < KNOT_GROUP_WORDS; w++)
		zeros += (uint32_t)__builtin_popcountll(~words[w]);
	return zeros;
}

uint32_t knot_map_zero_words(const uint64_t *words)
{
	uint32_t zeros = 0;

	for (uint32_t w = 0; w < KNOT_GROUP_WORDS; w++)
		zeros += words[w] == 0;
	return zeros;
}

void knot_map_find_run(const uint64_t *words, uint32_t from, uint32_t end, uint32_t want, uint32_t *at,
		       uint32_t *length)
{
	uint32_t best = 0;
	uint32_t best_at = 0;
	uint32_t bit = knot_map_next(words, from, end, false);

	while (bit < end && best < want) {
		uint32_t limit = bit + want < KNOT_GROUP_PAGES ? bit + want : KNOT_GROUP_PAGES;
		uint32_t stop = knot_map_next(words, bit, limit, true);

		if (stop - bit > best) {
			best = stop - bit;
			best_at = bit;
		}
		bit = knot_map_next(words, stop, end, false);
	}
	*at = best_at;
	*length = best;
}
