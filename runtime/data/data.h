/* Data sources, and the files that selfc reads and writes. Every reader treats its file as hostile: a message
 * (selfc_failure) names file and place; nothing crashes. Writers write to a temporary name, fsync and rename. */
#ifndef SELFC_RUNTIME_DATA_H
#define SELFC_RUNTIME_DATA_H
#include "runtime/core/core.h"

/* source.c: a data set: named fields ("image", "label", "value"), each with its samples. */
typedef struct SelfcSource SelfcSource;
typedef struct {
    const char *name;         /* "image", "label", "value", "size" */
    SelfcTensor sample;       /* of one sample: u8[28,28]; i32[] for labels */
} SelfcField;

typedef struct SelfcTokenizer SelfcTokenizer; /* runtime/text/tokenizer.h */

typedef enum { SELFC_TRAIN, SELFC_TEST } SelfcSplit;
typedef struct {
    const char *source;       /* "glyphs", "idx", "npy", "pictures", "text"; or NULL: what stands at path is recognised */
    const char *path;         /* may be NULL for glyphs */
    SelfcSplit split;
    int64_t height, width;    /* of pictures; 0: the source decides */
    int64_t channels;         /* 1: grey, 3: colour; 0: the source decides */
    int32_t fill;             /* 1: a picture is cropped in its middle to the aspect of height:width and resized to fill
                                 it; 0: one that is too large is shrunk until it fits, and stands at the top left */
    int64_t most;             /* pictures: so many alone, spread evenly, as if the others were not there; 0: all */
    const char *cache;        /* folder for decoded pictures that do not fit into memory, and for the tokens of texts; NULL:
                                 the user's cache, "": none that outlives the process */
    /* Of texts. */
    const SelfcTokenizer *tokenizer; /* outlives the source */
    int64_t length;           /* tokens of a sample */
    int64_t stride;           /* streams: tokens from one training sample to the next; 0: none is read twice */
    const char *unit;         /* "stream", "document", "line"; NULL: lines if they are labelled or JSON, else a stream */
    int32_t has_labels;       /* 1: lines begin with labels */
    int32_t whole;            /* 1: where files have no test split of their own, all is for training */
} SelfcSourceOptions;
/* Reads no more than the headers; but text is tokenised, unless the cache has it, for only tokens say how many samples
 * there are. A source whose samples are of another size, or have other channels, than the options
 * ask for, and stay so, is an error. NULL after selfc_fail. */
SelfcSource *selfc_source_open(const SelfcSourceOptions *options);
/* Reads or draws all samples and checks them: 0, or -1 after selfc_fail. Gather would do it, but cannot fail. Pictures
 * are decoded in the background from now on. */
int selfc_source_load(SelfcSource *source);
/* Once loaded: samples that come one by one are made in this order, and the others behind. */
void selfc_source_ahead(const SelfcSource *source, const int32_t *index, int64_t n);
/* Whether what was gathered can be used: -1 after selfc_fail if too many files are broken. */
int selfc_source_check(const SelfcSource *source);
/* Whether each of the field's values, loaded whole numbers, is 0 to classes - 1: 0, or -1 after selfc_fail. */
int selfc_source_check_labels(const SelfcSource *source, uint32_t field, int64_t classes);
void selfc_source_close(SelfcSource *source);
/* What kind of source stands at a path, by a look from outside; NULL after selfc_fail: none. */
const char *selfc_source_kind_at(const char *path);
const char *selfc_source_kind(const SelfcSource *source);         /* "idx": what a source that was recognised is */
int64_t selfc_source_count(const SelfcSource *source);            /* samples; 0: this split does not exist */
uint32_t selfc_source_fields(const SelfcSource *source, const SelfcField **fields);
/* The field called `name`; "image" and "value" both stand for the first field, a sample itself. -1 after selfc_fail. */
int selfc_source_field(const SelfcSource *source, const char *name);
/* The name of the file that a sample came from; NULL: it has none of its own. Lives as long as the source. Once loaded,
 * for a picture that is broken that of the one in its place, and it may have to be decoded to know that. */
const char *selfc_source_name(const SelfcSource *source, int64_t index);
/* Once loaded, which sample is gathered for this one: itself, or if its picture is broken, which may have to be decoded to
 * know that, the next whole one. -1: none. */
int64_t selfc_source_stand_in(const SelfcSource *source, int64_t index);
/* Where the classes have names, how many there are (else 0), and the name of one (else NULL). */
int64_t selfc_source_classes(const SelfcSource *source);
const char *selfc_source_class(const SelfcSource *source, int64_t label);
/* What is too long for a sample and therefore cut or left out, for a note: "FILE: 412 of 9000 lines …"; NULL: nothing.
 * Lives as long as the source. */
const char *selfc_source_cut(const SelfcSource *source);
/* Copies field `field` of the samples index[0..n) to out, dense; zeros for numbers outside of the data
 * set. Thread-safe. A picture that is broken is replaced by the next whole one. */
void selfc_source_gather(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out);
/* The same without a look at the pictures where the field does not need one: of a broken picture what it should have. */
void selfc_source_gather_listed(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out);

/* text_characters.c: a tokenizer whose tokens are the characters of the training text at a path, which is read as a
 * source with this unit would. NULL after selfc_fail. */
SelfcTokenizer *selfc_text_characters(const char *path, const char *unit);

/* text_words.c: counts the words of the text file, or of the training texts in the folder, at a path; of JSON lines those
 * of questions and contexts. 0, or -1 after selfc_fail. */
typedef struct SelfcWords SelfcWords; /* runtime/text/tokenizer.h */
int selfc_text_words(SelfcWords *words, const char *path);

/* A permutation of 0..count-1 that depends on (seed, epoch) alone. */
void selfc_shuffle(int32_t *order, int64_t count, uint64_t seed, int64_t epoch);

/* npy.c */
typedef struct {
    SelfcTensor tensor;       /* dims fixed */
    void *data;               /* owned: free() */
} SelfcArray;
int selfc_npy_read(const char *path, SelfcArray *array);          /* 0, or -1 after selfc_fail */
int selfc_npy_write(const char *path, const SelfcTensor *tensor, const void *data, int64_t n);

/* safetensors.c */
typedef struct {
    char *name;
    SelfcTensor tensor;
    const void *data;         /* into the file's bytes */
} SelfcEntry;
typedef struct {
    SelfcEntry *entries;
    uint32_t count;
    char *metadata_json;      /* "{…}" of __metadata__, or NULL */
    void *bytes;
    size_t size;
} SelfcTensors;
int selfc_safetensors_read(const char *path, SelfcTensors *tensors); /* 0, or -1 after selfc_fail */
int selfc_safetensors_parse(const void *bytes, size_t size, const char *name, SelfcTensors *tensors); /* copies bytes */
void selfc_safetensors_free(SelfcTensors *tensors);
const SelfcEntry *selfc_safetensors_find(const SelfcTensors *tensors, const char *name); /* NULL: none */
/* The value of a key of __metadata__, as text; free(). NULL: none. */
char *selfc_safetensors_metadata(const SelfcTensors *tensors, const char *key);
typedef struct {
    const char *name;
    const SelfcTensor *tensor; /* fixed dims */
    const void *data;
} SelfcWrite;
/* metadata: key, value, key, value, …, NULL; may be NULL. */
int selfc_safetensors_write(const char *path, const SelfcWrite *entries, uint32_t count, const char *const *metadata);

/* file.c */
int selfc_file_read(const char *path, void **bytes, size_t *size);          /* whole file; free() */
int selfc_file_replace(const char *path, const void *bytes, size_t size);   /* write, fsync, rename, fsync folder */
int selfc_make_folders(const char *path);

/* png.c: 8-bit grey (channels 1) or RGB (3). */
int selfc_png_write(const char *path, const uint8_t *pixels, int width, int height, int channels);
int selfc_png_encode(const uint8_t *pixels, int width, int height, int channels, void **bytes, size_t *size); /* free() */
#endif
