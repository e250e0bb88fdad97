/* The messages the load generator sends, and how it knows each one again.
 *
 * Message `number` of sender `sender` is a small XML element, followed by the zero byte:
 *
 *     <m c="0007" n="0000002a">text that fills it to the wanted size</m>
 *
 * The text is a stretch of one random pattern; where the stretch starts depends on sender and number. So an expected
 * message needs no storage, any part of it can be composed or compared at any time, a byte that is changed, missing or
 * moved shows, and the header says which message came in the place of the one expected. */

#ifndef LOADGEN_MESSAGE_H
#define LOADGEN_MESSAGE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER = 25,    /* <m c="0007" n="0000002a"> */
    UNIT = 6,       /* the pattern is made of units of this many bytes, each a whole number of characters */
    SHIFTS = 1021,  /* how many stretches of the pattern are in use */
    SMALLEST_MESSAGE = HEADER + UNIT + 4,
};

static size_t message_size;  /* bytes of a message without its zero byte */
static size_t text_size;     /* bytes of it taken from the pattern, a multiple of UNIT */
static char ending[UNIT + 5];  /* what follows the text: filling to the wanted size, </m>, the zero byte */
static size_t ending_size;
static char *pattern;

/* The value of each digit, 0x80 for what is none: a table, because which digit comes is nothing a branch can predict. */
static unsigned char digit_values[256];

static uint64_t random_number(void) {
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Six ASCII letters; in mixed text as often three Cyrillic letters or two ideographs, in UTF-8. */
static void make_unit(char *unit, int mixed) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    uint64_t kind = mixed ? random_number() % 3 : 0;
    for (int i = 0; i < UNIT; i++) {
        if (kind == 0)
            unit[i] = letters[random_number() % 64];
        else if (kind == 1)
            unit[i] = (char)(i % 2 == 0 ? 0xd0 : 0x90 + random_number() % 32);
        else
            unit[i] = (char)(i % 3 == 0 ? 0xe4 : i % 3 == 1 ? 0xb8 : 0x80 + random_number() % 64);
    }
}

static void prepare_messages(size_t size, int mixed) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 256; i++) {
        const char *digit = i ? strchr(digits, i) : NULL;
        digit_values[i] = digit ? (unsigned char)(digit - digits) : 0x80;
    }
    message_size = size;
    text_size = (size - HEADER - 4) / UNIT * UNIT;
    size_t filling = size - HEADER - 4 - text_size;
    memset(ending, 'x', filling);
    memcpy(ending + filling, "</m>", 5);
    ending_size = filling + 5;
    size_t units = text_size / UNIT + SHIFTS;
    pattern = malloc(units * UNIT);
    for (size_t i = 0; i < units; i++) make_unit(pattern + i * UNIT, mixed);
}

static const char *text_of(uint32_t sender, uint32_t number) {
    uint32_t mixed = (sender * 2654435761u) ^ (number * 40503u);
    return pattern + (size_t)(mixed % SHIFTS) * UNIT;
}

static void write_hex(char *to, uint32_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--, value >>= 4) to[i] = "0123456789abcdef"[value & 15];
}

static int read_hex(const char *from, int digits, uint32_t *value) {
    uint32_t result = 0, wrong = 0;
    for (int i = 0; i < digits; i++) {
        uint32_t digit = digit_values[(unsigned char)from[i]];
        wrong |= digit;
        result = result << 4 | (digit & 15);
    }
    *value = result;
    return wrong < 16;
}

static void write_header(char *to, uint32_t sender, uint32_t number) {
    memcpy(to, "<m c=\"0000\" n=\"00000000\">", HEADER);
    write_hex(to + 6, sender, 4);
    write_hex(to + 15, number, 8);
}

static int read_header(const char *from, uint32_t *sender, uint32_t *number) {
    return memcmp(from, "<m c=\"", 6) == 0 && read_hex(from + 6, 4, sender) && memcmp(from + 10, "\" n=\"", 5) == 0 &&
           read_hex(from + 15, 8, number) && memcmp(from + 23, "\">", 2) == 0;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Write the message and its zero byte from byte `from` on, `room` bytes at most; return how many. */
static size_t compose(char *to, size_t room, uint32_t sender, uint32_t number, size_t from) {
    size_t done = 0;
    if (from < HEADER) {
        char header[HEADER];
        write_header(header, sender, number);
        done = smaller(HEADER - from, room);
        memcpy(to, header + from, done);
        from += done;
    }
    if (done < room && from < HEADER + text_size) {
        size_t part = smaller(HEADER + text_size - from, room - done);
        memcpy(to + done, text_of(sender, number) + (from - HEADER), part);
        done += part;
        from += part;
    }
    if (done < room && from <= message_size) {
        size_t part = smaller(message_size + 1 - from, room - done);
        memcpy(to + done, ending + (from - HEADER - text_size), part);
        done += part;
    }
    return done;
}

/* Are these the bytes of the message from byte `from` (behind the header) on? */
static int matches(const char *bytes, size_t length, uint32_t sender, uint32_t number, size_t from) {
    if (from < HEADER + text_size) {
        size_t part = smaller(HEADER + text_size - from, length);
        if (memcmp(bytes, text_of(sender, number) + (from - HEADER), part) != 0) return 0;
        bytes += part;
        length -= part;
        from += part;
    }
    return length == 0 || memcmp(bytes, ending + (from - HEADER - text_size), length) == 0;
}

/* Say where bytes differ from the message; `from` counts from the start of the message. */
static void describe_difference(char *to, size_t room, const char *bytes, size_t length, uint32_t sender,
                                uint32_t number, size_t from) {
    for (size_t i = 0; i < length; i++) {
        char expected;
        compose(&expected, 1, sender, number, from + i);
        if (bytes[i] != expected) {
            snprintf(to, room, "byte %zu of %zu is 0x%02x and should be 0x%02x", from + i, message_size + 1,
                     (unsigned char)bytes[i], (unsigned char)expected);
            return;
        }
    }
}

#endif
