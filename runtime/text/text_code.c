/* What built objects carry to read text, as one unit of which nothing need be seen from outside. When selfc is built, the
 * compiler turns it into assembly, and that text goes into each object with functions on text (backend/text.c). */
#include "runtime/text/row.c"
#include "runtime/text/tokenize.c"
