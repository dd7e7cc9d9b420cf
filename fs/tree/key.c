/* SPDX-License-Identifier: MIT */
/* Keys: big-endian fields, so that memcmp order is the order of (object, kind, offset, snapshot). */
#include "fs/tree/tree.h"
#include "fs/util/endian.h"

#define KEY_KIND_AT        8u
#define KEY_OFFSET_HIGH_AT 9u
#define KEY_OFFSET_LOW_AT  17u
#define KEY_SNAPSHOT_AT    25u

void knot_key_make(struct knot_key *key, uint64_t object, uint8_t kind, uint64_t offset_high, uint64_t offset_low)
{
	knot_put_be64(key->bytes, object);
	key->bytes[KEY_KIND_AT] = kind;
	knot_put_be64(key->bytes + KEY_OFFSET_HIGH_AT, offset_high);
	knot_put_be64(key->bytes + KEY_OFFSET_LOW_AT, offset_low);
	knot_put_be32(key->bytes + KEY_SNAPSHOT_AT, 0);
}

uint64_t knot_key_object(const struct knot_key *key)
{
	return knot_get_be64(key->bytes);
}

uint8_t knot_key_kind(const struct knot_key *key)
{
	return key->bytes[KEY_KIND_AT];
}

uint64_t knot_key_offset_high(const struct knot_key *key)
{
	return knot_get_be64(key->bytes + KEY_OFFSET_HIGH_AT);
}

uint64_t knot_key_offset_low(const struct knot_key *key)
{
	return knot_get_be64(key->bytes + KEY_OFFSET_LOW_AT);
}
