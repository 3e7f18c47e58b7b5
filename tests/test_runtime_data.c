/* Files that the runtime reads and writes: what is written reads back, NumPy's and MNIST's formats are read as they
 * are, and files that are cut off, damaged or made to hurt get a message that names the file. Most hostile cases are
 * small texts in a table; truncation is tried at every byte. Under the sanitizers a wrong access is a failure. */
#include "runtime/data/data.h"
#include "runtime/data/file.h"
#include "tests/expect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <signal.h>
#include <dirent.h>
#include <zlib.h>

static char folder[] = "/tmp/selfc-data-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[4][512];
    static int next;
    char *chosen = path[next++ % 4];
    snprintf(chosen, sizeof path[0], "%s/%s", folder, name);
    return chosen;
}

static void put(const char *name, const void *bytes, size_t size) {
    FILE *out = fopen(in_folder(name), "wb");
    if (!out || fwrite(bytes, 1, size, out) != size || fclose(out)) abort();
}

static void put_gzip(const char *name, const void *bytes, unsigned size) {
    gzFile out = gzopen(in_folder(name), "wb");
    if (!out || gzwrite(out, bytes, size) != (int)size || gzclose(out)) abort();
}

/* Names in the folder that hold `part`. */
static int count_files(const char *part) {
    int count = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; (entry = readdir(directory));) count += strstr(entry->d_name, part) != NULL;
    closedir(directory);
    return count;
}

/* --- files --- */

static void test_file(void) {
    void *bytes;
    size_t size;
    EXPECT(!selfc_file_replace(in_folder("file"), "first", 5), "%s", selfc_failure());
    EXPECT(!selfc_file_replace(in_folder("file"), "second!", 7), "%s", selfc_failure());
    EXPECT(!selfc_file_read(in_folder("file"), &bytes, &size) && size == 7 && !memcmp(bytes, "second!", 7), "%s",
           selfc_failure());
    free(bytes);
    put("empty", "", 0);
    EXPECT(!selfc_file_read(in_folder("empty"), &bytes, &size) && size == 0, "%s", selfc_failure());
    free(bytes);
    EXPECT(selfc_file_read(in_folder("missing"), &bytes, &size) == -1 &&
               strstr(selfc_failure(), "missing: No such file"),
           "%s", selfc_failure());
    EXPECT(selfc_file_read(folder, &bytes, &size) == -1, "a folder reads as a file");
    EXPECT(selfc_file_replace(in_folder("no/such/file"), "x", 1) == -1, "a file in a folder that is not there");
    EXPECT(!selfc_file_replace("/dev/null", "x", 1) && !file_is_folder("/dev/null"), "%s", selfc_failure());
    struct stat status;
    EXPECT(!stat("/dev/null", &status) && S_ISCHR(status.st_mode), "/dev/null was replaced");
    EXPECT(!selfc_make_folders(in_folder("a/b/c")) && !selfc_make_folders(in_folder("a/b/c")) &&
               file_is_folder(in_folder("a/b/c")),
           "%s", selfc_failure());
    EXPECT(selfc_make_folders(in_folder("file/x")) == -1 && selfc_make_folders(in_folder("file")) == -1,
           "a folder over a file");
}

/* A disk that is full, as a limit on the size of files. */
static void test_file_full(void) {
    struct rlimit kept, limit = {.rlim_cur = 4096};
    static _Alignas(16) char large[100000];
    getrlimit(RLIMIT_FSIZE, &kept);
    limit.rlim_max = kept.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    EXPECT(!selfc_file_replace(in_folder("kept"), "old", 3), "%s", selfc_failure());
    setrlimit(RLIMIT_FSIZE, &limit);
    int failed = selfc_file_replace(in_folder("kept"), large, sizeof large);
    SelfcTensor tensor = {.dtype = SELFC_u8, .rank = 1, .dim = {sizeof large}};
    int npy_failed = selfc_npy_write(in_folder("full.npy"), &tensor, large, 0);
    for (uint32_t i = 0; i < sizeof large / 16; i++)
        selfc_philox((uint32_t[4]){i}, (uint32_t[2]){0}, (uint32_t *)large + 4 * i);
    int png_failed = selfc_png_write(in_folder("full.png"), (uint8_t *)large, 300, 300, 1);
    setrlimit(RLIMIT_FSIZE, &kept);
    void *bytes;
    size_t size;
    EXPECT(failed && npy_failed && png_failed && strstr(selfc_failure(), "full.png: File too large"), "%s",
           selfc_failure());
    EXPECT(!selfc_file_read(in_folder("kept"), &bytes, &size) && size == 3 && !memcmp(bytes, "old", 3),
           "the old file is gone");
    free(bytes);
    EXPECT(count_files(".tmp-") == 0 && count_files("full.") == 0, "%d temporary files are left", count_files(".tmp-"));
}

/* --- npy --- */

static void npy_bytes(const char *header, const void *data, size_t size) {
    char bytes[1024] = "\x93NUMPY\x01\x00";
    size_t length = strlen(header);
    bytes[8] = (char)length, bytes[9] = (char)(length >> 8);
    memcpy(bytes + 10, header, length);
    memcpy(bytes + 10 + length, data, size);
    put("x.npy", bytes, 10 + length + size);
}

static void test_npy_round_trip(void) {
    static const float data[6] = {1, -2, 3.5f, 0, INFINITY, 6};
    for (int dtype = SELFC_f32; dtype <= SELFC_bool; dtype++) {
        SelfcTensor tensor = {.dtype = dtype, .rank = 2, .dim = {-1, 3}};
        uint8_t raw[48] = {0};
        memcpy(raw, data, sizeof data);
        for (int i = 0; dtype == SELFC_bool && i < 6; i++) raw[i] = (uint8_t)(i % 2);
        EXPECT(!selfc_npy_write(in_folder("x.npy"), &tensor, raw, 2), "%s", selfc_failure());
        SelfcArray array;
        EXPECT(!selfc_npy_read(in_folder("x.npy"), &array), "%s", selfc_failure());
        EXPECT(array.tensor.rank == 2 && array.tensor.dim[0] == 2 && array.tensor.dim[1] == 3, "%s",
               selfc_dtype_name(dtype));
        int read_as = dtype == SELFC_bf16 ? SELFC_f32 : dtype;
        EXPECT(array.tensor.dtype == read_as, "%s reads as %s", selfc_dtype_name(dtype),
               selfc_dtype_name(array.tensor.dtype));
        if (dtype != SELFC_bf16)
            EXPECT(!memcmp(array.data, raw, 6 * selfc_dtype_bytes(dtype)), "%s: other bytes", selfc_dtype_name(dtype));
        free(array.data);
    }
}

static void test_npy_variants(void) {
    SelfcArray array;
    npy_bytes("{\"shape\": (2,), 'fortran_order' : False, 'descr':'>i4'}", "\0\0\1\2\377\377\377\376", 8);
    EXPECT(!selfc_npy_read(in_folder("x.npy"), &array) && ((int32_t *)array.data)[0] == 258 &&
               ((int32_t *)array.data)[1] == -2,
           "big-endian");
    free(array.data);
    static const double doubles[2] = {0.1, 1e300};
    npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }  \n", doubles, sizeof doubles);
    EXPECT(!selfc_npy_read(in_folder("x.npy"), &array) && ((float *)array.data)[0] == 0.1f &&
               isinf(((float *)array.data)[1]),
           "f8");
    free(array.data);
    npy_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': ()}", "\7", 1);
    EXPECT(!selfc_npy_read(in_folder("x.npy"), &array) && array.tensor.rank == 0 && *(uint8_t *)array.data == 7,
           "a scalar");
    free(array.data);
    npy_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 5)}", "", 0);
    EXPECT(!selfc_npy_read(in_folder("x.npy"), &array) && array.tensor.dim[0] == 0, "no elements");
    free(array.data);
}

static void test_npy_hostile(void) {
    static const struct {
        const char *header, *message;
    } bad[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "takes 12 bytes, the file has 8"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "takes 4 bytes"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "ascontiguousarray"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "'|O'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "plain type"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "'<c8'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }",
         "larger than memory"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 9), }", "larger than memory"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999), }", "no number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,2), }", "more than 6 axes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "no number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2", "tuple"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}", "neither"},
        {"{'descr': '<f4', 'shape': (2,)}", "lacks"},
        {"{'descr': '<f4', 'evil': __import__('os'), 'shape': (2,)}", "a key"},
        {"{'descr': '<f4', 'fortran_order': False 'shape': (2,)}", "no dictionary"},
        {"{'descr': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}", "plain type"},
        {"{'descr", "no dictionary"},
        {"", "no dictionary"},
        {"{", "no dictionary"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        SelfcArray array;
        npy_bytes(bad[i].header, "12345678", 8);
        int failed = selfc_npy_read(in_folder("x.npy"), &array);
        EXPECT(failed && strstr(selfc_failure(), bad[i].message) && strstr(selfc_failure(), "x.npy"), "%s: %s",
               bad[i].header, failed ? selfc_failure() : "was read");
        if (!failed) free(array.data);
    }
}

static void test_npy_truncated(void) {
    static const float data[8] = {1};
    SelfcTensor tensor = {.dtype = SELFC_f32, .rank = 1, .dim = {8}};
    void *bytes;
    size_t size;
    SelfcArray array;
    selfc_npy_write(in_folder("x.npy"), &tensor, data, 0);
    selfc_file_read(in_folder("x.npy"), &bytes, &size);
    for (size_t length = 0; length < size; length++) {
        put("x.npy", bytes, length);
        EXPECT(selfc_npy_read(in_folder("x.npy"), &array) == -1, "cut to %zu bytes, it reads", length);
    }
    for (size_t i = 0; i < size; i++) { /* any result is fine, a crash is not */
        ((uint8_t *)bytes)[i] ^= 0x55;
        put("x.npy", bytes, size);
        if (!selfc_npy_read(in_folder("x.npy"), &array)) free(array.data);
        ((uint8_t *)bytes)[i] ^= 0x55;
    }
    free(bytes);
}

/* --- safetensors --- */

static int parse_header(const char *header, const char *data, size_t size, SelfcTensors *tensors) {
    char bytes[4096];
    uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++) bytes[i] = (char)(length >> 8 * i);
    memcpy(bytes + 8, header, length);
    memcpy(bytes + 8 + length, data, size);
    return selfc_safetensors_parse(bytes, 8 + length + size, "hostile", tensors);
}

static void test_safetensors_round_trip(void) {
    static const float a[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t b[3] = {7, 8, 9};
    SelfcTensor a_tensor = {.dtype = SELFC_f32, .rank = 2, .dim = {2, 3}},
                b_tensor = {.dtype = SELFC_u8, .rank = 1, .dim = {3}}, c_tensor = {.dtype = SELFC_i64};
    int64_t c = -5;
    SelfcWrite entries[] = {{"layer.\"a\"\\\n\xC3\xA9", &a_tensor, a}, {"b", &b_tensor, b}, {"c", &c_tensor, &c}};
    static const char *metadata[] = {"step", "12", "note", "\"quoted\"\t\xE2\x82\xAC", NULL};
    EXPECT(!selfc_safetensors_write(in_folder("x.safetensors"), entries, 3, metadata), "%s", selfc_failure());
    SelfcTensors tensors;
    EXPECT(!selfc_safetensors_read(in_folder("x.safetensors"), &tensors) && tensors.count == 3, "%s", selfc_failure());
    for (int i = 0; i < 3; i++) {
        const SelfcEntry *entry = selfc_safetensors_find(&tensors, entries[i].name);
        EXPECT(entry && entry->tensor.dtype == entries[i].tensor->dtype &&
                   entry->tensor.rank == entries[i].tensor->rank &&
                   !memcmp(entry->data, entries[i].data, selfc_tensor_bytes(entries[i].tensor, 0)),
               "%s", entries[i].name);
    }
    char *step = selfc_safetensors_metadata(&tensors, "step"), *note = selfc_safetensors_metadata(&tensors, "note"),
         *none = selfc_safetensors_metadata(&tensors, "none");
    EXPECT(step && !strcmp(step, "12") && note && !strcmp(note, metadata[3]) && !none, "metadata %s",
           tensors.metadata_json);
    free(step);
    free(note);
    selfc_safetensors_free(&tensors);
}

static void test_safetensors_valid(void) {
    static const char *const good[] = {
        "{}",
        " {\"a\" : {\"shape\":[],\"dtype\":\"U8\",\"data_offsets\":[0,0]}}",
        "{\"\\u0061\\ud83d\\ude00\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[0,0]}}   ",
        "{\"__metadata__\":{}}",
        "{\"__metadata__\":{\"a\":\"b\",\"c\":\"\"}}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        SelfcTensors tensors;
        bool is_scalar = i == 1; /* one element of one byte, which is not there */
        int failed = parse_header(good[i], "", 0, &tensors);
        EXPECT(failed == (is_scalar ? -1 : 0), "%s: %s", good[i], failed ? selfc_failure() : "was read");
        if (!failed) selfc_safetensors_free(&tensors);
    }
}

#define ENTRY(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
static void test_safetensors_hostile(void) {
    static const struct {
        const char *header, *message;
    } bad[] = {
        {"{" ENTRY("a", "U8", "[4]", "[0,4]") "}", "4 bytes at the end belong to no tensor"},
        {"{" ENTRY("a", "U8", "[4]", "[4,8]") "}", "leaves a gap"},
        {"{" ENTRY("a", "U8", "[8]", "[0,8]") "," ENTRY("b", "U8", "[4]", "[4,8]") "}", "belongs to another tensor"},
        {"{" ENTRY("a", "U8", "[8]", "[0,8]") "," ENTRY("b", "U8", "[8]", "[0,8]") "}", "belongs to another tensor"},
        {"{" ENTRY("a", "U8", "[4]", "[0,4]") "," ENTRY("a", "U8", "[4]", "[4,8]") "}", "two tensors are called \"a\""},
        {"{" ENTRY("a", "U8", "[9]", "[0,9]") "}", "there are 8 bytes"},
        {"{" ENTRY("a", "U8", "[8]", "[8,0]") "}", "there are 8 bytes"},
        {"{" ENTRY("a", "U8", "[8]", "[0,18446744073709551615]") "}", "there are 8 bytes"},
        {"{" ENTRY("a", "U8", "[8]", "[0,18446744073709551616]") "}", "whole numbers"},
        {"{" ENTRY("a", "F32", "[3]", "[0,8]") "}", "f32[3], but has 8 bytes"},
        {"{" ENTRY("a", "F32", "[4611686018427387904,4]", "[0,8]") "}", "but has 8 bytes"},
        {"{" ENTRY("a", "F32", "[9223372036854775808]", "[0,8]") "}", "whole number"},
        {"{" ENTRY("a", "F32", "[0,9223372036854775807,9]", "[0,0]") "}", "but has 0 bytes"},
        {"{" ENTRY("a", "F32", "[-2]", "[0,8]") "}", "whole number"},
        {"{" ENTRY("a", "F32", "[2.0]", "[0,8]") "}", "comma"},
        {"{" ENTRY("a", "F32", "[02]", "[0,8]") "}", "whole number"},
        {"{" ENTRY("a", "F32", "[1,1,1,1,1,1,2]", "[0,8]") "}", "more than 6 axes"},
        {"{" ENTRY("a", "F64", "[1]", "[0,8]") "}", "\"F64\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "lacks"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", "only the keys"},
        {"{\"a\":[]}", "must be an object"},
        {"{\"a\"}", "a name and a colon"},
        {"{a:1}", "a name and a colon"},
        {"[]", "must be an object"},
        {"", "must be an object"},
        {"{\"__metadata__\":{\"a\":1}}", "strings to strings"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", "twice"},
        {"{" ENTRY("a", "U8", "[8]", "[0,8]") "} x", "behind the header"},
        {"{" ENTRY("a", "U8", "[8]", "[0,8]") ",}", "a name and a colon"},
        {"{" ENTRY("a\\u0000", "U8", "[8]", "[0,8]") "}", "a name and a colon"},
        {"{" ENTRY("\\ud800", "U8", "[8]", "[0,8]") "}", "a name and a colon"},
        {"{" ENTRY("\xC0\x80", "U8", "[8]", "[0,8]") "}", "a name and a colon"},
        {"{" ENTRY("\xED\xA0\x80", "U8", "[8]", "[0,8]") "}", "a name and a colon"},
        {"{" ENTRY("\xF4\x90\x80\x80", "U8", "[8]", "[0,8]") "}", "a name and a colon"},
        {"{\"a", "a name and a colon"},
        {"{\"a\\", "a name and a colon"},
        {"{\"a\\u12", "a name and a colon"},
        {"{\"\xE2", "a name and a colon"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        SelfcTensors tensors;
        int failed = parse_header(bad[i].header, "12345678", 8, &tensors);
        EXPECT(failed && strstr(selfc_failure(), bad[i].message) && strstr(selfc_failure(), "hostile"), "%s: %s",
               bad[i].header, failed ? selfc_failure() : "was read");
        if (!failed) selfc_safetensors_free(&tensors);
    }
    SelfcTensors tensors;
    EXPECT(selfc_safetensors_parse("\377\377\377\377\377\377\377\377", 8, "hostile", &tensors) == -1,
           "a header of 2^64 bytes");
    EXPECT(selfc_safetensors_parse("", 0, "hostile", &tensors) == -1, "no bytes");
}

static void test_safetensors_truncated(void) {
    SelfcTensors tensors;
    void *bytes;
    size_t size;
    EXPECT(!selfc_file_read(in_folder("x.safetensors"), &bytes, &size), "%s", selfc_failure());
    for (size_t length = 0; length < size; length++)
        EXPECT(selfc_safetensors_parse(bytes, length, "cut", &tensors) == -1, "cut to %zu bytes, it reads", length);
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) { /* any result is fine, a crash is not */
            ((uint8_t *)bytes)[i] ^= (uint8_t)(1 << bit);
            if (!selfc_safetensors_parse(bytes, size, "damaged", &tensors)) selfc_safetensors_free(&tensors);
            ((uint8_t *)bytes)[i] ^= (uint8_t)(1 << bit);
        }
    }
    free(bytes);
}

/* --- sources --- */

static SelfcSource *open_source(const char *source, const char *path, SelfcSplit split) {
    return selfc_source_open(&(SelfcSourceOptions){.source = source, .path = path, .split = split});
}

static const char *open_failure(const char *source, const char *path) {
    SelfcSource *opened = open_source(source, path, SELFC_TRAIN);
    bool is_fine = opened && !selfc_source_load(opened);
    selfc_source_close(opened);
    return is_fine ? "was read" : selfc_failure();
}

static const uint8_t idx_images[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2,  0,  0,
                                     0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const uint8_t idx_labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9};

static void test_idx_folder(bool is_packed) {
    mkdir(in_folder("mnist"), 0777);
    const char *const ending = is_packed ? ".gz" : "";
    static const char *const kinds[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                                        "t10k-labels-idx1-ubyte"};
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "mnist/%s%s", kinds[i], ending);
        const void *bytes = i % 2 ? (const void *)idx_labels : idx_images;
        unsigned size = i % 2 ? sizeof idx_labels : sizeof idx_images;
        if (is_packed)
            put_gzip(name, bytes, size);
        else
            put(name, bytes, size);
    }
    for (int split = SELFC_TRAIN; split <= SELFC_TEST; split++) {
        SelfcSource *source = open_source(split ? "idx" : NULL, in_folder("mnist"), (SelfcSplit)split);
        const SelfcField *fields;
        EXPECT(source && selfc_source_count(source) == 3 && selfc_source_fields(source, &fields) == 2, "%s",
               selfc_failure());
        if (!source) return;
        EXPECT(!strcmp(fields[0].name, "image") && fields[0].sample.dtype == SELFC_u8 && fields[0].sample.rank == 2 &&
                   fields[0].sample.dim[1] == 2,
               "images");
        EXPECT(!strcmp(fields[1].name, "label") && fields[1].sample.dtype == SELFC_i32 && fields[1].sample.rank == 0,
               "labels");
        static const int32_t index[] = {2, 0, 2, -1, 3};
        uint8_t pixels[20], expected[20] = {9, 10, 11, 12, 1, 2, 3, 4, 9, 10, 11, 12};
        int32_t labels[5], expected_labels[5] = {9, 7, 9, 0, 0};
        EXPECT(!selfc_source_load(source), "%s", selfc_failure());
        selfc_source_gather(source, 0, index, 5, pixels);
        selfc_source_gather(source, 1, index, 5, labels);
        EXPECT(!memcmp(pixels, expected, sizeof pixels) && !memcmp(labels, expected_labels, sizeof labels), "gathered");
        selfc_source_close(source);
    }
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "mnist/%s%s", kinds[i], ending);
        unlink(in_folder(name));
    }
}

static void test_idx_types(void) {
    static const uint8_t shorts[] = {0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 1, 0, 255, 255, 128, 0};
    static const uint8_t doubles[] = {0, 0, 0x0E, 1, 0, 0, 0, 1, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0};
    static const int32_t expected[] = {1, 256, -1, -32768};
    int32_t numbers[4], index[] = {0, 1};
    float value;
    put("numbers.idx", shorts, sizeof shorts);
    SelfcSource *source = open_source(NULL, in_folder("numbers.idx"), SELFC_TRAIN);
    EXPECT(source && !selfc_source_load(source), "%s", selfc_failure());
    selfc_source_gather(source, 0, index, 2, numbers);
    EXPECT(!memcmp(numbers, expected, sizeof numbers), "%d %d %d %d", numbers[0], numbers[1], numbers[2], numbers[3]);
    selfc_source_close(source);
    put("numbers.idx", doubles, sizeof doubles);
    source = open_source(NULL, in_folder("numbers.idx"), SELFC_TRAIN);
    EXPECT(source && !selfc_source_load(source), "%s", selfc_failure());
    selfc_source_gather(source, 0, index, 1, &value);
    EXPECT(value == 1.5f, "%g", (double)value);
    selfc_source_close(source);
}

static void test_idx_hostile(void) {
    for (size_t length = 0; length < sizeof idx_images; length++) {
        put("cut.idx", idx_images, length);
        EXPECT(strstr(open_failure("idx", in_folder("cut.idx")), "cut.idx"), "cut to %zu bytes: %s", length,
               open_failure("idx", in_folder("cut.idx")));
    }
    uint8_t bytes[sizeof idx_images + 1] = {0};
    memcpy(bytes, idx_images, sizeof idx_images);
    put("long.idx", bytes, sizeof bytes);
    EXPECT(strstr(open_failure("idx", in_folder("long.idx")), "goes on behind"), "%s",
           open_failure("idx", in_folder("long.idx")));
    memset(bytes + 4, 0xFF, 12);
    put("huge.idx", bytes, sizeof bytes);
    EXPECT(strstr(open_failure("idx", in_folder("huge.idx")), "more than fits"), "%s",
           open_failure("idx", in_folder("huge.idx")));
    memset(bytes + 4, 0, 12);
    put("none.idx", bytes, sizeof bytes);
    EXPECT(strstr(open_failure("idx", in_folder("none.idx")), "no elements"), "%s",
           open_failure("idx", in_folder("none.idx")));
    for (size_t i = 0; i < 4; i++)
        for (int value = 0; value < 256; value += 5) {
            memcpy(bytes, idx_images, sizeof idx_images);
            bytes[i] = (uint8_t)value;
            put("bad.idx", bytes, sizeof idx_images);
            open_failure("idx", in_folder("bad.idx"));
        }
}

static void test_idx_gzip_damage(void) {
    static uint8_t images[16 + 784 * 4] = {0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 28, 0, 0, 0, 28};
    for (size_t i = 16; i < sizeof images; i++) images[i] = (uint8_t)(i * i >> 4);
    void *bytes;
    size_t size;
    put_gzip("train-images-idx3-ubyte.gz", images, sizeof images);
    selfc_file_read(in_folder("train-images-idx3-ubyte.gz"), &bytes, &size);
    EXPECT(!strcmp(open_failure("idx", in_folder("train-images-idx3-ubyte.gz")), "was read"), "%s", selfc_failure());
    for (size_t length = 0; length < size; length += length < 40 ? 1 : 7) {
        put("cut.gz", bytes, length);
        EXPECT(strstr(open_failure("idx", in_folder("cut.gz")), "cut.gz"), "cut to %zu of %zu bytes: %s", length, size,
               open_failure("idx", in_folder("cut.gz")));
    }
    for (size_t i = 10; i < size; i += 11) { /* the checksum finds what inflating does not */
        ((uint8_t *)bytes)[i] ^= 0x20;
        put("bad.gz", bytes, size);
        const char *message = open_failure("idx", in_folder("bad.gz"));
        EXPECT(i + 8 < size ? strcmp(message, "was read") != 0 : true, "byte %zu of %zu changed: %s", i, size, message);
        ((uint8_t *)bytes)[i] ^= 0x20;
    }
    free(bytes);
    unlink(in_folder("train-images-idx3-ubyte.gz"));
}

static void test_source_messages(void) {
    uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 8};
    put("train-images-idx3-ubyte", idx_images, sizeof idx_images);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    EXPECT(strstr(open_failure("idx", in_folder("train-images-idx3-ubyte")), "2 labels for 3 images"), "%s",
           selfc_failure());
    unlink(in_folder("train-labels-idx1-ubyte"));
    SelfcSource *source = open_source(NULL, in_folder("train-images-idx3-ubyte"), SELFC_TEST);
    EXPECT(source && selfc_source_count(source) == 0 && !selfc_source_load(source), "no test data is no mistake: %s",
           selfc_failure());
    selfc_source_close(source);
    source = open_source(NULL, in_folder("train-images-idx3-ubyte"), SELFC_TRAIN);
    EXPECT(source && selfc_source_field(source, "label") == -1 && strstr(selfc_failure(), "labels was found"), "%s",
           selfc_failure());
    unlink(in_folder("train-images-idx3-ubyte"));
    EXPECT(selfc_source_load(source) == -1 && strstr(selfc_failure(), "No such file"), "vanished: %s", selfc_failure());
    selfc_source_close(source);
    EXPECT(strstr(open_failure("glyph", NULL), "there are glyphs, idx, npy, pictures and text"), "%s", selfc_failure());
    EXPECT(strstr(open_failure("idx", NULL), "needs a path"), "%s", selfc_failure());
    EXPECT(strstr(open_failure(NULL, NULL), "--data"), "%s", selfc_failure());
    EXPECT(strstr(open_failure(NULL, in_folder("nowhere")), "nowhere: No such file"), "%s", selfc_failure());
    EXPECT(strstr(open_failure(NULL, in_folder("file")), "is text, which needs a tokenizer"), "%s", selfc_failure());
    EXPECT(!selfc_file_replace(in_folder("file"), "\x01second!", 8), "%s", selfc_failure());
    EXPECT(strstr(open_failure(NULL, in_folder("file")), "neither IDX"), "%s", selfc_failure());
    EXPECT(strstr(open_failure(NULL, in_folder("a")), "neither IDX"), "%s", selfc_failure());
}

static void test_npy_source(void) {
    static const float train[4][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}},
                       bad[4][3] = {{0}, {0}, {0, 0, NAN}, {0}};
    static const int64_t classes[4] = {5, 6, 7, 8};
    SelfcTensor tensor = {.dtype = SELFC_f32, .rank = 2, .dim = {4, 3}},
                labels = {.dtype = SELFC_i64, .rank = 1, .dim = {4}};
    mkdir(in_folder("npy"), 0777);
    selfc_npy_write(in_folder("npy/x_train.npy"), &tensor, train, 0);
    selfc_npy_write(in_folder("npy/y_train.npy"), &labels, classes, 0);
    SelfcSource *source = open_source(NULL, in_folder("npy"), SELFC_TRAIN);
    const SelfcField *fields;
    EXPECT(source && selfc_source_count(source) == 4 && selfc_source_fields(source, &fields) == 2, "%s",
           selfc_failure());
    EXPECT(source && selfc_source_field(source, "value") == 0 && selfc_source_field(source, "label") == 1, "fields");
    int32_t index[] = {3, 1}, got_labels[2];
    float got[2][3];
    selfc_source_gather(source, 0, index, 2, got);
    selfc_source_gather(source, 1, index, 2, got_labels);
    EXPECT(got[0][2] == 12 && got[1][0] == 4 && got_labels[0] == 8 && got_labels[1] == 6,
           "gathered without loading first");
    EXPECT(source && selfc_source_check_labels(source, 1, 9) == 0, "%s", selfc_failure());
    EXPECT(source && selfc_source_check_labels(source, 1, 7) == -1 &&
               strstr(selfc_failure(), "y_train.npy: sample 2 of the training data has the label 7, but there are 7 "
                                       "classes: 0 to 6"),
           "%s", selfc_failure());
    selfc_source_close(source);
    source = open_source(NULL, in_folder("npy"), SELFC_TEST);
    EXPECT(source && selfc_source_count(source) == 0, "no test data is no mistake");
    selfc_source_close(source);
    selfc_npy_write(in_folder("npy/x_train.npy"), &tensor, bad, 0);
    EXPECT(strstr(open_failure("npy", in_folder("npy")),
                  "sample 2 has a value that is no finite number (NaN or infinity), at element 2"),
           "%s", selfc_failure());
    tensor.dim[0] = 0;
    selfc_npy_write(in_folder("npy/x_train.npy"), &tensor, bad, 0);
    EXPECT(strstr(open_failure("npy", in_folder("npy")), "no samples"), "%s", selfc_failure());
    tensor.dim[0] = 3;
    selfc_npy_write(in_folder("npy/x_train.npy"), &tensor, train, 0);
    EXPECT(strstr(open_failure("npy", in_folder("npy")), "3 samples need as many"), "%s", selfc_failure());
}

/* The drawn digits are part of what a seed promises: their bytes never change. */
static void test_glyphs(void) {
    static uint8_t pixels[20000][784];
    static int32_t labels[20000], index[20000];
    SelfcSource *source = open_source("glyphs", NULL, SELFC_TRAIN);
    EXPECT(source && selfc_source_count(source) == 20000, "%s", selfc_failure());
    for (int i = 0; i < 20000; i++) index[i] = i;
    selfc_source_gather(source, 0, index, 20000, pixels);
    selfc_source_gather(source, 1, index, 20000, labels);
    selfc_source_close(source);
    int seen[10] = {0};
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < 20000; i++) {
        int ink = 0;
        for (int p = 0; p < 784; p++) ink += pixels[i][p], hash = (hash ^ pixels[i][p]) * 0x100000001b3u;
        EXPECT(labels[i] >= 0 && labels[i] < 10 && ink > 255 * 10 && ink < 255 * 300, "glyph %d: label %d, ink %d", i,
               labels[i], ink);
        seen[labels[i]]++;
    }
    for (int i = 0; i < 10; i++) EXPECT(seen[i] > 1800 && seen[i] < 2200, "%d samples of %d", seen[i], i);
    EXPECT(hash == 0x02957ded94c717f7u, "the glyphs have changed: hash %016llx", (unsigned long long)hash);
}

/* The same digits and labels; most of the picture is paper, of one colour. */
static void test_colour_glyphs(void) {
    enum { COUNT = 200 };
    static uint8_t grey[COUNT][784], colour[COUNT][784][3], again[COUNT][784][3];
    int32_t labels[2][COUNT], index[COUNT];
    for (int i = 0; i < COUNT; i++) index[i] = 7 * i;
    for (int channels = 1; channels <= 3; channels += 2) {
        SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){.source = "glyphs", .channels = channels});
        EXPECT(source != NULL, "%s", selfc_failure());
        if (!source) return;
        selfc_source_gather(source, 0, index, COUNT, channels == 1 ? (void *)grey : colour);
        selfc_source_gather(source, 1, index, COUNT, labels[channels == 3]);
        if (channels == 3) selfc_source_gather(source, 0, index, COUNT, again);
        selfc_source_close(source);
    }
    EXPECT(!memcmp(labels[0], labels[1], sizeof labels[0]) && !memcmp(colour, again, sizeof colour), "the same");
    for (int i = 0; i < COUNT; i++) {
        const uint8_t *paper = colour[i][0], *ink = paper;
        for (int p = 0; p < 784; p++) {
            EXPECT(grey[i][p] || !memcmp(colour[i][p], paper, 3), "sample %d has two papers", i);
            if (grey[i][p] > grey[i][(ink - paper) / 3]) ink = colour[i][p];
        }
        int contrast = abs(ink[0] - paper[0]) + abs(ink[1] - paper[1]) + abs(ink[2] - paper[2]);
        EXPECT(contrast > 150, "sample %d can hardly be read: %d", i, contrast);
    }
}

static void expect_size_refused(const SelfcSourceOptions *options, const char *why) {
    SelfcSource *source = selfc_source_open(options);
    EXPECT(!source && strstr(selfc_failure(), why), "%s", selfc_failure());
    selfc_source_close(source);
}

static void test_source_options(void) {
    SelfcSource *source =
        selfc_source_open(&(SelfcSourceOptions){.source = "glyphs", .height = 28, .width = 28, .channels = 1});
    EXPECT(source && !strcmp(selfc_source_kind(source), "glyphs"), "%s", selfc_failure());
    EXPECT(selfc_source_classes(source) == 10 && !strcmp(selfc_source_class(source, 7), "7"), "classes");
    EXPECT(!selfc_source_class(source, 10) && !selfc_source_class(source, -1) && !selfc_source_name(source, 0),
           "what has no name");
    selfc_source_close(source);
    expect_size_refused(&(SelfcSourceOptions){.source = "glyphs", .height = 32, .width = 28}, "asks for [32, 28]");
    SelfcTensor tensor = {.dtype = SELFC_f32, .rank = 1, .dim = {4}};
    EXPECT(!selfc_npy_write(in_folder("row.npy"), &tensor, (float[]){1, 2, 3, 4}, 0), "%s", selfc_failure());
    expect_size_refused(&(SelfcSourceOptions){.path = in_folder("row.npy"), .height = 4}, "f32[] and no picture");
    uint8_t picture[2 * 3 * 3] = {0};
    tensor = (SelfcTensor){.dtype = SELFC_u8, .rank = 4, .dim = {1, 2, 3, 3}};
    EXPECT(!selfc_npy_write(in_folder("row.npy"), &tensor, picture, 0), "%s", selfc_failure());
    expect_size_refused(&(SelfcSourceOptions){.path = in_folder("row.npy"), .channels = 1}, "asks for 1");
    source =
        selfc_source_open(&(SelfcSourceOptions){.path = in_folder("row.npy"), .height = 2, .width = 3, .channels = 3});
    EXPECT(source && !strcmp(selfc_source_kind(source), "npy") && selfc_source_classes(source) == 0, "%s",
           selfc_failure());
    selfc_source_close(source);
}

static void test_shuffle(void) {
    enum { SHUFFLE_COUNT = 1000 };
    int32_t a[SHUFFLE_COUNT], b[SHUFFLE_COUNT];
    bool seen[SHUFFLE_COUNT] = {false};
    selfc_shuffle(a, SHUFFLE_COUNT, 1, 0);
    selfc_shuffle(b, SHUFFLE_COUNT, 1, 0);
    EXPECT(!memcmp(a, b, sizeof a), "the same seed and epoch give another order");
    int fixed = 0;
    for (int i = 0; i < SHUFFLE_COUNT; i++) seen[a[i]] = true, fixed += a[i] == i;
    for (int i = 0; i < SHUFFLE_COUNT; i++) EXPECT(seen[i], "%d is missing", i);
    EXPECT(fixed < 10, "%d stay where they are", fixed);
    selfc_shuffle(b, SHUFFLE_COUNT, 1, 1);
    EXPECT(memcmp(a, b, sizeof a), "another epoch gives the same order");
    selfc_shuffle(b, SHUFFLE_COUNT, 2, 0);
    EXPECT(memcmp(a, b, sizeof a), "another seed gives the same order");
    selfc_shuffle(b, 0, 1, 0);
}

static void test_png(void) {
    static const uint8_t pixels[12] = {0, 255, 128, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    void *bytes;
    size_t size;
    EXPECT(!selfc_png_write(in_folder("x.png"), pixels, 2, 2, 3), "%s", selfc_failure());
    EXPECT(!selfc_file_read(in_folder("x.png"), &bytes, &size) && size > 50 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8),
           "a PNG");
    free(bytes);
    EXPECT(selfc_png_write(in_folder("y.png"), pixels, 0, 2, 1) == -1 &&
               selfc_png_write(in_folder("y.png"), pixels, 1, 1, 2) == -1,
           "impossible sizes");
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    test_file();
    test_file_full();
    test_npy_round_trip();
    test_npy_variants();
    test_npy_hostile();
    test_npy_truncated();
    test_safetensors_round_trip();
    test_safetensors_valid();
    test_safetensors_hostile();
    test_safetensors_truncated();
    test_idx_folder(false);
    test_idx_folder(true);
    test_idx_types();
    test_idx_hostile();
    test_idx_gzip_damage();
    test_source_messages();
    test_npy_source();
    test_glyphs();
    test_colour_glyphs();
    test_source_options();
    test_shuffle();
    test_png();
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!expect_failed && system(command)) return 1;
    return expect_failures();
}
