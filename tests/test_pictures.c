/* Pictures as a data set: what is found in folders, archives and lists, how it is numbered, what becomes of broken
 * files, and what is kept in the cache. */
#include "runtime/data/data.h"
#include "runtime/data/file.h"
#include "runtime/data/wanted.h"
#include "tests/expect.h"
#include "tests/picture_files.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/selfc-pictures-XXXXXX";

static const char *in_folder(const char *name) {
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put_text(const char *name, const char *text) {
    file_put(in_folder(name), (FileBytes){(uint8_t *)strdup(text), strlen(text)});
}

static void make_folder(const char *name) { EXPECT(!selfc_make_folders(in_folder(name)), "%s", selfc_failure()); }

/* A PNG whose pixels are all of this grey value. */
static FileBytes plain_png(int height, int width, uint16_t grey) {
    uint16_t samples[64 * 64];
    for (int i = 0; i < height * width; i++) samples[i] = grey;
    return png_bytes(&(PngKind){.type = PNG_COLOR_TYPE_GRAY, .depth = 8}, height, width, samples);
}

static FileBytes plain_jpeg(int height, int width, uint8_t grey) {
    uint8_t pixels[64 * 64];
    memset(pixels, grey, sizeof pixels);
    return jpeg_bytes(&(JpegKind){.channels = 1}, height, width, pixels);
}

static void put_png(const char *name, int height, int width, uint16_t grey) {
    file_put(in_folder(name), plain_png(height, width, grey));
}

static SelfcSource *open_pictures(const char *path, SelfcSplit split) {
    SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){
        .source = "pictures", .path = path, .split = split, .height = 4, .width = 4, .channels = 1});
    EXPECT(source != NULL, "%s", selfc_failure());
    return source;
}

static const char *failure_of(const char *path, SelfcSplit split) {
    SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){.source = "pictures", .path = path, .split = split});
    selfc_source_close(source);
    return source ? "was opened" : selfc_failure();
}

/* "cat/1.png=0:10 …": name, label and first pixel of each sample. */
static const char *described(SelfcSource *source) {
    static char text[1024];
    int used = 0;
    const SelfcField *fields;
    if (!source) return "";
    bool has_labels = selfc_source_fields(source, &fields) == 3;
    *text = 0;
    EXPECT(!selfc_source_load(source), "%s", selfc_failure());
    for (int32_t i = 0; i < selfc_source_count(source); i++) {
        uint8_t pixels[16];
        int32_t label = -1;
        selfc_source_gather(source, 0, &i, 1, pixels);
        if (has_labels) selfc_source_gather(source, 2, &i, 1, &label);
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s=%d:%d", i ? " " : "",
                         selfc_source_name(source, i), label, pixels[0]);
    }
    selfc_source_close(source);
    return text;
}

static void expect_samples(const char *path, SelfcSplit split, const char *expected) {
    const char *got = described(open_pictures(path, split));
    EXPECT(!strcmp(got, expected), "%s: '%s' instead of '%s'", path, got, expected);
}

static void pack_file(struct archive *out, const char *name, int number) {
    FileBytes file =
        strstr(name, ".txt") ? (FileBytes){(uint8_t *)strdup("text"), 4} : plain_png(4, 4, (uint16_t)(10 + number));
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)file.size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_write_header(out, entry);
    archive_write_data(out, file.bytes, file.size);
    archive_entry_free(entry);
    free(file.bytes);
}

static void pack(const char *path, bool is_zip, int filter, const char *const *names, int count) {
    struct archive *out = archive_write_new();
    if (is_zip)
        archive_write_set_format_zip(out);
    else
        archive_write_set_format_pax_restricted(out);
    archive_write_add_filter(out, filter);
    EXPECT(archive_write_open_filename(out, path) == ARCHIVE_OK, "%s", archive_error_string(out));
    for (int i = 0; i < count; i++) pack_file(out, names[i], i);
    EXPECT(archive_write_close(out) == ARCHIVE_OK, "%s", archive_error_string(out));
    archive_write_free(out);
}

/* --- what is said --- */

/* What a function writes to stderr. */
static char *said_by(void (*work)(void)) {
    char *text;
    size_t size;
    void *bytes;
    fflush(stderr);
    int kept = dup(2);
    FILE *caught = freopen(in_folder("stderr"), "w", stderr);
    work();
    fflush(caught);
    dup2(kept, 2);
    close(kept);
    EXPECT(!selfc_file_read(in_folder("stderr"), &bytes, &size), "%s", selfc_failure());
    text = strndup(bytes, size);
    free(bytes);
    return text;
}

static int occurrences(const char *text, const char *part) {
    int count = 0;
    for (; (text = strstr(text, part)); text++) count++;
    return count;
}

/* Its training samples, and what is said of the folder when they are loaded. */
static const char *samples_of;
static char samples_there[1024];

static void load_samples(void) { strcpy(samples_there, described(open_pictures(samples_of, SELFC_TRAIN))); }

static void expect_said(const char *path, const char *samples, const char *note) {
    samples_of = path;
    char *said = said_by(load_samples);
    EXPECT(!strcmp(samples_there, samples), "%s: '%s' instead of '%s'", path, samples_there, samples);
    EXPECT(note ? strstr(said, note) && occurrences(said, "\n") == 1 : !*said, "%s: '%s'", path, said);
    free(said);
}

/* --- folders --- */

static void test_folder(void) {
    make_folder("pets/dog/old");
    make_folder("pets/cat");
    make_folder("pets/.git");
    put_png("pets/dog/2.png", 2, 2, 20);
    put_png("pets/dog/old/1.png", 2, 2, 21);
    file_put(in_folder("pets/cat/b.JPG"), plain_jpeg(4, 4, 30));
    put_png("pets/cat/a.gif", 4, 4, 31); /* what the bytes say counts */
    put_png("pets/cat/without_ending", 4, 4, 32);
    put_png("pets/cat/._a.png", 4, 4, 1);
    put_png("pets/.git/x.png", 4, 4, 1);
    put_text("pets/README.txt", "pets");
    put_text("pets/cat/Thumbs.db", "\xd0\xcf\x11\xe0");
    expect_samples(in_folder("pets"), SELFC_TRAIN,
                   "cat/a.gif=0:31 cat/b.JPG=0:30 cat/without_ending=0:32 dog/2.png=1:20 dog/old/1.png=1:21");
    SelfcSource *source = open_pictures(in_folder("pets/"), SELFC_TRAIN);
    EXPECT(selfc_source_classes(source) == 2 && !strcmp(selfc_source_class(source, 1), "dog"), "classes");
    EXPECT(!selfc_source_name(source, 5) && !selfc_source_name(source, -1), "names");
    selfc_source_close(source);
    source = selfc_source_open(
        &(SelfcSourceOptions){.path = in_folder("pets"), .height = 4, .width = 4, .channels = 1, .most = 3});
    EXPECT(selfc_source_classes(source) == 2, "classes of a part");
    const char *part = described(source);
    EXPECT(!strcmp(part, "cat/a.gif=0:31 cat/b.JPG=0:30 dog/2.png=1:20"), "%s", part);
    source = open_pictures(in_folder("pets"), SELFC_TEST);
    EXPECT(selfc_source_count(source) == 0 && !selfc_source_load(source), "there is no test split");
    selfc_source_close(source);
    put_png("pets/loose.png", 4, 4, 1);
    source = open_pictures(in_folder("pets"), SELFC_TRAIN);
    EXPECT(selfc_source_field(source, "label") == -1 && strstr(selfc_failure(), "some of its pictures"), "%s",
           selfc_failure());
    EXPECT(selfc_source_field(source, "size") == 1, "%s", selfc_failure());
    selfc_source_close(source);
}

static void test_splits(void) {
    static const char *const tests[] = {"validation", "valid", "val", "test"};
    make_folder("split/train/b");
    make_folder("split/train/a");
    put_png("split/train/b/1.png", 4, 4, 1);
    put_png("split/train/a/1.png", 4, 4, 2);
    for (int i = 0; i < 4; i++) { /* the later ones go first */
        char name[64], expected[64];
        snprintf(name, sizeof name, "split/%s/b", tests[i]);
        make_folder(name);
        strcat(name, "/x.png");
        put_png(name, 4, 4, (uint16_t)(10 + i));
        snprintf(expected, sizeof expected, "%s/b/x.png=1:%d", tests[i], 10 + i);
        expect_samples(in_folder("split"), SELFC_TEST, expected);
    }
    expect_samples(in_folder("split"), SELFC_TRAIN, "train/a/1.png=0:2 train/b/1.png=1:1");
    make_folder("split/test/c");
    put_png("split/test/c/x.png", 4, 4, 1);
    /* A class that the training does not have, and so a test split without labels. */
    expect_samples(in_folder("split"), SELFC_TEST, "test/b/x.png=-1:13 test/c/x.png=-1:1");
    SelfcSource *source = open_pictures(in_folder("split"), SELFC_TEST);
    EXPECT(selfc_source_field(source, "label") == -1 &&
               strstr(selfc_failure(), "test/c/x.png: the class \"c\" is not among the 2"),
           "%s", selfc_failure());
    selfc_source_close(source);
    /* A test split without classes is one without labels. */
    make_folder("flat/train/a");
    make_folder("flat/test");
    put_png("flat/train/a/1.png", 4, 4, 1);
    put_png("flat/test/1.png", 4, 4, 2);
    expect_samples(in_folder("flat"), SELFC_TRAIN, "train/a/1.png=0:1");
    expect_samples(in_folder("flat"), SELFC_TEST, "test/1.png=-1:2");
}

/* Pictures that stand beside the splits are left out, and that is said. */
static void test_beside(void) {
    make_folder("journey/train");
    make_folder("journey/test");
    make_folder("journey/beach");
    put_png("journey/train/1.png", 4, 4, 1);
    put_png("journey/test/1.png", 4, 4, 2);
    expect_said(in_folder("journey"), "train/1.png=-1:1", NULL);
    put_png("journey/beach/1.png", 4, 4, 3);
    put_png("journey/beach/2.png", 4, 4, 4);
    put_png("journey/3.png", 4, 4, 5);
    expect_said(in_folder("journey"), "train/1.png=-1:1", "nor among the test data are left out: 3; if");
}

/* What others read and selfc does not is counted, and stops nothing. */
static void test_foreign(void) {
    make_folder("phone/cat");
    make_folder("phone/dog");
    make_folder("phone/none");
    char list[512] = "cat/1.png\n";
    for (int i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "phone/dog/%d.%s", i, i % 2 ? "heic" : "HEIC");
        put_text(name, "ftypheic");
        strcat(strcat(list, name + strlen("phone/")), "\n");
    }
    put_text("phone/none/1.gif", "GIF89a");
    put_png("phone/cat/1.png", 4, 4, 1);
    expect_said(in_folder("phone"), "cat/1.png=0:1",
                "phone: files that cannot be read: 20 .heic, 1 .gif; convert them to PNG or JPEG");
    put_text("phone/list.txt", list);
    expect_said(in_folder("phone/list.txt"), "cat/1.png=-1:1", "cannot be read: 20 .heic;");
    pack(in_folder("phone.tar"), false, ARCHIVE_FILTER_NONE,
         (const char *const[]){"a.png", "b.txt.webp", "c.png", ".txt.webp"}, 4);
    expect_said(in_folder("phone.tar"), "a.png=-1:10 c.png=-1:12", "cannot be read: 1 .webp;");
    EXPECT(strstr(failure_of(in_folder("phone/dog"), SELFC_TRAIN),
                  "no pictures (PNG or JPEG) in it, but files that cannot be read: 20"),
           "%s", selfc_failure());
}

static void test_nothing(void) {
    make_folder("nothing");
    EXPECT(strstr(failure_of(in_folder("nothing"), SELFC_TRAIN), "no pictures"), "%s", selfc_failure());
    EXPECT(strstr(failure_of(in_folder("nowhere"), SELFC_TRAIN), "cannot read"), "%s", selfc_failure());
    EXPECT(!selfc_source_open(&(SelfcSourceOptions){.path = in_folder("nothing")}) &&
               strstr(selfc_failure(), "nor pictures"),
           "%s", selfc_failure());
    make_folder("around");
    EXPECT(!symlink(".", in_folder("around/again")), "symlink");
    put_png("around/1.png", 4, 4, 1);
    EXPECT(strstr(failure_of(in_folder("around"), SELFC_TRAIN), "does a link lead back"), "%s", selfc_failure());
}

/* --- the box --- */

/* AddressSanitizer would end the program where there is no memory; here that is to be heard of. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* A picture of a box, as a function that takes such ones is given it. */
static bool fill_one(const SelfcSource *source, SelfcPool *pool, SelfcTensor io, int32_t sample, void *pixels) {
    io.name = "x";
    SelfcProgram program = {.name = "encode", .io = &io, .input_count = 1};
    Wanted wanted;
    return wanted_find(&wanted, &program, "encode", source) &&
           wanted_fill(&wanted, &program, source, (int32_t[]){sample}, 1, (void *[]){pixels}, pool);
}

static void test_fill(const SelfcSource *source) {
    SelfcPool *pool = selfc_pool_new(2);
    uint8_t pixels[20 * 60 * 3] = {0};
    EXPECT(fill_one(source, pool, (SelfcTensor){.dtype = SELFC_u8, .rank = 4, .dim = {-1, 1, 3, 3}}, 0, pixels) &&
               pixels[0] == 100 && pixels[8] == 100,
           "%d, %d", pixels[0], pixels[8]);
    EXPECT(!fill_one(source, pool, (SelfcTensor){.dtype = SELFC_u8, .rank = 4, .dim = {-1, 1, (int64_t)1 << 58, 3}}, 0,
                     pixels) &&
               strstr(selfc_failure(), "no memory to bring"),
           "%s", selfc_failure());
    /* A function of the box's size is not shown what is around a smaller picture in it. */
    EXPECT(fill_one(source, pool, (SelfcTensor){.dtype = SELFC_u8, .rank = 4, .dim = {-1, 20, 60, 3}}, 1, pixels) &&
               pixels[0] == 200 && pixels[sizeof pixels - 1] == 200,
           "%d, %d", pixels[0], pixels[sizeof pixels - 1]);
    selfc_pool_free(pool);
}

/* Grey pictures, for functions that give them one channel or none. */
static void test_fill_grey(void) {
    static const SelfcTensor takes[] = {{.dtype = SELFC_u8, .rank = 4, .dim = {-1, 8, 8, 1}},
                                        {.dtype = SELFC_u8, .rank = 3, .dim = {-1, 8, 8}},
                                        {.dtype = SELFC_u8, .rank = 4, .dim = {-1, 4, 16, 1}},
                                        {.dtype = SELFC_u8, .rank = 2, .dim = {-1, 64}}};
    SelfcPool *pool = selfc_pool_new(1);
    SelfcSource *source =
        selfc_source_open(&(SelfcSourceOptions){.path = in_folder("box"), .height = 8, .width = 8, .channels = 1});
    for (int i = 0; i < 4; i++) {
        uint8_t pixels[64], last = i == 3 ? 0 : 200; /* pixels in a row are no picture, and come as they are */
        EXPECT(fill_one(source, pool, takes[i], 1, pixels) && pixels[0] == 200 && pixels[63] == last, "%d: %d, %d", i,
               pixels[0], pixels[63]);
    }
    selfc_source_close(source);
    selfc_pool_free(pool);
}

static void test_box(void) {
    make_folder("box");
    put_png("box/a.png", 20, 60, 100);
    put_png("box/b.png", 3, 2, 200);
    SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){.path = in_folder("box")});
    const SelfcField *fields;
    if (!source) return (void)(expect_failed++, fprintf(stderr, "%s\n", selfc_failure()));
    selfc_source_fields(source, &fields);
    const SelfcTensor *image = &fields[0].sample;
    EXPECT(!strcmp(selfc_source_kind(source), "pictures") && image->dtype == SELFC_u8 && image->rank == 3 &&
               image->dim[0] == 20 && image->dim[1] == 60 && image->dim[2] == 3,
           "the first picture's size is everyone's");
    uint8_t pixels[2][20][60][3];
    int32_t sizes[2][2], index[] = {1, 0}, outside[] = {2, -1};
    EXPECT(!selfc_source_load(source), "%s", selfc_failure());
    selfc_source_gather(source, 0, index, 2, pixels);
    selfc_source_gather(source, 1, index, 2, sizes);
    EXPECT(sizes[0][0] == 3 && sizes[0][1] == 2 && sizes[1][0] == 20 && sizes[1][1] == 60, "sizes");
    EXPECT(pixels[0][2][1][2] == 200 && pixels[0][3][1][0] == 0 && pixels[0][2][2][0] == 0, "at the top left");
    EXPECT(pixels[1][19][59][1] == 100, "whole");
    selfc_source_gather(source, 0, outside, 2, pixels);
    EXPECT(!pixels[0][0][0][0] && !pixels[1][0][0][0], "zeros outside of the data");
    test_fill(source);
    test_fill_grey();
    selfc_source_close(source);
    source = selfc_source_open(&(SelfcSourceOptions){.path = in_folder("box"), .height = 8, .width = 8, .fill = 1});
    selfc_source_gather(source, 0, index, 2, pixels);
    selfc_source_gather(source, 1, index, 2, sizes);
    EXPECT(sizes[0][0] == 8 && sizes[1][1] == 8 && ((uint8_t *)pixels)[8 * 8 * 3 - 1] == 200, "filled");
    selfc_source_close(source);
    EXPECT(!selfc_source_open(&(SelfcSourceOptions){.path = in_folder("box"), .height = 8}), "one side");
    EXPECT(!selfc_source_open(&(SelfcSourceOptions){.path = in_folder("box"), .channels = 2}), "two channels");
    uint16_t *wide = calloc(600 * 300, sizeof *wide);
    make_folder("large");
    file_put(in_folder("large/0.png"), png_bytes(&(PngKind){.type = PNG_COLOR_TYPE_GRAY, .depth = 8}, 300, 600, wide));
    free(wide);
    source = selfc_source_open(&(SelfcSourceOptions){.path = in_folder("large"), .channels = 1});
    selfc_source_fields(source, &fields);
    EXPECT(fields[0].sample.rank == 2 && fields[0].sample.dim[0] == 128 && fields[0].sample.dim[1] == 256,
           "no side beyond 256, as [height,width]");
    selfc_source_close(source);
}

/* --- lists --- */

static void test_lists(void) {
    make_folder("lists/of");
    put_png("lists/of/1.png", 4, 4, 1);
    put_png("lists/of/2.png", 4, 4, 2);
    char text[1024];
    snprintf(text, sizeof text, "of/2.png\tyes\r\n\n%s/lists/of/1.png\tno\nof/2.png\tno", folder);
    put_text("lists/train.txt", text);
    put_text("lists/test.txt", "of/1.png\tyes\n");
    char expected[1024];
    snprintf(expected, sizeof expected, "of/2.png=1:2 %s/lists/of/1.png=0:1 of/2.png=0:2", folder);
    expect_samples(in_folder("lists/train.txt"), SELFC_TRAIN, expected);
    expect_samples(in_folder("lists/train.txt"), SELFC_TEST, "of/1.png=1:1");
    put_text("lists/plain", "of/2.png\nof/1.png\n");
    expect_samples(in_folder("lists/plain"), SELFC_TRAIN, "of/2.png=-1:2 of/1.png=-1:1");
    SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){.path = in_folder("lists/plain")});
    EXPECT(source && selfc_source_field(source, "label") == -1 && strstr(selfc_failure(), "a tab"), "%s",
           selfc_failure());
    selfc_source_close(source);
    put_text("lists/some", "of/2.png\tx\nof/1.png\n");
    source = selfc_source_open(&(SelfcSourceOptions){.path = in_folder("lists/some")});
    EXPECT(source && selfc_source_field(source, "label") == -1 && strstr(selfc_failure(), "some lines"), "%s",
           selfc_failure());
    selfc_source_close(source);
    EXPECT(strstr(failure_of(in_folder("lists/of/1.png"), SELFC_TRAIN), "neither a folder, nor an archive"), "%s",
           selfc_failure());
    put_text("lists/wrong", "of/1.png\n\tx\n");
    EXPECT(strstr(failure_of(in_folder("lists/wrong"), SELFC_TRAIN), "wrong:2: a line is a path"), "%s",
           selfc_failure());
}

/* --- archives --- */

static const char *const packed_names[] = {"./set/train/b/2.png", "./set/train/a/1.png",  "./set/README.txt",
                                           "./set/test/b/1.png",  "./set/train/b/.x.png", "__MACOSX/set/train/b/2.png"};
static const char packed_train[] = "set/train/a/1.png=0:11 set/train/b/2.png=1:10";

static void test_archives(void) {
    static const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_ZSTD,
                                  ARCHIVE_FILTER_BZIP2};
    for (int i = 0; i < 6; i++) {
        pack(in_folder("set.archive"), i == 5, i == 5 ? ARCHIVE_FILTER_NONE : filters[i], packed_names, 6);
        expect_samples(in_folder("set.archive"), SELFC_TRAIN, packed_train);
        expect_samples(in_folder("set.archive"), SELFC_TEST, "set/test/b/1.png=1:13");
        SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){.path = in_folder("set.archive")});
        EXPECT(source && !strcmp(selfc_source_kind(source), "pictures"), "%s", selfc_failure());
        selfc_source_close(source);
    }
    /* Both splits at once share it. */
    SelfcSource *train = open_pictures(in_folder("set.archive"), SELFC_TRAIN);
    SelfcSource *test = open_pictures(in_folder("set.archive"), SELFC_TEST);
    EXPECT(!selfc_source_load(train) && !selfc_source_load(test), "%s", selfc_failure());
    unlink(in_folder("set.archive"));
    const char *got = described(train);
    EXPECT(!strcmp(got, packed_train), "%s", got);
    got = described(test);
    EXPECT(!strcmp(got, "set/test/b/1.png=1:13"), "%s", got);
}

/* An archive that cannot be read to its end is no data set; any damage is a message or a broken picture. */
/* Links to files are files, as they are in a folder; what leads nowhere, round in a circle or out of the archive is
 * not. */
static void test_archive_links(void) {
    static const char *const links[][3] = {
        {"b/hard.png", "./a/1.png", NULL},     {"b/soft.png", NULL, "../a/./1.png"},
        {"b/again.png", NULL, "soft.png"},     {"first.png", NULL, "a/1.png"},
        {"b/nowhere.png", NULL, "../a/2.png"}, {"b/circle.png", NULL, "circle.png"},
        {"b/out.png", NULL, "../../a/1.png"},  {"b/root.png", NULL, "/a/1.png"},
        {"b/README", NULL, "../a/notes.txt"},
    };
    static const char *const files[] = {"a/1.png", "a/notes.txt", "a/3.png"};
    struct archive *out = archive_write_new();
    archive_write_set_format_pax_restricted(out);
    EXPECT(archive_write_open_filename(out, in_folder("links.tar")) == ARCHIVE_OK, "%s", archive_error_string(out));
    for (int i = 0; i < 3; i++) pack_file(out, files[i], i);
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, links[i][0]);
        archive_entry_set_filetype(entry, links[i][2] ? AE_IFLNK : AE_IFREG);
        if (links[i][1]) archive_entry_set_hardlink(entry, links[i][1]);
        if (links[i][2]) archive_entry_set_symlink(entry, links[i][2]);
        archive_write_header(out, entry);
        archive_entry_free(entry);
    }
    pack_file(out, "b/2.png", 3); /* behind them */
    EXPECT(archive_write_close(out) == ARCHIVE_OK, "%s", archive_error_string(out));
    archive_write_free(out);
    expect_samples(in_folder("links.tar"), SELFC_TRAIN,
                   "a/1.png=-1:10 a/3.png=-1:12 b/2.png=-1:13 b/again.png=-1:10 b/hard.png=-1:10 b/soft.png=-1:10 "
                   "first.png=-1:10");
}

static void test_archive_damage(void) {
    for (int is_zip = 0; is_zip < 2; is_zip++) {
        void *bytes;
        size_t size;
        pack(in_folder("whole"), is_zip, is_zip ? ARCHIVE_FILTER_NONE : ARCHIVE_FILTER_GZIP, packed_names, 6);
        EXPECT(!selfc_file_read(in_folder("whole"), &bytes, &size), "%s", selfc_failure());
        for (size_t cut = 0; cut < size; cut += 13) {
            selfc_file_replace(in_folder("damaged"), bytes, cut);
            const char *failure = failure_of(in_folder("damaged"), SELFC_TRAIN);
            EXPECT(cut + 16 > size || strcmp(failure, "was opened"), "read from %zu of %zu bytes", cut, size);
        }
        for (size_t i = 0; i < size; i += 5) {
            ((uint8_t *)bytes)[i] ^= 0x41;
            selfc_file_replace(in_folder("damaged"), bytes, size);
            SelfcSource *source =
                selfc_source_open(&(SelfcSourceOptions){.source = "pictures", .path = in_folder("damaged")});
            uint8_t pixels[1 << 16];
            int32_t index = 0;
            const SelfcField *fields;
            if (source && selfc_source_fields(source, &fields) &&
                selfc_tensor_bytes(&fields[0].sample, 0) <= sizeof pixels)
                selfc_source_gather(source, 0, &index, 1, pixels);
            selfc_source_close(source);
            ((uint8_t *)bytes)[i] ^= 0x41;
        }
        free(bytes);
    }
}

/* --- broken files --- */

/* The next whole sample stands for a broken one, from the front again behind the last. */
static void read_broken(void) {
    for (int turn = 0; turn < 2; turn++)
        expect_samples(in_folder("broken"), SELFC_TRAIN,
                       "a/0.png=0:10 a/0a.png=0:14 a/0b.png=0:15 b/2.png=1:12 b/2.png=1:12 b/2.png=1:12 a/0.png=0:10 "
                       "a/0.png=0:10");
}

/* The label of sample 7 is that of the picture in its place, but listed is its own. */
static void read_labels(void) {
    int32_t broken = 7, label = -1, listed = -1, size[2];
    SelfcSource *source = open_pictures(in_folder("broken"), SELFC_TRAIN);
    selfc_source_gather_listed(source, 2, &broken, 1, &listed);
    selfc_source_gather(source, 2, &broken, 1, &label);
    selfc_source_gather_listed(source, 1, &broken, 1, size);
    EXPECT(label == 0 && listed == 1 && size[0] == 4 && size[1] == 4, "label %d, listed %d", label, listed);
    selfc_source_close(source);
}

static void test_broken(void) {
    make_folder("broken/a");
    make_folder("broken/b");
    put_png("broken/a/0.png", 4, 4, 10);
    put_png("broken/a/0a.png", 4, 4, 14);
    put_png("broken/a/0b.png", 4, 4, 15);
    FileBytes jpeg = plain_jpeg(32, 32, 11);
    jpeg.size /= 2;
    file_put(in_folder("broken/a/1.jpg"), jpeg);
    put_text("broken/a/2.png", "");
    put_png("broken/b/2.png", 4, 4, 12);
    put_text("broken/b/3.jpg", "not at all");
    FileBytes png = plain_png(64, 64, 13);
    png.size -= 20;
    file_put(in_folder("broken/b/4.png"), png);
    char *said = said_by(read_broken), wanted[600];
    snprintf(wanted, sizeof wanted,
             "selfc: %s/broken/a/1.jpg: not a picture that can be read (premature end); skipped\n", folder);
    EXPECT(occurrences(said, wanted) == 2, "%s", said);
    EXPECT(occurrences(said, "2.png: not a picture that can be read (it is empty)") == 2 &&
               occurrences(said, "(neither PNG nor JPEG)") == 2 && occurrences(said, "\n") == 8,
           "%s", said);
    free(said);
    free(said_by(read_labels));
}

static const char *stopped_in, *stopped_why;
static int stopped_at;

static void read_until_stopped(void) {
    SelfcSource *source = open_pictures(in_folder(stopped_in), SELFC_TRAIN);
    EXPECT(!selfc_source_load(source), "%s", selfc_failure()); /* decoders may be at the end before it returns */
    EXPECT(selfc_source_check_labels(source, 1, 4) && strstr(selfc_failure(), "\"size\" has no labels"), "%s",
           selfc_failure());
    for (int32_t i = 0; i < selfc_source_count(source) && !stopped_at; i++) {
        uint8_t pixels[16];
        selfc_source_gather(source, 0, &i, 1, pixels);
        if (selfc_source_check(source)) stopped_at = i + 1;
    }
    EXPECT(!stopped_at || strstr(selfc_failure(), stopped_why), "%s", selfc_failure());
    selfc_source_close(source);
}

/* So many broken ones of `count`, in the folder, are the most that do not stop a run. */
static void expect_most_broken(const char *in, int count, int most, const char *why) {
    char name[64];
    stopped_in = in;
    stopped_why = why;
    make_folder(in);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%04d.png", in, i);
        put_png(name, 1, 1, 5);
    }
    for (int bad = most; bad <= most + 1; bad++) {
        for (int i = 0; i < bad; i++) {
            snprintf(name, sizeof name, "%s/%04d.png", in, i * (count / (most + 1)));
            put_text(name, "bad");
        }
        stopped_at = 0;
        free(said_by(read_until_stopped));
        EXPECT(bad == most ? !stopped_at : stopped_at > 0, "%d of %d broken ones: stopped at %d", bad, count,
               stopped_at);
    }
}

static void test_too_many_broken(void) {
    expect_most_broken("bad", 900, 9, "more than 1 in 100"); /* nine never stop a run of many; ten of 900 do */
    expect_most_broken("few", 12, 6, "7 of its 12 pictures, or more, cannot be read, more than half");
    make_folder("all_bad");
    put_text("all_bad/1.png", "x");
    EXPECT(strstr(failure_of(in_folder("all_bad"), SELFC_TRAIN), "none of its 1 pictures can be read"), "%s",
           selfc_failure());
}

/* --- the cache --- */

enum { CACHE_COUNT = 200 };

static int cache_files(char *path) {
    int count = 0;
    DIR *directory = opendir(in_folder("cache"));
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        count++;
        if (path) snprintf(path, 512, "%s/cache/%s", folder, entry->d_name);
    }
    if (directory) closedir(directory);
    return count;
}

/* Reads all in an order of its own; the samples must be what they are. */
static void read_cached(const char *cache) {
    SelfcSource *source = selfc_source_open(
        &(SelfcSourceOptions){.path = in_folder("many"), .height = 8, .width = 8, .channels = 1, .cache = cache});
    if (!source || selfc_source_load(source)) EXPECT(false, "%s", selfc_failure());
    int32_t order[CACHE_COUNT];
    selfc_shuffle(order, CACHE_COUNT, 3, 1);
    selfc_source_ahead(source, order, CACHE_COUNT);
    int wrong = 0;
    for (int i = 0; i < CACHE_COUNT; i += 10) {
        uint8_t pixels[10][64];
        int32_t sizes[10][2];
        selfc_source_gather(source, 0, order + i, 10, pixels);
        selfc_source_gather(source, 1, order + i, 10, sizes);
        for (int k = 0; k < 10; k++) {
            int32_t sample = order[i + k];
            wrong += pixels[k][0] != sample || sizes[k][0] != 1 + sample % 8 || sizes[k][1] != 8 ||
                     pixels[k][63] != (sample % 8 == 7 ? sample : 0);
        }
    }
    EXPECT(!wrong, "%d samples are wrong", wrong);
    selfc_source_close(source);
}

static void damage(const char *path, long at, int times) {
    FILE *file = fopen(path, "r+b");
    for (int i = 0; i < times; i++) {
        fseek(file, at + 7 * i, SEEK_SET);
        int byte = fgetc(file);
        fseek(file, at + 7 * i, SEEK_SET);
        fputc(byte ^ 0x55, file);
    }
    fclose(file);
}

static void test_cache(void) {
    char path[512], other[512];
    struct stat before, after;
    make_folder("many");
    for (int i = 0; i < CACHE_COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "many/%03d.png", i);
        put_png(name, 1 + i % 8, 8, (uint16_t)i);
    }
    read_cached(in_folder("cache"));
    EXPECT(cache_files(NULL) == 0, "what fits into memory needs no file");
    setenv("SELFC_DATA_MEMORY", "1000", 1);
    read_cached("");
    read_cached(in_folder("cache"));
    EXPECT(cache_files(path) == 1 && !strstr(path, ".tmp"), "a file of the cache: %s", path);
    stat(path, &before);
    read_cached(in_folder("cache"));
    stat(path, &after);
    EXPECT(cache_files(NULL) == 1 && before.st_ino == after.st_ino, "it is used again");
    /* Whatever is wrong with it, the samples are right, and the next run has a whole file again. */
    static const long places[] = {0, 8, 16, 24, 32, 40, 48, 56, 60, 8192, 12000};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        damage(path, places[i], i % 2 ? 30 : 1);
        read_cached(in_folder("cache"));
        read_cached(in_folder("cache"));
        EXPECT(cache_files(other) == 1 && !strcmp(path, other), "damaged at %ld: %s", places[i], other);
    }
    EXPECT(!truncate(path, 100), "truncate");
    read_cached(in_folder("cache"));
    stat(path, &after);
    EXPECT(after.st_size == before.st_size, "a file that was cut off is written anew");
    /* What was left behind by another process of the same number is in nobody's way. */
    unlink(path);
    for (int remove = 0; remove < 2; remove++) {
        if (remove) read_cached(in_folder("cache"));
        for (int i = 0; i < 100; i++) {
            char left[600];
            snprintf(left, sizeof left, "%s.tmp-%ld-%d", path, (long)getpid(), i);
            if (remove)
                unlink(left);
            else
                put_text(left + strlen(folder) + 1, "left behind");
        }
    }
    EXPECT(cache_files(other) == 1 && !strcmp(path, other), "%s", other);
    /* A picture that changed is not taken from it, and what a killed process left is removed. */
    put_text("cache/pictures-0123456789abcdef.tmp-999999999-0", "left behind");
    put_png("many/000.png", 1, 8, 0);
    read_cached(in_folder("cache"));
    EXPECT(cache_files(NULL) == 2, "%d files", cache_files(NULL));
    put_text("no_folder", "a file");
    SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){
        .path = in_folder("many"), .height = 8, .width = 8, .cache = in_folder("no_folder/cache")});
    EXPECT(source && selfc_source_load(source) == -1 && strstr(selfc_failure(), "no_folder"), "%s", selfc_failure());
    selfc_source_close(source);
    unsetenv("SELFC_DATA_MEMORY");
}

/* An archive's bytes go to an unnamed file when they do not fit. */
static void test_archive_in_file(void) {
    pack(in_folder("set.tar"), false, ARCHIVE_FILTER_NONE, packed_names, 6);
    setenv("SELFC_DATA_MEMORY", "10", 1);
    setenv("XDG_CACHE_HOME", in_folder("home"), 1);
    expect_samples(in_folder("set.tar"), SELFC_TRAIN, packed_train);
    unsetenv("SELFC_DATA_MEMORY");
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    test_folder();
    test_splits();
    test_beside();
    test_foreign();
    test_nothing();
    test_box();
    test_lists();
    test_archives();
    test_archive_links();
    test_archive_damage();
    test_broken();
    test_too_many_broken();
    test_cache();
    test_archive_in_file();
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || expect_failures();
}
