/* What the files that write report.html share. Private to runtime/train. */
#ifndef SELFC_RUNTIME_REPORT_H
#define SELFC_RUNTIME_REPORT_H
#include "runtime/data/file.h"
#include "runtime/train/trainer.h"

typedef enum { REPORT_train, REPORT_test, REPORT_speed, REPORT_extra } ReportKind;

void report_text(FileWriter *out, const char *text); /* as text of HTML */
const char *report_extra_title(const char *name); /* of what is measured beside the loss, for people */
void report_base64(FileWriter *out, const unsigned char *bytes, size_t size);
/* report_chart.c: a heading and a curve over epochs; nothing, if there are not two points. */
void report_chart(FileWriter *out, const Metrics *metrics, const char *name, ReportKind kind, uint32_t report);
/* report_facts.c: what the description says that it is for, if it does; the table of what was trained, on what, where and how it ended. */
void report_about(FileWriter *out, const Trainer *trainer);
void report_facts(FileWriter *out, const Trainer *trainer);
/* report_map.c: samples by their features, and neighbours; nothing, if no function gives features. False after selfc_fail. */
bool report_map(FileWriter *out, Trainer *trainer);
/* report_views.c: samples and their augmented views; nothing, if there is no program for it. False after selfc_fail. */
bool report_views(FileWriter *out, Trainer *trainer);
/* report_profile.c: the table of kernels that take longest; nothing, if no step was timed. */
void report_profile(FileWriter *out, const Trainer *trainer);
#endif
