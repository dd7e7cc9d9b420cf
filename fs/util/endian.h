/* SPDX-License-Identifier: MIT */
/*
 * Little-endian integers of the medium. They are structs, so that an unconverted use does not compile. Keys of the
 * tree are big-endian byte strings (memcmp order) and have their own helpers.
 */
#ifndef KNOT_UTIL_ENDIAN_H
#define KNOT_UTIL_ENDIAN_H

#include <knotfs/endian_types.h>

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t knot_get16(knot_le16 value)
{
	uint16_t raw;

	memcpy(&raw, value.raw, sizeof(raw));
	return le16toh(raw);
}

static inline uint32_t knot_get32(knot_le32 value)
{
	uint32_t raw;

	memcpy(&raw, value.raw, sizeof(raw));
	return le32toh(raw);
}

static inline uint64_t knot_get64(knot_le64 value)
{
	uint64_t raw;

	memcpy(&raw, value.raw, sizeof(raw));
	return le64toh(raw);
}

static inline knot_le16 knot_put16(uint16_t value)
{
	knot_le16 out;

	value = htole16(value);
	memcpy(out.raw, &value, sizeof(value));
	return out;
}

static inline knot_le32 knot_put32(uint32_t value)
{
	knot_le32 out;

	value = htole32(value);
	memcpy(out.raw, &value, sizeof(value));
	return out;
}

static inline knot_le64 knot_put64(uint64_t value)
{
	knot_le64 out;

	value = htole64(value);
	memcpy(out.raw, &value, sizeof(value));
	return out;
}

static inline void knot_put_be64(uint8_t *bytes, uint64_t value)
{
	value = htobe64(value);
	memcpy(bytes, &value, sizeof(value));
}

static inline uint64_t knot_get_be64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return be64toh(value);
}

static inline void knot_put_be32(uint8_t *bytes, uint32_t value)
{
	value = htobe32(value);
	memcpy(bytes, &value, sizeof(value));
}

static inline uint32_t knot_get_be32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return be32toh(value);
}

#endif
