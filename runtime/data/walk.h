/* All files below a folder. Private to the runtime. */
#ifndef SELFC_RUNTIME_WALK_H
#define SELFC_RUNTIME_WALK_H
#include <stdbool.h>

/* `name` is the path from where the walk began. False ends the walk. */
typedef bool WalkFile(void *context, const char *path, const char *name);
/* Calls for each file below the folder but the hidden ones, in no order; false when a call was, or after selfc_fail. */
bool walk_files(const char *folder, WalkFile *on_file, void *context);
#endif
