/* Lays out the tables of a tokenizer as one block: what becomes of every code point, and the vocabulary as a trie.
 *
 * Code points stand in blocks of 64, of which most are alike and stored once; so are the actions, since a letter's is
 * the distance to its lower case and not the letter. A token that no word can be is left out of the trie: one of
 * several characters with punctuation or a space among them. */
#include "runtime/text/internal.h"
#include "runtime/text/trie.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, BLOCKS = UNICODE_CODES / BLOCK, ACTION_SLOTS = 1 << 16 };

typedef struct {
    uint16_t blocks[BLOCKS];
    uint16_t (*kinds)[BLOCK];
    uint32_t kind_count, kind_room;
    uint32_t *actions, action_count, *units, unit_count, unit_room;
    int32_t slots[ACTION_SLOTS];       /* of actions, by hash */
    int32_t block_slots[ACTION_SLOTS]; /* of blocks */
    uint8_t bytes[256], letters[128];
    bool is_short; /* of memory, or of numbers */
} Tables;

/* --- actions --- */

static uint16_t tables_action(Tables *tables, uint32_t action) {
    for (uint32_t at = action * 2654435761u >> 16;; at++) {
        int32_t *slot = &tables->slots[at % ACTION_SLOTS];
        if (*slot >= 0 && tables->actions[*slot] == action) return (uint16_t)*slot;
        if (*slot >= 0) continue;
        if (tables->action_count == UINT16_MAX) return tables->is_short = true, 0;
        tables->actions[tables->action_count] = action;
        *slot = (int32_t)tables->action_count++;
        return (uint16_t)*slot;
    }
}

static uint32_t tables_list(Tables *tables, const UnicodeMeaning *meaning) {
    uint32_t at = tables->unit_count, most = 0;
    if (at + meaning->count + 1 > tables->unit_room) {
        uint32_t room = 2 * (at + UNICODE_MOST_UNITS + 1);
        uint32_t *units = realloc(tables->units, room * sizeof *units);
        if (!units) return tables->is_short = true, 0;
        tables->units = units;
        tables->unit_room = room;
    }
    tables->units[tables->unit_count++] = meaning->count;
    for (uint32_t i = 0; i < meaning->count; i++) {
        uint32_t combining = meaning->unit[i] >> 21 & 255;
        if (combining > most) most = combining;
        tables->units[tables->unit_count++] = meaning->unit[i];
    }
    return unicode_unit(CLASS_many, most, at);
}

static uint32_t tables_meaning(Tables *tables, const UnicodeMeaning *meaning, uint32_t code) {
    if (meaning->class != CLASS_many) return unicode_unit(meaning->class, meaning->combining, 0);
    if (meaning->count > 1) return tables_list(tables, meaning);
    uint32_t unit = meaning->unit[0];
    return unicode_unit(unit >> 29, unit >> 21 & 255, unit - code);
}

static uint16_t tables_block(Tables *tables, const uint16_t block[BLOCK]) {
    uint32_t hash = 2166136261u;
    for (int i = 0; i < BLOCK; i++) hash = (hash ^ block[i]) * 16777619u;
    for (;; hash++) {
        int32_t *slot = &tables->block_slots[hash % ACTION_SLOTS];
        if (*slot >= 0 && !memcmp(tables->kinds[*slot], block, sizeof *tables->kinds)) return (uint16_t)*slot;
        if (*slot >= 0) continue;
        if (tables->kind_count == tables->kind_room) {
            uint32_t room = tables->kind_room ? 2 * tables->kind_room : 512;
            void *kinds = realloc(tables->kinds, room * sizeof *tables->kinds);
            if (!kinds) return tables->is_short = true, (uint16_t)0;
            tables->kinds = kinds;
            tables->kind_room = room;
        }
        memcpy(tables->kinds[tables->kind_count], block, sizeof *tables->kinds);
        *slot = (int32_t)tables->kind_count++;
        return (uint16_t)*slot;
    }
}

static uint16_t tables_code(Tables *tables, const TextRules *rules, const UnicodeTable *unicode, uint32_t code) {
    UnicodeMeaning meaning = unicode_meaning(unicode, rules, code);
    return tables_action(tables, tables_meaning(tables, &meaning, code));
}

static void tables_fill_codes(Tables *tables, const TextRules *rules, const UnicodeTable *unicode) {
    memset(tables->slots, -1, sizeof tables->slots);
    memset(tables->block_slots, -1, sizeof tables->block_slots);
    for (uint32_t b = 0; b < BLOCKS && !tables->is_short; b++) {
        uint16_t block[BLOCK] = {tables_code(tables, rules, unicode, b * BLOCK)};
        bool is_uniform = unicode_is_uniform(b * BLOCK);
        for (uint32_t i = 1; i < BLOCK; i++)
            block[i] = is_uniform ? block[0] : tables_code(tables, rules, unicode, b * BLOCK + i);
        tables->blocks[b] = tables_block(tables, block);
    }
}

/* ASCII becomes ASCII, one character each. */
static void tables_fill_bytes(Tables *tables, const SelfcTokenizer *tokenizer, const UnicodeTable *unicode) {
    memset(tables->bytes, CLASS_other, sizeof tables->bytes);
    for (uint32_t code = 0; code < 128; code++) {
        UnicodeMeaning meaning = unicode_meaning(unicode, &tokenizer->rules, code);
        tables->bytes[code] = (uint8_t)(meaning.class == CLASS_many ? meaning.unit[0] >> 29 : meaning.class);
        tables->letters[code] = (uint8_t)(meaning.unit[0] & 127);
    }
    if (tables->bytes[0] == CLASS_word) tables->bytes[0] = CLASS_other; /* it is in no token, and takes the long way */
    for (uint32_t i = 0; i < tokenizer->added_count; i++)
        tables->bytes[(uint8_t)tokenizer->vocabulary.token[tokenizer->added[i].id][0]] |= TOKENIZE_ADDED;
}

/* --- the vocabulary --- */

/* Whether a word, or what continues one, can read so. */
static bool tables_can_be_word(const Tables *tables, const char *text, size_t length) {
    size_t characters = 0, apart = 0;
    if (!length || length > TOKENIZE_MOST_BYTES) return false;
    for (size_t i = 0; i < length;) {
        uint32_t first = (uint8_t)text[i], code = first;
        size_t follow = first < 0x80 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        if (follow) code = first & (0x3Fu >> follow);
        if (follow >= length - i) return false; /* no valid UTF-8 */
        for (size_t f = 1; f <= follow; f++) code = code << 6 | ((uint8_t)text[i + f] & 63);
        if (code >= UNICODE_CODES) return false;
        uint32_t action = tables->actions[tables->kinds[tables->blocks[code / BLOCK]][code % BLOCK]];
        apart += action >> 29 == CLASS_alone || action >> 29 == CLASS_space;
        characters++;
        i += follow + 1;
    }
    return characters == 1 || !apart;
}

static SelfcCell *tables_trie(const Tables *tables, const SelfcTokenizer *tokenizer, size_t *cells) {
    const Vocabulary *vocabulary = &tokenizer->vocabulary;
    size_t prefix = strlen(tokenizer->prefix), count = 0;
    TrieKey *keys = malloc((2 * (size_t)vocabulary->size + 1) * sizeof *keys);
    for (int32_t id = 0; keys && id < vocabulary->size; id++) {
        const char *token = vocabulary->token[id];
        size_t length = token ? strlen(token) : 0;
        if (!token || vocabulary_find(vocabulary, token, length) != id) continue;
        if (tables_can_be_word(tables, token, length)) keys[count++] = (TrieKey){token, (uint32_t)length, 0, id};
        if (strncmp(token, tokenizer->prefix, prefix)) continue;
        if (tables_can_be_word(tables, token + prefix, length - prefix))
            keys[count++] = (TrieKey){token + prefix, (uint32_t)(length - prefix), 1, id};
    }
    SelfcCell *trie = keys ? trie_build(keys, count, cells) : NULL;
    free(keys);
    return trie;
}

/* --- the block --- */

static uint32_t tables_part_size(size_t *total, size_t bytes) {
    size_t at = (*total + 7) / 8 * 8;
    *total = at + bytes;
    return (uint32_t)at;
}

static size_t tables_added_bytes(const SelfcTokenizer *tokenizer) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < tokenizer->added_count; i++)
        bytes += 12 + (strlen(tokenizer->vocabulary.token[tokenizer->added[i].id]) + 3) / 4 * 4;
    return bytes;
}

/* The longest first. */
static void tables_write_added(const SelfcTokenizer *tokenizer, uint32_t *out) {
    for (size_t longest = SIZE_MAX;;) {
        size_t next = 0;
        for (uint32_t i = 0; i < tokenizer->added_count; i++) {
            const AddedToken *added = &tokenizer->added[i];
            size_t length = strlen(tokenizer->vocabulary.token[added->id]);
            if (length < longest && length > next) next = length;
            if (length != longest) continue;
            *out++ = (uint32_t)added->id;
            *out++ = added->is_special;
            *out++ = (uint32_t)length;
            memcpy(out, tokenizer->vocabulary.token[added->id], length);
            out += (length + 3) / 4;
        }
        if (!next) return;
        longest = next;
    }
}

static bool tables_write(const Tables *tables, SelfcTokenizer *tokenizer, const SelfcCell *trie, size_t cells) {
    size_t total = sizeof(SelfcTables);
    const char *unknown = tokenizer->unknown_token;
    SelfcTables head = {.magic = TOKENIZE_MAGIC,
                        .version = TOKENIZE_VERSION,
                        .bytes_at = tables_part_size(&total, sizeof tables->bytes),
                        .letters_at = 0};
    head.letters_at = tables_part_size(&total, sizeof tables->letters);
    head.blocks_at = tables_part_size(&total, sizeof tables->blocks);
    head.kinds_at = tables_part_size(&total, tables->kind_count * sizeof *tables->kinds);
    head.actions_at = tables_part_size(&total, tables->action_count * sizeof *tables->actions);
    head.units_at = tables_part_size(&total, tables->unit_count * sizeof *tables->units);
    head.trie_at = tables_part_size(&total, cells * sizeof *trie);
    head.added_at = tables_part_size(&total, tables_added_bytes(tokenizer));
    head.size = total = (total + 7) / 8 * 8;
    head.added_count = tokenizer->added_count;
    head.most_characters = (uint32_t)tokenizer->most_characters;
    head.unknown = unknown ? vocabulary_find(&tokenizer->vocabulary, unknown, strlen(unknown)) : -1;
    head.vocabulary = tokenizer->vocabulary.size;
    head.is_characters = tokenizer->rules.is_characters;
    uint8_t *block = total <= UINT32_MAX ? calloc(1, total) : NULL;
    if (!block) return false;
    memcpy(block, &head, sizeof head);
    memcpy(block + head.bytes_at, tables->bytes, sizeof tables->bytes);
    memcpy(block + head.letters_at, tables->letters, sizeof tables->letters);
    memcpy(block + head.blocks_at, tables->blocks, sizeof tables->blocks);
    memcpy(block + head.kinds_at, tables->kinds, tables->kind_count * sizeof *tables->kinds);
    memcpy(block + head.actions_at, tables->actions, tables->action_count * sizeof *tables->actions);
    if (tables->unit_count) memcpy(block + head.units_at, tables->units, tables->unit_count * sizeof *tables->units);
    memcpy(block + head.trie_at, trie, cells * sizeof *trie);
    tables_write_added(tokenizer, (uint32_t *)(void *)(block + head.added_at));
    free(tokenizer->tables);
    tokenizer->tables = (SelfcTables *)(void *)block;
    tokenizer->tables_size = total;
    return true;
}

bool tables_build(SelfcTokenizer *tokenizer) {
    Tables *tables = calloc(1, sizeof *tables);
    UnicodeTable *unicode = unicode_table_new();
    if (tables) tables->actions = malloc(UINT16_MAX * sizeof *tables->actions);
    bool good = tables && unicode && tables->actions;
    if (good) {
        tables_fill_codes(tables, &tokenizer->rules, unicode);
        tables_fill_bytes(tables, tokenizer, unicode);
        size_t cells = 0;
        SelfcCell *trie = tables->is_short ? NULL : tables_trie(tables, tokenizer, &cells);
        good = trie && tables_write(tables, tokenizer, trie, cells);
        free(trie);
    }
    free(unicode);
    if (tables) {
        free(tables->actions);
        free(tables->units);
        free(tables->kinds);
    }
    free(tables);
    return good;
}
