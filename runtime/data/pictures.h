/* Which pictures stand in a folder, an archive or a list. Private to the runtime. */
#ifndef SELFC_RUNTIME_PICTURES_H
#define SELFC_RUNTIME_PICTURES_H
#include "runtime/data/data.h"
#include "runtime/data/packed.h"

#include <stdbool.h>

typedef struct {
    const char *name;           /* within the folder or archive, or as the list has it */
    const PackedMember *member; /* NULL: a file of its own */
    const char *class_name;     /* NULL: none */
    int32_t label;              /* -1: none */
} PictureFile;

enum { PICTURES_FOREIGN = 12 }; /* formats that are known by name only */
typedef struct TextBlock TextBlock;
typedef struct {
    char *root;         /* what names are relative to */
    Packed *packed;     /* NULL: files */
    PictureFile *files; /* of one split, in order; a folder's and an archive's by the bytes of their names */
    int64_t count, capacity;
    const char **names;   /* of the files */
    const char **classes; /* by the bytes of their names */
    int64_t class_count;
    const char *no_labels; /* why there are none; NULL: there are */
    /* What is left out, of all splits. */
    int64_t foreign[PICTURES_FOREIGN]; /* files of each of these formats */
    int64_t beside;                    /* pictures that stand beside the folders of the splits */
    TextBlock *texts;                  /* where the names are */
} PictureList;

/* Whether pictures stand at the path. Looks no further than the first. */
bool pictures_are_at(const char *path);
/* Finds the pictures of a split; a split that is not there has none. False after selfc_fail. */
bool pictures_find(PictureList *list, const char *path, SelfcSplit split);
void pictures_tell(const PictureList *list, const char *path); /* on stderr, what is left out */
void pictures_free(PictureList *list);
/* "data/cat/7.jpg", "photos.zip/cat/7.jpg": for messages, and to open what is no member. free(). */
char *pictures_path(const PictureList *list, int64_t file);
#endif
