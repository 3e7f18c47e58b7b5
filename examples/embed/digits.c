/* Draws digits as text with the decoder of the example VAE, which is linked in as an object of its own: no library,
 * no file to read at run time. See README.md beside this file for how decoder.o and decoder.h are made. */
#include "decoder.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 3, COLUMNS = 4, SIDE = 28 };
_Static_assert(VAE_GENERATE_IMAGE_DIM1 == SIDE * SIDE, "pictures of 28x28");

int main(void) {
    static float z[ROWS * COLUMNS][VAE_GENERATE_Z_DIM1], image[ROWS * COLUMNS][SIDE][SIDE];
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        z[i][0] = -2.0f + 4.0f * (float)(i % COLUMNS) / (COLUMNS - 1);
        z[i][1] = -2.0f + 4.0f * (float)(i / COLUMNS) / (ROWS - 1);
    }
    void *workspace = malloc(VAE_GENERATE_WORKSPACE(ROWS * COLUMNS) + 1);
    int code = vae_generate(z[0], image[0][0], ROWS * COLUMNS, workspace);
    free(workspace);
    if (code) return code;
    /* A character is about twice as high as it is wide: two rows of pixels make one of text. */
    for (int line = 0; line < ROWS * SIDE; line += 2, putchar('\n'))
        for (int column = 0; column < COLUMNS * SIDE; column++) {
            float (*digit)[SIDE] = image[line / SIDE * COLUMNS + column / SIDE];
            float ink = (digit[line % SIDE][column % SIDE] + digit[line % SIDE + 1][column % SIDE]) / 2;
            putchar(" .:-=+*#%@"[(int)(ink * 9.99f)]);
        }
    return 0;
}
