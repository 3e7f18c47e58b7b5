/* Training as it is lowered, against the same mathematics written out in C: the loss of a small VAE with its noise,
 * optimisers over several steps as PyTorch defines them, batch norm, dropout, several updates in one step.
 *
 * Gradients come from the differentiation pass; that has its own tests. */
#include "passes/passes.h"
#include "runtime/core/core.h"
#include "tests/frontend_fixture.h"

#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

static bool is_near(double a, double b) { return fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b)) + 1e-9; }

/* --- running a lowered step --- */

typedef struct {
    Fixture fixture;
    Graph *graph;
    double **inputs; /* one for each input of the graph; states begin as their Init says, but uniform ones at 0.5 */
    double **values;
} Step;

static double *filled(Arena *arena, Type type, double value) {
    int64_t count = type_elements(type);
    double *array = arena_array(arena, double, count);
    for (int64_t i = 0; i < count; i++) array[i] = value;
    return array;
}

static Step step_open(const char *text, const DataShape *shapes, size_t count) {
    Step step = {.fixture = fixture_open(text, NULL, 0)};
    Graph *lowered = step.fixture.model ? lower_train(step.fixture.model, shapes, count, &step.fixture.diag) : NULL;
    if (!lowered) BUG("%s", step.fixture.diag.text);
    CHECK(graph_verify(lowered, stderr));
    Program *program = NULL;
    pipeline_run(lowered, &(PipelineOptions){.stop_after = "autodiff", .machine = machine_generic()}, &step.graph,
                 &program);
    graph_free(lowered);
    step.inputs = arena_array(step.fixture.arena, double *, step.graph->input_count);
    for (uint32_t i = 0; i < step.graph->input_count; i++) {
        const GraphInput *input = &step.graph->inputs[i];
        double first = input->init.kind == INIT_constant ? input->init.a : input->init.kind == INIT_uniform ? 0.5 : 0;
        step.inputs[i] = filled(step.fixture.arena, input->type, first);
    }
    return step;
}

static void step_close(Step *step) {
    graph_free(step->graph);
    fixture_close(&step->fixture);
}

static double *step_input(const Step *step, const char *name) {
    int index = fixture_input(step->graph, name);
    if (index < 0) BUG("there is no input %s", name);
    return step->inputs[index];
}

static double *step_output(const Step *step, const char *name) {
    const GraphOutput *output = fixture_output(step->graph, name);
    if (!output) BUG("there is no output %s", name);
    return step->values[output->node];
}

static void step_evaluate(Step *step) {
    step->values = graph_eval(step->graph, 1, (const double *const *)step->inputs, step->fixture.arena);
}

/* Evaluates, puts new values of states into their places, and counts the step. */
static void step_run(Step *step) {
    step_evaluate(step);
    for (uint32_t i = 0; i < step->graph->output_count; i++) {
        const GraphOutput *output = &step->graph->outputs[i];
        if (output->updates < 0) continue;
        int64_t count = type_elements(step->graph->inputs[output->updates].type);
        memcpy(step->inputs[output->updates], step->values[output->node], (size_t)count * sizeof(double));
    }
    step_input(step, "$key")[2]++;
}

/* --- the random numbers of one sample, as ir/ops.def and random.c say --- */

static double drawn_normal(uint32_t seed, uint32_t sample, uint32_t step, uint32_t stream, uint32_t element) {
    uint32_t word[4];
    selfc_philox((const uint32_t[]){element, sample, step, stream}, (const uint32_t[]){seed, 0}, word);
    double u1 = ((word[0] >> 8) + 1) * 0x1p-24, u2 = (word[1] >> 8) * 0x1p-24;
    return sqrt(-2 * log(u1)) * cos(2 * pi * u2);
}

static double drawn_uniform(uint32_t seed, uint32_t sample, uint32_t step, uint32_t stream, uint32_t element) {
    uint32_t word[4];
    selfc_philox((const uint32_t[]){element, sample, step, stream}, (const uint32_t[]){seed, 0}, word);
    return (word[0] >> 8) * 0x1p-24;
}

/* --- a VAE with two pixels, two hidden units and one latent number --- */

static const char small_vae[] =
    "{\"name\": \"vae\", \"modules\": {"
    "\"encode\": {\"inputs\": {\"x\": [\"n\", 2]}, \"layers\": ["
    "{\"layer\": \"dense\", \"units\": 2, \"activation\": \"relu\", \"name\": \"h\"},"
    "{\"layer\": \"dense\", \"input\": \"h\", \"units\": 1, \"name\": \"mean\"},"
    "{\"layer\": \"dense\", \"input\": \"h\", \"units\": 1, \"name\": \"log_var\"}], \"outputs\": [\"mean\", "
    "\"log_var\"]},"
    "\"decode\": {\"inputs\": {\"z\": [\"n\", 1]}, \"layers\": [{\"layer\": \"dense\", \"units\": 2, \"name\": "
    "\"logits\"}]}},"
    "\"training\": {\"data\": {\"x\": {\"source\": \"npy\", \"shape\": [2, 1], \"flatten\": true}}, \"layers\": ["
    "{\"module\": \"encode\"},"
    "{\"expr\": \"mean + exp(0.5 * log_var) * normal(mean)\", \"name\": \"z\"},"
    "{\"module\": \"decode\"},"
    "{\"expr\": \"sum(binary_cross_entropy(logits, x), axis=1)\", \"name\": \"reconstruction\"},"
    "{\"expr\": \"-0.5 * sum(1 + log_var - mean^2 - exp(log_var), axis=1)\", \"name\": \"kl\"},"
    "{\"expr\": \"mean(reconstruction + kl)\", \"name\": \"loss\"}],"
    "\"minimize\": \"loss\", \"report\": [\"reconstruction\", \"kl\"], \"batch\": 2}}";

static double dense(const Step *step, const char *layer, const double *x, int in, int out, int unit) {
    char name[64];
    snprintf(name, sizeof name, "%s.bias", layer);
    double y = step_input(step, name)[unit];
    snprintf(name, sizeof name, "%s.weight", layer);
    for (int i = 0; i < in; i++) y += x[i] * step_input(step, name)[i * out + unit];
    return y;
}

static double cross_entropy(double logit, double target) {
    double p = 1 / (1 + exp(-logit));
    return -target * log(p) - (1 - target) * log(1 - p);
}

static void check_vae(void) {
    Step step = step_open(small_vae, NULL, 0);
    for (uint32_t i = 0; i < step.graph->input_count; i++)
        for (int64_t e = 0;
             step.graph->inputs[i].kind == INPUT_parameter && e < type_elements(step.graph->inputs[i].type); e++)
            step.inputs[i][e] = sin(3.0 * i + e);
    const double pixels[4] = {255, 51, 0, 128};
    memcpy(step_input(&step, "x"), pixels, sizeof pixels);
    memcpy(step_input(&step, "$key"), (const double[]){5, 0, 3}, 3 * sizeof(double));
    memcpy(step_input(&step, "$sample"), (const double[]){17, 4}, 2 * sizeof(double));
    step_evaluate(&step);

    double reconstruction = 0, kl = 0;
    for (int b = 0; b < 2; b++) {
        double x[2] = {pixels[2 * b] / 255, pixels[2 * b + 1] / 255}, h[2];
        for (int i = 0; i < 2; i++) h[i] = fmax(0, dense(&step, "encode.h", x, 2, 2, i));
        double mean = dense(&step, "encode.mean", h, 2, 1, 0), log_var = dense(&step, "encode.log_var", h, 2, 1, 0);
        double z = mean + exp(0.5 * log_var) * drawn_normal(5, b ? 4 : 17, 3, 0, 0);
        for (int i = 0; i < 2; i++)
            reconstruction += cross_entropy(dense(&step, "decode.logits", &z, 1, 2, i), x[i]) / 2;
        kl += -0.5 * (1 + log_var - mean * mean - exp(log_var)) / 2;
    }
    EXPECT(is_near(step_output(&step, "reconstruction")[0], reconstruction), "%.9g, not %.9g",
           step_output(&step, "reconstruction")[0], reconstruction);
    EXPECT(is_near(step_output(&step, "kl")[0], kl), "%.9g, not %.9g", step_output(&step, "kl")[0], kl);
    EXPECT(is_near(step_output(&step, "loss")[0], reconstruction + kl), "%.9g", step_output(&step, "loss")[0]);
    step_close(&step);
}

/* --- optimisers: one weight w, loss = mean((x w)^2) / 2 with x = 1 and 2, so g = 2.5 w --- */

static const char one_weight[] = "{\"name\": \"m\", \"training\": {\"data\": {\"x\": {\"source\": \"npy\", \"shape\": "
                                 "[1], \"type\": \"f32\"}}, \"layers\": ["
                                 "{\"layer\": \"dense\", \"units\": 1, \"bias\": false, \"name\": \"a\"}, {\"expr\": "
                                 "\"mean(a^2) / 2\", \"name\": \"loss\"}],"
                                 "\"minimize\": \"loss\", \"batch\": 2, \"optimizer\": %s}}";

typedef struct {
    double lr, momentum, decay, beta1, beta2, epsilon;
    bool nesterov;
    double w, m, v; /* and the state */
    int step;
} Reference;

/* torch.optim.SGD */
static void reference_sgd(Reference *r, double g) {
    g += r->decay * r->w;
    r->m = r->step == 1 ? g : r->momentum * r->m + g;
    double direction = r->momentum == 0 ? g : r->nesterov ? g + r->momentum * r->m : r->m;
    r->w -= r->lr * direction;
}

static void reference_sgd_warm(Reference *r, double g) {
    r->lr = 0.1 * fmin(1, r->step / 4.0);
    reference_sgd(r, g);
}

/* torch.optim.Adam, and AdamW without the decay of g */
static void reference_adam_update(Reference *r, double g) {
    r->m = r->beta1 * r->m + (1 - r->beta1) * g;
    r->v = r->beta2 * r->v + (1 - r->beta2) * g * g;
    double correction1 = 1 - pow(r->beta1, r->step), correction2 = 1 - pow(r->beta2, r->step);
    r->w -= r->lr / correction1 * r->m / (sqrt(r->v) / sqrt(correction2) + r->epsilon);
}

static void reference_adam(Reference *r, double g) { reference_adam_update(r, g + r->decay * r->w); }

static void reference_adamw(Reference *r, double g) {
    r->w *= 1 - r->lr * r->decay;
    reference_adam_update(r, g);
}

static const struct {
    const char *optimizer;
    void (*update)(Reference *r, double g);
    Reference reference;
} optimizer_cases[] = {
    {"{\"name\": \"sgd\", \"learning_rate\": 0.1}", reference_sgd, {.lr = 0.1}},
    {"{\"name\": \"sgd\", \"learning_rate\": 0.1, \"momentum\": 0.9}", reference_sgd, {.lr = 0.1, .momentum = 0.9}},
    {"{\"name\": \"sgd\", \"learning_rate\": 0.1, \"momentum\": 0.9, \"nesterov\": true, \"weight_decay\": 0.01}",
     reference_sgd,
     {.lr = 0.1, .momentum = 0.9, .nesterov = true, .decay = 0.01}},
    {"{\"name\": \"sgd\", \"learning_rate\": \"0.1 * min(1, step / 4)\"}", reference_sgd_warm, {0}},
    {"\"adam\"", reference_adam, {.lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}},
    {"{\"name\": \"adam\", \"learning_rate\": 0.1, \"beta1\": 0.5, \"beta2\": 0.9, \"epsilon\": 0.001, "
     "\"weight_decay\": 0.1}",
     reference_adam,
     {.lr = 0.1, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 0.001, .decay = 0.1}},
    {"{\"name\": \"adamw\", \"learning_rate\": 0.01}",
     reference_adamw,
     {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .decay = 0.01}},
};

static void check_optimizers(void) {
    for (size_t i = 0; i < sizeof optimizer_cases / sizeof *optimizer_cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, one_weight, optimizer_cases[i].optimizer);
        Step step = step_open(text, NULL, 0);
        Reference r = optimizer_cases[i].reference;
        r.w = step_input(&step, "a.weight")[0];
        memcpy(step_input(&step, "x"), (const double[]){1, 2}, 2 * sizeof(double));
        for (r.step = 1; r.step <= 12; r.step++) {
            optimizer_cases[i].update(&r, 2.5 * r.w);
            step_run(&step);
            double w = step_input(&step, "a.weight")[0];
            EXPECT(is_near(w, r.w), "%s, step %d: %.9g, not %.9g", optimizer_cases[i].optimizer, r.step, w, r.w);
        }
        step_close(&step);
    }
}

/* 1 - beta^step must be right in f32, too: plain exp would round most of it away in the first steps. */
static void check_correction_is_exact(void) {
    for (int step = 1; step < 20; step++) {
        float y = (float)step * (float)log(0.999), t = tanhf(y / 2), correction = -2 * t / (1 - t);
        double exact = 1 - pow(0.999, step);
        EXPECT(fabs(correction - exact) < 1e-6 * exact, "step %d: %g, not %g", step, correction, exact);
    }
}

/* --- batch norm: the batch in training, running averages that follow it --- */

static void check_batch_norm(void) {
    Step step =
        step_open("{\"name\": \"m\", \"training\": {\"data\": {\"x\": {\"source\": \"npy\", \"shape\": [1], \"type\": "
                  "\"f32\"}}, \"layers\": ["
                  "{\"layer\": \"batch_norm\", \"name\": \"b\", \"momentum\": 0.25, \"epsilon\": 0}, {\"expr\": "
                  "\"mean(b^3)\", \"name\": \"loss\"}],"
                  "\"minimize\": \"loss\", \"batch\": 3, \"optimizer\": {\"name\": \"sgd\", \"learning_rate\": 0}}}",
                  NULL, 0);
    memcpy(step_input(&step, "x"), (const double[]){1, 2, 6}, 3 * sizeof(double));
    step_run(&step);
    double mean = 3, variance = (4 + 1 + 9) / 3.0, deviation = sqrt(variance);
    double loss = (pow(-2 / deviation, 3) + pow(-1 / deviation, 3) + pow(3 / deviation, 3)) / 3;
    EXPECT(is_near(step_output(&step, "loss")[0], loss), "loss %g", step_output(&step, "loss")[0]);
    EXPECT(is_near(step_input(&step, "b.running_mean")[0], 0.25 * mean), "mean %g",
           step_input(&step, "b.running_mean")[0]);
    EXPECT(is_near(step_input(&step, "b.running_var")[0], 0.75 + 0.25 * variance * 3 / 2), "variance %g",
           step_input(&step, "b.running_var")[0]);
    step_close(&step);
}

/* --- dropout: its own stream, by sample and element; nothing in evaluation --- */

static void check_dropout(void) {
    const char *text = "{\"name\": \"m\", \"training\": {\"data\": {\"x\": {\"source\": \"npy\", \"shape\": [5], "
                       "\"type\": \"f32\"}}, \"layers\": ["
                       "{\"expr\": \"uniform(x)\", \"name\": \"u\"}, {\"layer\": \"dropout\", \"input\": \"x\", "
                       "\"rate\": 0.25, \"name\": \"d\"},"
                       "{\"layer\": \"dense\", \"units\": 1, \"bias\": false, \"name\": \"w\"}, {\"expr\": \"mean(w) + "
                       "0 * mean(u)\", \"name\": \"loss\"}],"
                       "\"minimize\": \"loss\", \"report\": [\"d\", \"u\"], \"batch\": 2}}";
    Step step = step_open(text, NULL, 0);
    for (int i = 0; i < 10; i++) step_input(&step, "x")[i] = i + 1;
    memcpy(step_input(&step, "$sample"), (const double[]){9, 8}, 2 * sizeof(double));
    memcpy(step_input(&step, "$key"), (const double[]){77, 0, 0}, 3 * sizeof(double));
    step_evaluate(&step);
    double kept = 0, uniform = 0;
    for (uint32_t i = 0; i < 10; i++) {
        kept += drawn_uniform(77, i < 5 ? 9 : 8, 0, 1, i % 5) < 0.25 ? 0 : (i + 1) / 0.75 / 10;
        uniform += drawn_uniform(77, i < 5 ? 9 : 8, 0, 0, i % 5) / 10;
    }
    EXPECT(is_near(step_output(&step, "d")[0], kept), "%g, not %g", step_output(&step, "d")[0], kept);
    EXPECT(is_near(step_output(&step, "u")[0], uniform), "%g, not %g", step_output(&step, "u")[0], uniform);

    Graph *evaluate = lower_evaluate(step.fixture.model, NULL, 0, &step.fixture.diag);
    uint32_t draws = 0;
    for (NodeId id = 0; evaluate && id < evaluate->count; id++) draws += evaluate->nodes[id].op == OP_random;
    EXPECT(evaluate && draws == 1, "%u draws in the evaluation", draws);
    graph_free(evaluate);
    step_close(&step);
}

/* --- two updates in one step: both from the old parameters, each of its own only --- */

static void check_pair(void) {
    Step step = step_open("{\"name\": \"m\", \"training\": {\"data\": {\"x\": {\"source\": \"npy\", \"shape\": [1], "
                          "\"type\": \"f32\"}}, \"layers\": ["
                          "{\"layer\": \"dense\", \"units\": 1, \"bias\": false, \"name\": \"a\"}, {\"layer\": "
                          "\"dense\", \"units\": 1, \"bias\": false, \"name\": \"b\"},"
                          "{\"expr\": \"mean(b)\", \"name\": \"up\"}, {\"expr\": \"-up\", \"name\": \"down\"}],"
                          "\"minimize\": [{\"loss\": \"up\", \"over\": \"a\"}, {\"loss\": \"down\", \"over\": "
                          "[\"b*\"], \"optimizer\": {\"name\": \"sgd\", \"learning_rate\": 2}}],"
                          "\"batch\": 1, \"optimizer\": {\"name\": \"sgd\", \"learning_rate\": 1}}}",
                          NULL, 0);
    step_input(&step, "x")[0] = 3;
    step_input(&step, "a.weight")[0] = 5;
    step_input(&step, "b.weight")[0] = 7;
    step_run(&step);
    EXPECT(is_near(step_input(&step, "a.weight")[0], 5 - 1 * 3 * 7), "a is %g", step_input(&step, "a.weight")[0]);
    EXPECT(is_near(step_input(&step, "b.weight")[0], 7 + 2 * 3 * 5), "b is %g", step_input(&step, "b.weight")[0]);
    step_close(&step);
}

int main(void) {
    check_vae();
    check_optimizers();
    check_correction_is_exact();
    check_batch_norm();
    check_dropout();
    check_pair();
    return expect_failures();
}
