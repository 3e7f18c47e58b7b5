/* The graph: types, sharing, builders, and every type rule, both what it accepts and what it refuses.
 *
 * Rules are tested through texts, as a person would write them. An operation of the table without a case of each
 * kind fails the test. */
#include "ir/build.h"
#include "ir/strided.h"
#include "ir/text.h"
#include "tests/test_ir_expect.h"

#include <stdlib.h>
#include <string.h>

/* One operation on inputs of these types. why: a part of the message; NULL: the result must be accepted. */
typedef struct {
    const char *types[MAX_INPUTS], *operation, *result, *why;
} Case;

/* The text of a window of %0; of an unwindow with "un" before it. */
#define WINDOW(stride, dilation, before, value) \
    "window %0, stride=" stride " dilation=" dilation " before=" before " value=" value

/* Of attention: q, k, v, norm, then count, key, sample, dy, delta. */
#define HEADS "f32[n,5,2,8]", "f32[n,7,2,8]", "f32[n,7,2,8]", "f32[n,5,2]"
#define GRADIENT(delta) "i32[n]", "i32[3]", "i32[n]", "f32[n,5,2,8]", delta
#define NORM(scale) "attention_norm %0, %1, %2, scale=" scale " causal=1"
#define ATTENTION(rate) "attention %0, %1, %2, %3, %4, %5, %6, scale=1 causal=0 rate=" rate " stream=5"
#define ATTENTION_GRADIENT(what) \
    "attention_" what " %0, %1, %2, %3, %4, %5, %6, %7, %8, scale=1 causal=0 rate=0.1 stream=5"

static const Case cases[] = {
    {{"f32[2,n]"}, "neg %0", "f32[2,n]", NULL},
    {{"u8[2]"}, "neg %0", "u8[2]", "must be f32, i32 or i64, but one is u8[2]; cast it first"},
    {{"f32[2]"}, "neg %0", "f32[3]", "the type that follows from the inputs is f32[2]"},
    {{"i64[]"}, "abs %0", "i64[]", NULL},
    {{"bool[]"}, "abs %0", "bool[]", "must be f32, i32 or i64"},
    {{"i32[3]"}, "sign %0", "i32[3]", NULL},
    {{"f16[3]"}, "sign %0", "f16[3]", "one is f16[3]"},
    {{"f32[3]"}, "floor %0", "f32[3]", NULL},
    {{"i32[3]"}, "floor %0", "i32[3]", "must be f32, but one is i32[3]"},
    {{"f32[3]"}, "exp %0", "f32[3]", NULL},
    {{"i32[3]"}, "exp %0", "i32[3]", "must be f32"},
    {{"f32[3]"}, "log %0", "f32[3]", NULL},
    {{"bf16[3]"}, "log %0", "bf16[3]", "must be f32"},
    {{"f32[3]"}, "sqrt %0", "f32[3]", NULL},
    {{"i32[3]"}, "sqrt %0", "f32[3]", "must be f32"},
    {{"f32[3]"}, "tanh %0", "f32[3]", NULL},
    {{"i32[3]"}, "tanh %0", "f32[3]", "must be f32"},
    {{"f32[3]"}, "sigmoid %0", "f32[3]", NULL},
    {{"i8[3]"}, "sigmoid %0", "f32[3]", "must be f32"},
    {{"f32[3]"}, "erf %0", "f32[3]", NULL},
    {{"i32[3]"}, "erf %0", "f32[3]", "must be f32"},
    {{"f32[3]"}, "sin %0", "f32[3]", NULL},
    {{"i32[3]"}, "sin %0", "f32[3]", "must be f32"},
    {{"f32[3]"}, "cos %0", "f32[3]", NULL},
    {{"i32[3]"}, "cos %0", "f32[3]", "must be f32"},
    {{"bool[3]"}, "not %0", "bool[3]", NULL},
    {{"f32[3]"}, "not %0", "f32[3]", "must be bool, i32 or i64"},
    {{"u8[n,3]"}, "cast %0", "bf16[n,3]", NULL},
    {{"u8[n,3]"}, "cast %0", "f32[3]", "the type that follows from the inputs is f32[n,3]"},
    {{"bf16[2]"}, "stop_gradient %0", "bf16[2]", NULL},
    {{"bf16[2]"}, "stop_gradient %0", "f32[2]", "follows from the inputs is bf16[2]"},
    {{"f32[2,3]", "f32[2,3]"}, "add %0, %1", "f32[2,3]", NULL},
    {{"f32[2,3]", "f32[3,2]"}, "add %0, %1", "f32[2,3]", "must have one type, but are f32[2,3] and f32[3,2]"},
    {{"f32[2]", "i32[2]"}, "add %0, %1", "f32[2]", "must have one type"},
    {{"f32[n]", "f32[2]"}, "add %0, %1", "f32[n]", "must have one type"},
    {{"i64[2]", "i64[2]"}, "sub %0, %1", "i64[2]", NULL},
    {{"i8[2]", "i8[2]"}, "sub %0, %1", "i8[2]", "must be f32, i32 or i64"},
    {{"i32[]", "i32[]"}, "mul %0, %1", "i32[]", NULL},
    {{"f32[]", "f32[1]"}, "mul %0, %1", "f32[]", "must have one type"},
    {{"f32[]", "f32[]"}, "div %0, %1", "f32[]", NULL},
    {{"i32[]", "i32[]"}, "div %0, %1", "i32[]", "must be f32"},
    {{"f32[2]", "f32[2]"}, "max %0, %1", "f32[2]", NULL},
    {{"f32[2]", "f32[1]"}, "max %0, %1", "f32[2]", "must have one type"},
    {{"i32[2]", "i32[2]"}, "min %0, %1", "i32[2]", NULL},
    {{"bool[2]", "bool[2]"}, "min %0, %1", "bool[2]", "must be f32, i32 or i64"},
    {{"f32[2]", "f32[2]"}, "less %0, %1", "bool[2]", NULL},
    {{"f32[2]", "f32[2]"}, "less %0, %1", "f32[2]", "follows from the inputs is bool[2]"},
    {{"i32[2]", "i32[2]"}, "equal %0, %1", "bool[2]", NULL},
    {{"i32[2]", "f32[2]"}, "equal %0, %1", "bool[2]", "must have one type"},
    {{"bool[2]", "bool[2]"}, "and %0, %1", "bool[2]", NULL},
    {{"bool[2]", "i32[2]"}, "and %0, %1", "bool[2]", "must have one type"},
    {{"i32[2]", "i32[2]"}, "or %0, %1", "i32[2]", NULL},
    {{"f32[2]", "f32[2]"}, "or %0, %1", "f32[2]", "must be bool, i32 or i64"},
    {{"i64[2]", "i64[2]"}, "xor %0, %1", "i64[2]", NULL},
    {{"u8[2]", "u8[2]"}, "xor %0, %1", "u8[2]", "must be bool, i32 or i64"},
    {{"i32[2]", "i32[2]"}, "shift_left %0, %1", "i32[2]", NULL},
    {{"bool[2]", "bool[2]"}, "shift_left %0, %1", "bool[2]", "must be i32 or i64"},
    {{"i64[2]", "i64[2]"}, "shift_right %0, %1", "i64[2]", NULL},
    {{"i64[2]", "i32[2]"}, "shift_right %0, %1", "i64[2]", "must have one type"},
    {{"bool[2]", "u8[2]", "u8[2]"}, "select %0, %1, %2", "u8[2]", NULL},
    {{"i32[2]", "f32[2]", "f32[2]"}, "select %0, %1, %2", "f32[2]", "the condition must be bool, not i32[2]"},
    {{"bool[2]", "f32[2]", "i32[2]"}, "select %0, %1, %2", "f32[2]", "both choices must have one type"},
    {{"bool[1]", "f32[2]", "f32[2]"}, "select %0, %1, %2", "f32[2]", "must have the shape of the choices"},
    {{"f32[1,3,1]"}, "broadcast %0", "f32[n,3,4]", NULL},
    {{"f32[2,3]"}, "broadcast %0", "f32[4,3]", "only axes of size 1 can be repeated, but axis 0"},
    {{"f32[3]"}, "broadcast %0", "f32[4,3]", "must have equally many axes"},
    {{"f32[1]"}, "broadcast %0", "i32[4]", "the result's elements are f32"},
    {{"f32[n,6]"}, "reshape %0", "f32[2n,3]", NULL},
    {{"f32[]"}, "reshape %0", "f32[1,1]", NULL},
    {{"f32[n,6]"}, "reshape %0", "f32[12]", "f32[n,6] has 6n elements, but f32[12] has 12"},
    {{"f32[6]"}, "reshape %0", "f32[5]", "has 6 elements, but f32[5] has 5"},
    {{"f32[2,3,n]"}, "transpose %0, permutation=2,0,1", "f32[n,2,3]", NULL},
    {{"f32[]"}, "transpose %0, permutation=", "f32[]", NULL},
    {{"f32[2,3]"}, "transpose %0, permutation=0,0", "f32[2,2]", "must name each of the 2 axes"},
    {{"f32[2,3]"}, "transpose %0, permutation=0,2", "f32[2,2]", "must name each of the 2 axes"},
    {{"f32[2,3]"}, "transpose %0, permutation=0", "f32[2,3]", "each of the 2 axes needs a number, but 1 stand there"},
    {{"f32[10]"}, "slice %0, start=1 step=3", "f32[3]", NULL},
    {{"f32[10]"}, "slice %0, start=9 step=-3", "f32[4]", NULL},
    {{"f32[2n]"}, "slice %0, start=1 step=2", "f32[n]", NULL},
    {{"f32[n]"}, "slice %0, start=0 step=1", "f32[1]", NULL},
    {{"f32[10]"}, "slice %0, start=1 step=3", "f32[4]", "axis 0 has 10 elements: 4 from 1 in steps of 3"},
    {{"f32[10]"}, "slice %0, start=9 step=-3", "f32[5]", "do not lie inside"},
    {{"f32[10]"}, "slice %0, start=-1 step=1", "f32[2]", "do not lie inside"},
    {{"f32[10]"}, "slice %0, start=10 step=-1", "f32[2]", "do not lie inside"},
    {{"f32[10]"}, "slice %0, start=0 step=0", "f32[2]", "the step of axis 0 must not be 0"},
    {{"f32[10]"}, "slice %0, start=0 step=1", "f32[n]", "do not lie inside"},
    {{"f32[n]"}, "slice %0, start=1 step=1", "f32[n]", "do not lie inside"},
    {{"f32[n]"}, "slice %0, start=0 step=1", "f32[2]", "do not lie inside"},
    {{"f32[10]"}, "slice %0, start=9223372036854775807 step=9223372036854775807", "f32[3]", "do not lie inside"},
    {{"f32[10]"}, "slice %0, start=0 step=-9223372036854775808", "f32[3]", "do not lie inside"},
    {{"f32[2,n]"}, "pad %0, before=1,0 value=-inf", "f32[4,2n]", NULL},
    {{"f32[2]"}, "pad %0, before=2 value=0", "f32[3]", "axis 0: 2 and 2 elements do not fit into 3"},
    {{"f32[2]"}, "pad %0, before=-1 value=0", "f32[3]", "before is -1, but must not be negative"},
    {{"f32[n]"}, "pad %0, before=1 value=0", "f32[n]", "do not fit into n"},
    {{"f32[n]"}, "pad %0, before=0 value=0", "f32[9]", "do not fit into 9"},
    {{"f32[2]"}, "pad %0, before=9223372036854775807 value=0", "f32[9]", "do not fit into 9"},
    {{"i8[2]"}, "pad %0, before=0 value=200", "i8[3]", "an element of type i8 cannot be 200"},
    {{"f32[2,3]", "f32[2,4]"}, "concat %0, %1, axis=1", "f32[2,7]", NULL},
    {{"f32[n]", "f32[2n]"}, "concat %0, %1, axis=0", "f32[3n]", NULL},
    {{"f32[2,3]", "f32[2,4]"}, "concat %0, %1, axis=0", "f32[4,3]", "may differ in axis 0 only"},
    {{"f32[2]", "f32[n]"}, "concat %0, %1, axis=0", "f32[3]", "must depend on the batch n in both or in neither"},
    {{"f32[2]", "i32[2]"}, "concat %0, %1, axis=0", "f32[4]", "must have one element type"},
    {{"u8[2,3,4]", "i32[2,7,4]"}, "gather %0, %1, axis=1", "u8[2,7,4]", NULL},
    {{"f32[n,3]", "i32[n,5]"}, "gather %0, %1, axis=1", "f32[n,5]", NULL},
    {{"f32[2,3]", "f32[2,3]"}, "gather %0, %1, axis=1", "f32[2,3]", "positions are i32, not f32"},
    {{"f32[2,3]", "i32[3]"}, "gather %0, %1, axis=1", "f32[3]", "must have equally many axes"},
    {{"f32[2,3]", "i32[3,3]"}, "gather %0, %1, axis=1", "f32[3,3]", "may differ in axis 1 only"},
    {{"f32[2]", "i32[2]"}, "gather %0, %1, axis=1", "f32[2]", "f32[2] has no axis 1"},
    {{"f32[5,3]", "i32[2n,3]"}, "gather %0, %1, axis=0", "f32[2n,3]", NULL},
    {{"f32[n,3]", "i32[n,3]"}, "gather %0, %1, axis=0", "f32[n,3]", "must not depend on the batch n"},
    {{"f32[7,3]", "i32[2n,3]"}, "gather %0, %1, axis=0", "f32[2n,3]", NULL},
    {{"f32[7,3]", "i32[2,3]", "f32[2,3]"}, "scatter_add %0, %1, %2, axis=0", "f32[7,3]", NULL},
    {{"i64[7,3]", "i32[n,3]", "i64[n,3]"}, "scatter_add %0, %1, %2, axis=0", "i64[7,3]", NULL},
    {{"u8[7]", "i32[2]", "u8[2]"},
     "scatter_add %0, %1, %2, axis=0",
     "u8[7]",
     "must be f32, i32 or i64, but one is u8[7]"},
    {{"f32[7]", "i64[2]", "f32[2]"}, "scatter_add %0, %1, %2, axis=0", "f32[7]", "positions are i32, not i64"},
    {{"f32[7,3]", "i32[2,3]", "f32[2,2]"},
     "scatter_add %0, %1, %2, axis=0",
     "f32[7,3]",
     "must be f32[2,3], one for each position"},
    {{"f32[7,3]", "i32[2,2]", "f32[2,2]"}, "scatter_add %0, %1, %2, axis=0", "f32[7,3]", "may differ in axis 0 only"},
    {{"f32[n]", "i32[n]", "f32[n]"}, "scatter_add %0, %1, %2, axis=0", "f32[n]", "must not depend on the batch n"},
    {{"f32[]", "f32[]"}, "concat %0, %1, axis=0", "f32[2]", "f32[] has no axis 0"},
    {{"f32[n,7,5,1,1,3]"}, WINDOW("2,1", "1,2", "1,-1", "-inf"), "f32[n,4,9,3,2,3]", NULL},
    {{"i8[1,7,5,3,1,2]"}, WINDOW("1,1", "1,1", "0,0", "-128"), "i8[1,5,4,3,2,2]", NULL},
    {{"f32[1,7,5,3]"}, WINDOW("1,1", "1,1", "0,0", "0"), "f32[1,5,4,3,2,2]", "input and result must have the axes"},
    {{"f32[1,n,5,1,1,3]"}, WINDOW("1,1", "1,1", "0,0", "0"), "f32[1,5,4,3,2,3]", "only the first axis may depend"},
    {{"f32[2,7,5,1,1,3]"}, WINDOW("1,1", "1,1", "0,0", "0"), "f32[1,5,4,3,2,3]", "the first and the last axis of"},
    {{"f32[2,7,5,1,1,3]"}, WINDOW("1,1", "1,1", "0,0", "0"), "f32[2,5,4,3,2,4]", "the first and the last axis of"},
    {{"f32[1,7,5,2,1,3]"},
     WINDOW("1,1", "1,1", "0,0", "0"),
     "f32[1,5,4,3,2,3]",
     "axis 3 of f32[1,7,5,2,1,3] must have"},
    {{"f32[1,7,5,1,1,3]"}, WINDOW("1,0", "1,1", "0,0", "0"), "f32[1,5,4,3,2,3]", "the stride of the width is 0"},
    {{"f32[1,7,5,1,1,3]"}, WINDOW("1,1", "-1,1", "0,0", "0"), "f32[1,5,4,3,2,3]", "the dilation of the height is -1"},
    {{"f32[1,7,5,1,1,3]"}, WINDOW("1,9223372036854775807", "1,1", "0,0", "0"), "f32[1,5,4,3,2,3]", "the width is left"},
    {{"f32[1,7,5,1,1,3]"}, WINDOW("1,1", "1,1", "-9223372036854775808,0", "0"), "f32[1,5,4,3,2,3]", "height is left"},
    {{"f32[1,7,5,1,1,3]"}, WINDOW("1", "1,1", "0,0", "0"), "f32[1,5,4,3,2,3]", "stride needs two numbers"},
    {{"f32[1,7,5,1,1,3]"}, WINDOW("1,1", "1,1", "0,0", "0"), "i32[1,5,4,3,2,3]", "the result's elements are f32"},
    {{"u8[1,7,5,1,1,3]"}, WINDOW("1,1", "1,1", "0,0", "-1"), "u8[1,5,4,3,2,3]", "an element of type u8 cannot be -1"},
    {{"f32[n,4,9,3,2,3]"}, "un" WINDOW("2,1", "1,2", "1,-1", "0"), "f32[n,7,5,3,2,3]", NULL},
    {{"f32[1,4,9,3,2,3]"}, "un" WINDOW("1,1", "1,1", "0,0", "0"), "f32[1,7,5,1,2,3]", "axis 3 of f32[1,4,9,3,2,3]"},
    {{"f32[1,4,9,3,2,3]"}, "un" WINDOW("1,1", "1,1", "0,0", "1"), "f32[1,7,5,3,2,3]", "the value must be 0"},
    {{"f32[1,4,9,3,2,3]"}, "un" WINDOW("1,1", "1,1", "0,0", "0"), "f32[2,7,5,3,2,3]", "the first and the last axis"},
    {{"f32[2,3,n]"}, "sum %0, axes=0,2", "f32[1,3,1]", NULL},
    {{"f32[2,3]"}, "sum %0, axes=2", "f32[2,3]", "f32[2,3] has no axis 2"},
    {{"f32[2,3]"}, "sum %0, axes=", "f32[2,3]", "at least one axis must be named"},
    {{"bool[2]"}, "sum %0, axes=0", "bool[1]", "must be f32, i32 or i64"},
    {{"i32[2]"}, "reduce_max %0, axes=0", "i32[1]", NULL},
    {{"i32[2]"}, "reduce_max %0, axes=5", "i32[1]", "i32[2] has no axis 5"},
    {{"f32[n,16,3,16]"}, "argmax %0, axes=1,3", "u8[n,1,3,1]", NULL},
    {{"f32[n,16,3,16]"}, "argmax %0, axes=1,2,3", "u8[n,1,1,1]", "must have at most 256 places"},
    {{"f32[n,3]"}, "argmax %0, axes=0", "u8[1,3]", "must have at most 256 places"},
    {{"f32[n,3]"}, "argmax %0, axes=1", "f32[n,1]", "u8[n,1]"},
    {{"bool[3]"}, "argmax %0, axes=0", "u8[1]", "must be f32, i32 or i64"},
    {{"f32[5,n,3]", "f32[5,3,4]"}, "matmul %0, %1", "f32[5,n,4]", NULL},
    {{"f32[n,3]", "f32[3,2n]"}, "matmul %0, %1", "f32[n,2]", "only one axis may depend on the batch n"},
    {{"f32[2,3]", "f32[2,3]"}, "matmul %0, %1", "f32[2,3]", "columns of f32[2,3] must be as many as the rows"},
    {{"f32[3]", "f32[3]"}, "matmul %0, %1", "f32[]", "must have equally many axes, at least two"},
    {{"f32[4,2,3]", "f32[5,3,2]"}, "matmul %0, %1", "f32[4,2,2]", "leading axes"},
    {{"i32[2,3]", "i32[3,2]"}, "matmul %0, %1", "i32[2,2]", "must be f32"},
    {{"f32[1,1]", "f32[7]"}, "gradient %0, %1", "f32[7]", NULL},
    {{"f32[2]", "f32[7]"},
     "gradient %0, %1",
     "f32[7]",
     "only the derivative of one element can be taken, not of f32[2]"},
    {{"f32[n]"}, "input 1 \"y\" data", "f32[n]", NULL},
    {{"f32[n]"}, "input 0 \"y\" data", "f32[n]", "input 0 is already there"},
    {{"f32[n]"}, "input 1 \"y\" parameter", "f32[n]", "a parameter or state may not depend on the batch n"},
    {{NULL}, "constant value=0.1", "f32[n,2]", NULL},
    {{NULL}, "constant value=-128", "i8[2]", NULL},
    {{NULL}, "constant value=-129", "i8[2]", "an element of type i8 cannot be -129"},
    {{NULL}, "constant value=0.5", "i32[]", "an element of type i32 cannot be 0.5"},
    {{NULL}, "constant value=nan", "i64[]", "an element of type i64 cannot be nan"},
    {{NULL}, "constant value=1e30", "i64[]", "an element of type i64 cannot be"},
    {{NULL}, "constant value=2", "bool[]", "an element of type bool cannot be 2"},
    {{NULL}, "iota axis=1", "i32[2,n]", NULL},
    {{NULL}, "iota axis=2", "i32[2,n]", "i32[2,n] has no axis 2"},
    {{NULL}, "iota axis=0", "u8[2]", "positions are f32, i32 or i64, not u8"},
    {{"i32[3]", "i32[n]"}, "random %0, %1, stream=4294967295 word=3", "i32[n,4]", NULL},
    {{"i32[3]", "i32[1]"}, "random %0, %1, stream=0 word=0", "i32[]", NULL},
    {{"i32[2]", "i32[1]"}, "random %0, %1, stream=0 word=0", "i32[5]", "the key must be i32[3]"},
    {{"i32[3]", "i32[4]"}, "random %0, %1, stream=0 word=0", "i32[5]", "the sample must be i32[1] or as long as"},
    {{"i32[3]", "i32[1]"}, "random %0, %1, stream=0 word=0", "f32[5]", "random bits are i32, not f32"},
    {{"i32[3]", "i32[1]"}, "random %0, %1, stream=0 word=4", "i32[5]", "expected a whole number from 0 to 3"},
    {{"f32[n,5,2,8]", "f32[n,7,2,8]", "i32[n]"}, NORM("0.5"), "f32[n,5,2]", NULL},
    {{"f32[3,5,2,8]", "f32[3,7,2,8]", "i32[1]"}, NORM("-1"), "f32[3,5,2]", NULL},
    {{"f32[n,5,16]", "f32[n,7,16]", "i32[1]"}, NORM("1"), "f32[n,5,2]", "the axes [sample, position, head, width]"},
    {{"f32[5,n,2,8]", "f32[5,7,2,8]", "i32[1]"}, NORM("1"), "f32[5,n,2]", "only the first axis may depend"},
    {{"f32[n,5,2,8]", "f32[n,7,2,4]", "i32[1]"}, NORM("1"), "f32[n,5,2]", "but for the number of positions, not"},
    {{"f32[n,5,2,8]", "f32[n,7,2,8]", "i32[2]"}, NORM("1"), "f32[n,5,2]", "the count must be i32[1] or i32[n]"},
    {{"f32[n,5,2,8]", "f32[n,7,2,8]", "i32[n]"}, NORM("inf"), "f32[n,5,2]", "scale is inf, but must be finite"},
    {{HEADS, "i32[n]", "i32[3]", "i32[n]"}, ATTENTION("0.1"), "f32[n,5,2,8]", NULL},
    {{HEADS, "i32[1]", "i32[3]", "i32[1]"}, ATTENTION("1"), "f32[n,5,2,8]", "rate is 1, but must be"},
    {{HEADS, "i32[1]", "i32[2]", "i32[1]"}, ATTENTION("0"), "f32[n,5,2,8]", "the key must be i32[3]"},
    {{HEADS, "i32[1]", "i32[3]", "i32[7]"}, ATTENTION("0"), "f32[n,5,2,8]", "the sample must be i32[1] or"},
    {{"f32[n,5,2,8]", "f32[n,7,2,8]", "f32[n,5,2,8]", "f32[n,5,2]", "i32[1]", "i32[3]", "i32[1]"},
     ATTENTION("0"),
     "f32[n,5,2,8]",
     "the values must be f32[n,7,2,8]"},
    {{"f32[n,5,2,8]", "f32[n,7,2,8]", "f32[n,7,2,8]", "f32[n,2,5]", "i32[1]", "i32[3]", "i32[1]"},
     ATTENTION("0"),
     "f32[n,5,2,8]",
     "the norm must be f32[n,5,2]"},
    {{HEADS, GRADIENT("f32[n,5,2]")}, ATTENTION_GRADIENT("dq"), "f32[n,5,2,8]", NULL},
    {{HEADS, GRADIENT("f32[n,5,2,1]")}, ATTENTION_GRADIENT("dq"), "f32[n,5,2,8]", "delta must be f32[n,5,2]"},
    {{HEADS, GRADIENT("f32[n,5,2]")}, ATTENTION_GRADIENT("dk"), "f32[n,7,2,8]", NULL},
    {{HEADS, GRADIENT("f32[n,5,2]")}, ATTENTION_GRADIENT("dk"), "f32[n,5,2,8]", "from the inputs is f32[n,7,2,8]"},
    {{HEADS, GRADIENT("f32[n,5,2]")}, ATTENTION_GRADIENT("dv"), "f32[n,7,2,8]", NULL},
    {{HEADS, GRADIENT("i32[n,5,2]")}, ATTENTION_GRADIENT("dv"), "f32[n,7,2,8]", "delta must be f32[n,5,2]"},
};

static char *case_text(const Case *test, Arena *arena) {
    char *text = arena_copy(arena, "");
    uint32_t count = 0;
    for (; count < MAX_INPUTS && test->types[count]; count++)
        text = arena_printf(arena, "%s%%%u = input %u \"in%u\" data : %s\n", text, count, count, count,
                            test->types[count]);
    return arena_printf(arena, "%s%%%u = %s : %s\n", text, count, test->operation, test->result);
}

static void test_rules(void) {
    bool accepted[OP_COUNT] = {0}, refused[OP_COUNT] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *test = &cases[i];
        Arena *arena = arena_new();
        Diag diag;
        diag_init(&diag);
        char *text = case_text(test, arena), *name = arena_copy(arena, test->operation);
        name[strcspn(name, " ")] = '\0';
        OpKind op;
        if (EXPECT(op_find(name, &op))) *(test->why ? &refused[op] : &accepted[op]) = true;
        Graph *graph = graph_parse(text, "case", &diag);
        const char *said = diag.text ? diag.text : "";
        if (test->why)
            EXPECT_THAT(!graph && strstr(said, test->why), "%swants: %s\nsays: %s", text, test->why, said);
        else
            EXPECT_THAT(graph && !diag.errors && graph_verify(graph, stdout), "%ssays: %s", text, said);
        graph_free(graph);
        diag_free(&diag);
        arena_free(arena);
    }
    for (int op = 0; op < OP_COUNT; op++) {
        EXPECT_THAT(accepted[op], "%s: no case that is accepted", op_info[op].name);
        EXPECT_THAT(refused[op], "%s: no case that is refused", op_info[op].name);
    }
}

static Type parsed(const char *text) {
    Type type;
    EXPECT_THAT(type_parse(&text, &type), "%s", text);
    return type;
}

static void test_types(void) {
    static const char *const good[] = {"f32[]", "u8[n]", "f32[4n,7]", "bool[1,2,3,4,5,6]", "bf16[281474976710656]"};
    static const char *const bad[] = {"f32",
                                      "f32[",
                                      "f32[0]",
                                      "f32[2,]",
                                      "f32[-1]",
                                      "f33[2]",
                                      "f32[n,n]",
                                      "f32[1,2n,3n]",
                                      "f32[2 ]",
                                      "f32[1,1,1,1,1,1,1]",
                                      "f32[nn]",
                                      "f32[0n]",
                                      "f32[281474976710657]",
                                      "f32[99999999999999999999]",
                                      "f32[16777216,16777217,2]"};
    char buffer[128];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        EXPECT(!strcmp(type_print(parsed(good[i]), buffer), good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *text = bad[i];
        Type type;
        EXPECT_THAT(!type_parse(&text, &type) && text == bad[i], "%s is taken for a type", bad[i]);
    }
    Type wide = {.dtype = DTYPE_bool, .rank = 6};
    for (int i = 0; i < 6; i++) wide.dim[i] = INT64_MIN + 1;
    EXPECT(strlen(type_print(wide, buffer)) < 128);
    EXPECT(type_elements(parsed("f32[3,2n,4]")) == -24);
    EXPECT(type_bytes_at(parsed("bf16[3,2n]"), 5) == 60);
    EXPECT(dim_at(-3, 7) == 21 && dim_at(3, 7) == 3);
    EXPECT(extent_at((Extent){10, 3}, 7) == 31);
    EXPECT(type_has_batch(parsed("f32[2,n]")) && !type_has_batch(parsed("f32[2]")));
    EXPECT(!type_equal(parsed("f32[2]"), parsed("i32[2]")) && shape_equal(parsed("f32[2]"), parsed("i32[2]")));
}

static void test_sharing(void) {
    Graph *g = graph_new("sharing");
    Type type = type_make(DTYPE_f32, 2, (Dim[]){2, 3});
    NodeId x = build_input(g, "x", INPUT_data, type, (Init){0});
    g->origin = "first";
    NodeId a = build_binary(g, OP_add, x, x);
    g->origin = "second";
    EXPECT(build_binary(g, OP_add, x, x) == a && !strcmp(g->nodes[a].origin, "first"));
    EXPECT(build_binary(g, OP_mul, x, x) != a);
    EXPECT(build_constant(g, type, 0.0) != build_constant(g, type, -0.0));
    EXPECT(build_constant(g, type, __builtin_nan("")) == build_constant(g, type, -__builtin_nan("7")));

    Node node = {.op = OP_sum, .in = {x, 77, 88}, .type = {.rank = 9}}; /* what does not count is not looked at */
    memset(&node.attr, 0xAB, sizeof node.attr);
    node.attr.axes = 1;
    EXPECT(graph_add(g, node) == build_sum(g, x, 1));
    for (uint32_t i = 0; i < 3000; i++) build_constant(g, type, i);
    uint32_t count = g->count;
    for (uint32_t i = 0; i < 3000; i++) build_constant(g, type, i);
    EXPECT(g->count == count);
    EXPECT(graph_verify(g, stdout));

    const char *why = NULL;
    EXPECT(graph_try_add(g, (Node){.op = OP_add, .in = {x, g->count}}, &why) == NO_NODE && why);
    EXPECT(graph_try_add(g, (Node){.op = (OpKind)OP_COUNT}, &why) == NO_NODE);
    EXPECT(g->count == count);
    graph_free(g);
    graph_free(NULL);
}

static void test_copies(void) {
    Graph *from = graph_new("copy"), *to = graph_new(NULL);
    Type type = type_make(DTYPE_f32, 1, (Dim[]){4});
    from->origin = "layers[1]";
    NodeId w = build_input(from, "w", INPUT_parameter, type, (Init){INIT_uniform, -1, 1});
    NodeId next = build_unary(from, OP_tanh, w);
    graph_add_output(from, "w", next, 0);
    graph_copy_inputs(to, from);
    NodeId new_id[2];
    for (NodeId id = 0; id < from->count; id++) new_id[id] = graph_copy_node(to, &from->nodes[id], new_id);
    graph_copy_outputs(to, from, new_id);
    uint32_t *users = graph_count_users(from, from->arena);
    EXPECT(users[w] == 1 && users[next] == 1);
    Arena *arena = arena_new();
    char *text = graph_text(from, arena);
    graph_free(from); /* the copy owns its texts */
    EXPECT(!strcmp(text, graph_text(to, arena)));
    arena_free(arena);
    graph_free(to);
}

/* Adding may move the nodes: the id has to be known before graph->nodes is looked at. */
static Type type_of(const Graph *g, NodeId id) { return g->nodes[id].type; }

static void test_builders(void) {
    Graph *g = graph_new("builders");
    char buffer[128];
    const char *why = NULL;
    NodeId a = build_input(g, "a", INPUT_data, parsed("f32[4,1,3]"), (Init){0});
    NodeId b = build_input(g, "b", INPUT_data, parsed("f32[n,1]"), (Init){0});
    NodeId c = build_input(g, "c", INPUT_data, parsed("f32[2,3]"), (Init){0});
    NodeId x = a, y = b;
    EXPECT(build_broadcast_pair(g, &x, &y, &why));
    EXPECT(!strcmp(type_print(g->nodes[x].type, buffer), "f32[4,n,3]") &&
           type_equal(g->nodes[x].type, g->nodes[y].type));
    EXPECT(type_equal(type_of(g, build_sum_to(g, y, g->nodes[b].type)), g->nodes[b].type));
    EXPECT(type_equal(type_of(g, build_sum_to(g, x, g->nodes[a].type)), g->nodes[a].type));
    x = build_swap_last(g, c), y = c;
    EXPECT(!build_broadcast_pair(g, &x, &y, &why) && strstr(why, "f32[3,2] and f32[2,3] do not fit together"));
    x = b, y = build_input(g, "d", INPUT_data, parsed("f32[n]"), (Init){0});
    EXPECT(!build_broadcast_pair(g, &x, &y, &why) && strstr(why, "only one axis may depend on the batch"));
    EXPECT(build_sum(g, a, 0) == a && build_cast(g, a, DTYPE_f32) == a && build_broadcast(g, a, g->nodes[a].type) == a);
    EXPECT(!strcmp(type_print(type_of(g, build_drop_axes(g, a, 2)), buffer), "f32[4,3]"));
    EXPECT(build_swap_last(g, build_swap_last(g, c)) != NO_NODE && graph_verify(g, stdout));
    graph_free(g);
}

/* The report for a graph that was broken by hand must hold these words. */
static void expect_report(const Graph *graph, const char *words) {
    char *text = NULL;
    size_t size;
    FILE *report = open_memstream(&text, &size);
    bool good = graph_verify(graph, report);
    fclose(report);
    EXPECT_THAT(!good && strstr(text, words), "wants: %s\nsays: %s", words, text);
    free(text);
}

static void test_verify(void) {
    Graph *g = graph_new("verify");
    Type type = type_make(DTYPE_f32, 1, (Dim[]){4});
    build_input(g, "w", INPUT_parameter, type, (Init){0});
    NodeId x = build_input(g, "x", INPUT_data, type, (Init){0}), y = build_binary(g, OP_add, x, x);
    graph_add_output(g, "w", y, 0);
    EXPECT(graph_verify(g, stdout));

    graph_add_output(g, "w", y, 0);
    expect_report(g, "output 1 \"w\": this parameter or state is updated twice");
    g->outputs[1].updates = 1;
    expect_report(g, "data cannot be updated");
    g->outputs[1].updates = 2;
    expect_report(g, "there is no input that it could update");
    g->output_count = 1;
    g->nodes[y].in[1] = y;
    expect_report(g, "%2: add: an input does not come earlier");
    g->nodes[y].in[1] = x;
    g->nodes[y].in[2] = x;
    expect_report(g, "an input that the operation does not have is not 0");
    g->nodes[y].in[2] = 0;
    g->nodes[y].type.dim[0] = 5;
    expect_report(g, "the recorded type is not the one that follows");
    g->nodes[y].op = (OpKind)1000;
    expect_report(g, "there is no such operation");
    graph_free(g);
}

static void test_diag(void) {
    static const char *const names[] = {"dense", "conv2d", "relu", NULL};
    Diag diag;
    diag_init(&diag);
    diag_error(&diag, (Place){.file = "m.json", .text = "{\n\t\"\xC3\xA4\": \x1b 3}\n", .line = 2, .column = 8},
               "no %d", 3);
    diag_note(&diag, (Place){0}, "by the way");
    EXPECT(diag.errors == 1);
    EXPECT(!strcmp(diag.text, "m.json:2:8: error: no 3\n    \t\"\xC3\xA4\": ? 3}\n    \t     ^\nnote: by the way\n"));
    diag_free(&diag);

    char line[1001];
    memset(line, 'x', 1000);
    line[1000] = '\0';
    diag_error(&diag, (Place){.file = "f", .text = line, .line = 1, .column = 500}, "long");
    EXPECT(diag.size < 500 && strstr(diag.text, "...x"));
    diag_free(&diag);
    diag_error(&diag, (Place){.file = "f", .text = "a", .line = 7, .column = 500}, "behind the end");
    EXPECT(!strcmp(diag.text, "f:7:500: error: behind the end\n"));
    diag_free(&diag);

    EXPECT(!strcmp(diag_nearest("desne", names, 4), "dense"));
    EXPECT(!strcmp(diag_nearest("conv2", names, 4), "conv2d"));
    EXPECT(!strcmp(diag_nearest("avg_pool", (const char *[]){"max_pool", "average_pool"}, 2), "average_pool"));
    EXPECT(!diag_nearest("transformer", names, 4) && !diag_nearest("", names, 4) && !diag_nearest("x", names, 4));
}

static void test_arena(void) {
    Arena *arena = arena_new();
    char *last = NULL;
    for (size_t size = 0; size < 3000; size++) {
        char *memory = arena_alloc(arena, size);
        EXPECT((uintptr_t)memory % 16 == 0 && memory != last);
        for (size_t i = 0; i < size; i++)
            if (memory[i]) EXPECT(!"zeroed");
        memset(memory, 1, size);
        last = memory;
    }
    EXPECT(!arena_copy(arena, NULL));
    EXPECT(!strcmp(arena_printf(arena, "%d %s", 7, "x"), "7 x"));
    arena_free(arena);
    arena_free(NULL);
}

/* Repeated along axis 1, alone; after work on itself, over and over; and beside what differs there. */
static void test_same_along(void) {
    Graph *g = graph_new("same");
    Type type = type_make(DTYPE_i32, 2, (Dim[]){3, 5});
    NodeId row = build_input(g, "row", INPUT_data, type_make(DTYPE_i32, 2, (Dim[]){3, 1}), (Init){0});
    NodeId x = build_broadcast(g, row, type);
    EXPECT(strided_same_along(g, x, 1u << 1) && !strided_same_along(g, x, 1u << 0));
    for (int i = 0; i < 60; i++) x = build_binary(g, i % 2 ? OP_add : OP_xor, x, x);
    EXPECT(strided_same_along(g, x, ~0u << 1) && !strided_same_along(g, x, 3));
    NodeId across = build_iota(g, type, 1), down = build_iota(g, type, 0);
    EXPECT(!strided_same_along(g, build_binary(g, OP_add, x, across), 1u << 1));
    EXPECT(strided_same_along(g, build_binary(g, OP_add, x, down), 1u << 1));
    graph_free(g);
}

int main(void) {
    test_arena();
    test_diag();
    test_types();
    test_sharing();
    test_copies();
    test_builders();
    test_same_along();
    test_verify();
    test_rules();
    return check_result("graph");
}
