/* The description language: what formulas are worth, how numbers are computed, which weights are shared, what
 * overrides change. What is said about mistakes is in tests/messages/. */
#include "passes/passes.h"
#include "tests/frontend_fixture.h"

#include <math.h>
#include <stdlib.h>

/* --- formulas over x = [[1,2,3],[4,5,6]], y = [[0.5],[-1]], l = [1,0], with n = 2, k = 3 --- */

typedef struct {
    const char *formula, *type;
    double expected[6];
} FormulaCase;

#define E 2.718281828459045
static const FormulaCase formula_cases[] = {
    {"x", "f32[n,3]", {1, 2, 3, 4, 5, 6}},
    {"x + y", "f32[n,3]", {1.5, 2.5, 3.5, 3, 4, 5}},
    {"1 - 2 * x", "f32[n,3]", {-1, -3, -5, -7, -9, -11}},
    {"-x^2", "f32[n,3]", {-1, -4, -9, -16, -25, -36}},
    {"(-x)^3", "f32[n,3]", {-1, -8, -27, -64, -125, -216}},
    {"y^-1", "f32[n,1]", {2, -1}},
    {"x^0.5 * x^0.5", "f32[n,3]", {1, 2, 3, 4, 5, 6}},
    {"x^1.5 / x", "f32[n,3]", {1, 1.4142135623730951, 1.7320508075688772, 2, 2.23606797749979, 2.449489742783178}},
    {"2^y", "f32[n,1]", {1.4142135623730951, 0.5}},
    {"2^3^2 + 0 * y", "f32[n,1]", {512, 512}},
    {"6 / 3 / 2 + 0 * y", "f32[n,1]", {1, 1}},
    {"2 - -y", "f32[n,1]", {2.5, 1}},
    {"k * y", "f32[n,1]", {1.5, -3}},
    {"x > 2 and not (x == 5)", "bool[n,3]", {0, 0, 1, 1, 0, 1}},
    {"x <= 2 or x >= 6", "bool[n,3]", {1, 1, 0, 0, 0, 1}},
    {"x != 3", "bool[n,3]", {1, 1, 0, 1, 1, 1}},
    {"where(x < 3, x, -1)", "f32[n,3]", {1, 2, -1, -1, -1, -1}},
    {"where(k == 3, y, nothing)", "f32[n,1]", {0.5, -1}},
    {"sum(x)", "f32[]", {21}},
    {"sum(x, axis=1)", "f32[n]", {6, 15}},
    {"sum(x, axis=0)", "f32[3]", {5, 7, 9}},
    {"sum(x, axis=[0, 1])", "f32[]", {21}},
    {"sum(x, axis=-1, keep=true)", "f32[n,1]", {6, 15}},
    {"mean(x)", "f32[]", {3.5}},
    {"mean(x, axis=0)", "f32[3]", {2.5, 3.5, 4.5}},
    {"var(x, axis=1)", "f32[n]", {2.0 / 3, 2.0 / 3}},
    {"max(x, axis=1)", "f32[n]", {3, 6}},
    {"min(x, axis=0)", "f32[3]", {1, 2, 3}},
    {"max(x, 3)", "f32[n,3]", {3, 3, 3, 4, 5, 6}},
    {"min(x, y)", "f32[n,3]", {0.5, 0.5, 0.5, -1, -1, -1}},
    {"max(2, k) * y", "f32[n,1]", {1.5, -3}},
    {"sum(l)", "i32[]", {1}},
    {"l * 2 + 1", "i32[n]", {3, 1}},
    {"l / 2", "f32[n]", {0.5, 0}},
    {"mean(l)", "f32[]", {0.5}},
    {"x[:, 1]", "f32[n]", {2, 5}},
    {"x[:, -1]", "f32[n]", {3, 6}},
    {"x[0]", "f32[3]", {1, 2, 3}},
    {"x[:, 0:2]", "f32[n,2]", {1, 2, 4, 5}},
    {"x[:, ::2]", "f32[n,2]", {1, 3, 4, 6}},
    {"x[..., ::-1]", "f32[n,3]", {3, 2, 1, 6, 5, 4}},
    {"x[:, -2:]", "f32[n,2]", {2, 3, 5, 6}},
    {"reshape(x, [n, 1, 3])[:, 0, 2]", "f32[n]", {3, 6}},
    {"reshape(x, [-1])", "f32[3n]", {1, 2, 3, 4, 5, 6}},
    {"flatten(reshape(x, [n, 3, 1]))", "f32[n,3]", {1, 2, 3, 4, 5, 6}},
    {"transpose(x)", "f32[3,n]", {1, 4, 2, 5, 3, 6}},
    {"transpose(x, [1, 0])", "f32[3,n]", {1, 4, 2, 5, 3, 6}},
    {"concat(x, y)[:, 2:4]", "f32[n,2]", {3, 0.5, 6, -1}},
    {"gather(x, position(x) * 2)", "f32[n,3]", {1, 3, 3, 4, 6, 6}},
    {"gather(x, reshape(l, [n, 1]))", "f32[n,1]", {2, 4}},
    {"concat(y, y, axis=0)", "f32[2n,1]", {0.5, -1, 0.5, -1}},
    {"transpose(x) @ y", "f32[3,1]", {-3.5, -4, -4.5}},
    {"matmul(reshape(x, [n, 1, 3]), transpose(x)[:, 0:1])", NULL, {0}},
    {"broadcast(y, [n, 2])", "f32[n,2]", {0.5, 0.5, -1, -1}},
    {"size(x) * y", "f32[n,1]", {1.5, -3}},
    {"sum(y) / size(y, 0)", "f32[]", {-0.25}},
    {"n * y", "f32[n,1]", {1, -2}},
    {"(n + 1) / 2 * y", "f32[n,1]", {0.75, -1.5}},
    {"cast(x > 2, 'i32')", "i32[n,3]", {0, 0, 1, 1, 1, 1}},
    {"cast(y, 'bool')", "bool[n,1]", {1, 1}},
    {"position(x)", "i32[n,3]", {0, 1, 2, 0, 1, 2}},
    {"position(x, axis=0)", "i32[n,3]", {0, 0, 0, 1, 1, 1}},
    {"one_hot(l, 3)", "f32[n,3]", {0, 1, 0, 1, 0, 0}},
    {"zeros_like(y) + ones_like(y)", "f32[n,1]", {1, 1}},
    {"exp(y) + log(exp(1))", "f32[n,1]", {1.6487212707001282 + 1, 1 / E + 1}},
    {"sqrt(abs(y)) + sign(y) + floor(y)", "f32[n,1]", {0.7071067811865476 + 1, 1 - 1 - 1}},
    {"sin(y)^2 + cos(y)^2 + sin(pi / 2)", "f32[n,1]", {2, 2}},
    {"tanh(y) + erf(0)", "f32[n,1]", {0.46211715726000975, -0.7615941559557649}},
    {"sigmoid(y) + sigmoid(0)", "f32[n,1]", {0.6224593312018546 + 0.5, 0.2689414213699951 + 0.5}},
    {"relu(y)", "f32[n,1]", {0.5, 0}},
    {"leaky_relu(y, slope=0.1)", "f32[n,1]", {0.5, -0.1}},
    {"gelu(y)", "f32[n,1]", {0.34573123063700656, -0.15865525393145707}},
    {"gelu_tanh(y)", "f32[n,1]", {0.34571400982514394, -0.15880800939172324}},
    {"silu(y)", "f32[n,1]", {0.3112296656009273, -0.2689414213699951}},
    {"softplus(y)", "f32[n,1]", {0.9740769841801067, 0.31326168751822286}},
    {"softplus(1000 * y)", "f32[n,1]", {500, 0}},
    {"expm1(y) - expm1(0)", "f32[n,1]", {0.6487212707001282, 1 / E - 1}},
    {"expm1(10 * y) + 1", "f32[n,1]", {148.4131591025766, 4.5399929762484854e-05}},
    {"softmax(x)[:, 2]", "f32[n]", {0.6652409557748219, 0.6652409557748219}},
    {"softmax(x, axis=0)[:, 0]", "f32[n]", {0.04742587317756678, 0.9525741268224334}},
    {"log_softmax(1000 * x)[:, 1]", "f32[n]", {-1000, -1000}},
    {"log_sum_exp(x, axis=1)", "f32[n]", {3.4076059644443806, 6.407605964444381}},
    {"sum(normalize(x)^2, axis=1)", "f32[n]", {1, 1}},
    {"binary_cross_entropy(y, 1)", "f32[n,1]", {0.4740769841801067, 1.3132616875182228}},
    {"binary_cross_entropy(200 * y, 0)", "f32[n,1]", {100, 0}},
    {"cross_entropy(x, l)", "f32[n]", {1.4076059644443804, 2.4076059644443806}},
    {"cross_entropy(x, one_hot(l, 3))", "f32[n]", {1.4076059644443804, 2.4076059644443806}},
    {"accuracy(x, l + 1)", "f32[n]", {1, 0}},
    {"mean_squared_error(y, 0.5)", "f32[]", {1.125}},
    {"stop_gradient(y)", "f32[n,1]", {0.5, -1}},
    {"sum(it)", "f32[]", {21}},
};

static const char formula_model[] =
    "{\"name\": \"m\", \"let\": {\"k\": 3}, \"functions\": {\"f\": {\"inputs\": {\"y\": "
    "[\"n\", 1], \"l\": {\"shape\": [\"n\"], \"type\": \"i32\"}, \"x\": [\"n\", 3]}, "
    "\"layers\": [{\"expr\": \"x + 0 * k\"}, {\"expr\": \"%s\", \"name\": \"result\"}]}}}";

static void check_formula(const FormulaCase *test) {
    static const double x[] = {1, 2, 3, 4, 5, 6}, y[] = {0.5, -1}, l[] = {1, 0};
    char text[1024], type[128];
    snprintf(text, sizeof text, formula_model, test->formula);
    Fixture fixture = fixture_open(text, NULL, 0);
    Graph *graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    EXPECT((graph != NULL) == (test->type != NULL), "%s: %s", test->formula,
           fixture.diag.text ? fixture.diag.text : "");
    if (graph && test->type) {
        NodeId node = graph->outputs[0].node;
        type_print(graph->nodes[node].type, type);
        EXPECT(!strcmp(type, test->type), "%s is %s", test->formula, type);
        double **values = graph_eval(graph, 2, (const double *const[]){y, l, x}, fixture.arena);
        int64_t count = dim_at(type_elements(graph->nodes[node].type), 2);
        for (int64_t i = 0; i < count && i < 6; i++)
            EXPECT(fabs(values[node][i] - test->expected[i]) <= 1e-9 * (1 + fabs(test->expected[i])),
                   "%s [%d] is %.12g, not %.12g", test->formula, (int)i, values[node][i], test->expected[i]);
    }
    graph_free(graph);
    fixture_close(&fixture);
}

/* --- which weights a description has, and of which shape --- */

static void check_weights(const char *what, const char *text, const char *expected) {
    Fixture fixture = fixture_open(text, NULL, 0);
    Graph *graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    char list[2048] = "", type[128];
    for (uint32_t i = 0; graph && i < graph->input_count; i++)
        if (graph->inputs[i].kind != INPUT_data)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s %s; ", graph->inputs[i].name,
                     type_print(graph->inputs[i].type, type));
    EXPECT(graph && !strcmp(list, expected), "%s: %s%s", what, list, fixture.diag.text ? fixture.diag.text : "");
    graph_free(graph);
    fixture_close(&fixture);
}

#define FUNCTION_OF(modules, layers)                                                                          \
    "{\"name\": \"m\", \"modules\": {" modules "}, \"functions\": {\"f\": {\"inputs\": {\"x\": [\"n\", 4]}, " \
    "\"layers\": [" layers "]}}}"
#define SQUARE                                                                                                        \
    "\"square\": {\"inputs\": [\"x\"], \"layers\": [{\"layer\": \"dense\", \"units\": \"size(x)\", \"bias\": false, " \
    "\"name\": \"d\"}]}"

static void check_sharing(void) {
    check_weights("called twice", FUNCTION_OF(SQUARE, "{\"module\": \"square\"}, {\"module\": \"square\"}"),
                  "square.d.weight f32[4,4]; ");
    check_weights("an instance",
                  FUNCTION_OF(SQUARE, "{\"module\": \"square\"}, {\"module\": \"square\", \"instance\": \"own\"}, "
                                      "{\"module\": \"square\", \"instance\": \"own\"}"),
                  "square.d.weight f32[4,4]; own.d.weight f32[4,4]; ");
    check_weights("repeated", FUNCTION_OF(SQUARE, "{\"module\": \"square\", \"repeat\": \"1 + 1\"}"),
                  "square.0.d.weight f32[4,4]; square.1.d.weight f32[4,4]; ");
    check_weights(
        "nested",
        FUNCTION_OF(SQUARE ", \"outer\": {\"inputs\": [\"x\"], \"layers\": [{\"module\": \"square\"}]}",
                    "{\"module\": \"outer\"}, {\"module\": \"square\"}, {\"module\": \"outer\", \"instance\": \"b\"}"),
        "outer.square.d.weight f32[4,4]; square.d.weight f32[4,4]; b.square.d.weight f32[4,4]; ");
    check_weights("index",
                  FUNCTION_OF("", "{\"layer\": \"dense\", \"units\": \"8 / 2^(level + 1)\", \"repeat\": 2, \"index\": "
                                  "\"level\", \"bias\": false}"),
                  "dense_0.0.weight f32[4,4]; dense_0.1.weight f32[4,2]; ");
    check_weights("no repetition",
                  FUNCTION_OF("", "{\"layer\": \"dense\", \"units\": 3, \"repeat\": 0}, {\"layer\": \"relu\"}"), "");
    check_weights(
        "params",
        FUNCTION_OF("\"p\": {\"inputs\": [\"x\"], \"params\": {\"a\": null, \"b\": \"2 * a\"}, \"let\": {\"c\": \"a + "
                    "b\"}, \"layers\": [{\"layer\": \"dense\", \"units\": \"c\", \"bias\": false, \"name\": \"d\"}]}",
                    "{\"module\": \"p\", \"params\": {\"a\": 2}}, {\"module\": \"p\", \"instance\": \"q\", \"params\": "
                    "{\"a\": 1, \"b\": 1}}"),
        "p.d.weight f32[4,6]; q.d.weight f32[6,2]; ");
    check_weights(
        "norms",
        FUNCTION_OF("", "{\"layer\": \"layer_norm\", \"name\": \"a\"}, {\"layer\": \"batch_norm\", \"name\": \"b\"}"),
        "a.weight f32[4]; a.bias f32[4]; b.running_mean f32[4]; b.running_var f32[4]; b.weight f32[4]; b.bias "
        "f32[4]; ");
    check_weights("more axes",
                  FUNCTION_OF("", "{\"layer\": \"reshape\", \"shape\": [\"n\", 2, 2]}, {\"layer\": \"dense\", "
                                  "\"units\": 5, \"bias\": false, \"name\": \"d\"}, {\"layer\": \"flatten\"}, "
                                  "{\"layer\": \"dense\", \"units\": 1, \"bias\": false, \"name\": \"e\"}"),
                  "d.weight f32[2,5]; e.weight f32[10,1]; ");
    check_weights("by name",
                  FUNCTION_OF(SQUARE
                              ", \"outer\": {\"inputs\": [\"x\"], \"layers\": [{\"module\": \"square\", \"repeat\": "
                              "2}, {\"expr\": \"it @ transpose(square.1.d.weight)\"}]}",
                              "{\"module\": \"outer\"}, {\"expr\": \"it + sum(outer.square.0.d.weight)\"}"),
                  "outer.square.0.d.weight f32[4,4]; outer.square.1.d.weight f32[4,4]; ");
    check_weights("biases", FUNCTION_OF("", "{\"layer\": \"bias\", \"name\": \"b\"}"), "b.bias f32[4]; ");
}

/* A weight that formulas name is the weight, and its gradient has a part from each place. */
static void check_tied(void) {
    Fixture fixture =
        fixture_open(FUNCTION_OF("", "{\"layer\": \"dense\", \"units\": 1, \"bias\": false, \"name\": \"d\"}, "
                                     "{\"expr\": \"sum(it) + sum(d.weight^2)\", \"name\": \"y\"}, "
                                     "{\"expr\": \"reshape(gradient(y, d.weight), [4])\"}"),
                     NULL, 0);
    Graph *graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    EXPECT(graph, "%s", fixture.diag.text ? fixture.diag.text : "");
    Arena *scratch = arena_new();
    Graph *to = graph ? graph_new("f") : NULL;
    if (to) pass_find("autodiff")->graph(graph, to, scratch);
    const double x[] = {1, 2, 3, 4, 10, 20, 30, 40}, w[] = {0.5, -1, 0, 2};
    double **values = to ? graph_eval(to, 2, (const double *const[]){x, w}, scratch) : NULL;
    for (int i = 0; values && i < 4; i++) {
        double got = values[to->outputs[0].node][i], want = 11 * (i + 1) + 2 * w[i];
        EXPECT(fabs(got - want) < 1e-9, "gradient %d is %g, not %g", i, got, want);
    }
    graph_free(to);
    graph_free(graph);
    arena_free(scratch);
    fixture_close(&fixture);
}

/* --- overrides, and the text of the resolved description --- */

static const char trained[] =
    "{\"name\": \"m\", \"let\": {\"width\": 3}, \"training\": {\"data\": {\"x\": {\"source\": "
    "\"glyphs\", \"flatten\": true}}, \"layers\": [{\"layer\": \"dense\", \"units\": \"width\", "
    "\"name\": \"y\"}, {\"expr\": \"mean(y)\", \"name\": \"loss\"}], \"minimize\": \"loss\", "
    "\"report\": \"y\", \"batch\": \"2 * width\"}}";

static void check_overrides(void) {
    const char *sets[] = {"let.width=5",
                          "training.epochs=3",
                          "training.seed=7",
                          "training.layers[0].bias=false",
                          "training.data.x.path=some where",
                          "training.data.x.source=idx",
                          "training.data.x.shape=[28, 28]"};
    Fixture fixture = fixture_open(trained, sets, 7);
    EXPECT(fixture.model, "%s", fixture.diag.text);
    if (fixture.model) {
        const DataSpec *data;
        const char *const *reports;
        EXPECT(model_batch(fixture.model) == 10 && model_epochs(fixture.model) == 3 && model_seed(fixture.model) == 7,
               "numbers");
        EXPECT(model_data(fixture.model, &data) == 1 && !strcmp(data[0].path, "some where") &&
                   !strcmp(data[0].field, "image"),
               "data");
        EXPECT(model_reports(fixture.model, &reports) == 2 && !strcmp(reports[0], "loss") && !strcmp(reports[1], "y"),
               "reports");
        const char *resolved = model_resolved(fixture.model, fixture.arena);
        Fixture again = fixture_open(resolved, NULL, 0);
        EXPECT(again.model && !strcmp(model_resolved(again.model, again.arena), resolved), "%s", again.diag.text);
        Graph *graph = lower_train(fixture.model, NULL, 0, &fixture.diag);
        EXPECT(graph && fixture_input(graph, "y.bias") < 0 && fixture_input(graph, "y.weight") > 0, "weights");
        graph_free(graph);
        fixture_close(&again);
    }
    fixture_close(&fixture);
}

/* --- data: what is opened counts, and must be what is described --- */

static void check_data(void) {
    DataShape rows = {"x", "value", {.dtype = DTYPE_f32, .rank = 1, .dim = {7}}};
    DataShape pictures = {"x", "image", {.dtype = DTYPE_u8, .rank = 2, .dim = {4, 5}}};
    Fixture fixture = fixture_open(trained, NULL, 0);
    char text[128];
    Graph *graph = lower_train(fixture.model, &rows, 1, &fixture.diag);
    EXPECT(graph && !strcmp(type_print(graph->inputs[0].type, text), "f32[6,7]"), "rows");
    graph_free(graph);
    graph = lower_evaluate(fixture.model, &pictures, 1, &fixture.diag);
    EXPECT(graph && !strcmp(type_print(graph->inputs[0].type, text), "u8[n,4,5]"), "pictures");
    graph_free(graph);
    fixture_close(&fixture);

    fixture =
        fixture_open(trained, (const char *[]){"training.data.x.source=\"idx\"", "training.data.x.shape=[28, 28]"}, 2);
    EXPECT(fixture.model && !lower_train(fixture.model, &rows, 1, &fixture.diag),
           "a shape that is not the described one");
    EXPECT(fixture.diag.text && strstr(fixture.diag.text, "described as u8[28,28], but the data has f32[7]"), "%s",
           fixture.diag.text ? fixture.diag.text : "");
    fixture_close(&fixture);

    fixture = fixture_open(trained, (const char *[]){"training.data.x.source=\"npy\""}, 1);
    EXPECT(fixture.model && !lower_train(fixture.model, NULL, 0, &fixture.diag), "data of unknown shape");
    EXPECT(fixture.diag.text && strstr(fixture.diag.text, "--data"), "%s", fixture.diag.text ? fixture.diag.text : "");
    fixture_close(&fixture);
}

/* --- a loss over all pairs of samples is evaluated in batches of the training's size --- */

static void check_pairs(void) {
    const char *sets[] = {"training.layers[1]={\"expr\": \"mean(y @ transpose(y))\", \"name\": \"loss\"}"};
    Fixture fixture = fixture_open(trained, sets, 1);
    Graph *graph = fixture.model ? lower_evaluate(fixture.model, NULL, 0, &fixture.diag) : NULL;
    EXPECT(graph && graph->inputs[0].type.dim[0] == 6, "%s", fixture.diag.text ? fixture.diag.text : "");
    graph_free(graph);
    fixture_close(&fixture);
}

static void check_unknown_function(void) {
    Fixture fixture = fixture_open(FUNCTION_OF("", "{\"layer\": \"relu\"}"), NULL, 0);
    EXPECT(fixture.model && !lower_function(fixture.model, "g", &fixture.diag) && fixture.diag.errors == 1,
           "no function g");
    fixture_close(&fixture);
}

/* Functions draw random numbers if the description says so, and only then ask for what those need. */
static void check_random_inputs(void) {
    Fixture fixture = fixture_open(FUNCTION_OF("", "{\"expr\": \"x + normal(x)\"}"), NULL, 0);
    Graph *graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    EXPECT(graph && fixture_input(graph, "$key") > 0 && fixture_input(graph, "$sample") > 0,
           "random inputs are missing");
    graph_free(graph);
    fixture_close(&fixture);
    fixture = fixture_open(FUNCTION_OF("", "{\"layer\": \"dropout\"}"), NULL, 0);
    graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    EXPECT(graph && graph->input_count == 1, "random inputs that nothing reads");
    graph_free(graph);
    fixture_close(&fixture);
}

/* Each place that draws has its stream, also when one module draws twice; equal places of two graphs have equal ones.
 */
static void check_streams(void) {
    Fixture fixture = fixture_open(
        FUNCTION_OF("\"noise\": {\"inputs\": [\"x\"], \"layers\": [{\"expr\": \"x + uniform(x)\", \"name\": \"y\"}]}",
                    "{\"module\": \"noise\", \"repeat\": 2}, {\"module\": \"noise\"}"),
        NULL, 0);
    Graph *graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    uint32_t streams = 0, draws = 0;
    for (NodeId id = 0; graph && id < graph->count; id++) {
        if (graph->nodes[id].op != OP_random) continue;
        streams |= 1u << graph->nodes[id].attr.random.stream;
        draws++;
    }
    EXPECT(draws == 3 && streams == 7, "%u draws, streams %x", draws, streams);
    graph_free(graph);
    fixture_close(&fixture);
}

/* In a module, n is the batch that it is called with: a batch of two views is twice as long. */
static void check_module_batch(void) {
    Fixture fixture = fixture_open(
        FUNCTION_OF("\"rows\": {\"inputs\": {\"x\": [\"n\", 4]}, \"layers\": [{\"layer\": \"reshape\", "
                    "\"shape\": [\"n\", 2, 2], \"name\": \"y\"}]}",
                    "{\"expr\": \"concat(x, 2 * x, axis=0)\", \"name\": \"views\"}, {\"module\": \"rows\"}"),
        NULL, 0);
    char text[128] = "";
    Graph *graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    if (graph) type_print(graph->nodes[graph->outputs[0].node].type, text);
    EXPECT(!strcmp(text, "f32[2n,2,2]"), "%s: %s", text, fixture.diag.text ? fixture.diag.text : "");
    graph_free(graph);
    fixture_close(&fixture);
}

/* A byte order mark is no mistake, and neither are control characters between values. */
static void check_byte_order_mark(void) {
    Fixture fixture = fixture_open("\xef\xbb\xbf" FUNCTION_OF("", "{\"layer\": \"relu\"}"), NULL, 0);
    EXPECT(fixture.model, "%s", fixture.diag.text ? fixture.diag.text : "");
    fixture_close(&fixture);
}

int main(void) {
    for (size_t i = 0; i < sizeof formula_cases / sizeof *formula_cases; i++) check_formula(&formula_cases[i]);
    check_sharing();
    check_tied();
    check_overrides();
    check_data();
    check_pairs();
    check_unknown_function();
    check_random_inputs();
    check_streams();
    check_module_batch();
    check_byte_order_mark();
    return expect_failures();
}
