/* WebSocket frames (RFC 6455, section 5.2): their head and their mask, for load and peer alike. */

#ifndef WEBSOCKET_FRAME_H
#define WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10, LONGEST_HEAD = 14 };

struct frame {
    bool final, reserved, masked;
    int opcode;
    size_t head, length;  /* bytes of the head, mask included, and of the payload */
    unsigned char mask[4];
};

/* Read the head; false when not all of it is there yet. */
static bool read_frame(struct frame *f, const char *bytes, size_t length) {
    const unsigned char *b = (const unsigned char *)bytes;
    if (length < 2) return false;
    int size = b[1] & 127, more = size == 126 ? 2 : size == 127 ? 8 : 0;
    f->masked = b[1] >> 7;
    f->head = 2 + (size_t)more + (f->masked ? 4 : 0);
    if (length < f->head) return false;
    f->final = b[0] >> 7;
    f->reserved = b[0] & 0x70;
    f->opcode = b[0] & 15;
    f->length = more ? 0 : (size_t)size;
    for (int i = 0; i < more; i++) f->length = f->length << 8 | b[2 + i];
    if (f->masked) memcpy(f->mask, b + 2 + more, 4);
    return true;
}

/* Write the head of a final frame, with a mask unless that is NULL; return its length. */
static size_t write_frame(char *to, int opcode, size_t length, const unsigned char *mask) {
    unsigned char *b = (unsigned char *)to;
    int more = length < 126 ? 0 : length < 65536 ? 2 : 8;
    b[0] = (unsigned char)(0x80 | opcode);
    b[1] = (unsigned char)((mask ? 0x80 : 0) | (more == 0 ? (int)length : more == 2 ? 126 : 127));
    for (int i = 0; i < more; i++) b[2 + i] = (unsigned char)(length >> 8 * (more - 1 - i));
    if (mask) memcpy(b + 2 + more, mask, 4);
    return 2 + (size_t)more + (mask ? 4 : 0);
}

/* Mask or unmask; `from` is the place of the first byte in the payload. */
static void apply_mask(char *bytes, size_t length, const unsigned char mask[4], size_t from) {
    unsigned char turned[8];
    uint64_t wide, word;
    for (size_t i = 0; i < 8; i++) turned[i] = mask[(from + i) & 3];
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, bytes + i, 8);
        word ^= wide;
        memcpy(bytes + i, &word, 8);
    }
    for (; i < length; i++) bytes[i] = (char)((unsigned char)bytes[i] ^ turned[i & 7]);
}

#endif
