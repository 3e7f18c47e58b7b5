/* How many CPUs this process may keep busy: those in its affinity mask, and no more than the quota of its control
 * group or of any group above it (a container with --cpus=2 on a large machine sees all CPUs in the mask). */
#include "runtime/core/core.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static int cpus_of_affinity(void) {
    enum { CPUS_MOST = 4096 };
    cpu_set_t *set = CPU_ALLOC(CPUS_MOST);
    size_t bytes = CPU_ALLOC_SIZE(CPUS_MOST);
    int count = 1;
    if (set && !sched_getaffinity(0, bytes, set)) count = CPU_COUNT_S(bytes, set);
    CPU_FREE(set);
    return count > 0 ? count : 1;
}

static int cpus_read_line(const char *folder, const char *group, const char *file, char line[64]) {
    char path[4096 + 256];
    snprintf(path, sizeof path, "%s%s/%s", folder, group, file);
    FILE *in = fopen(path, "r");
    if (!in) return 0;
    int found = fgets(line, 64, in) != NULL;
    fclose(in);
    return found;
}

/* The quota of one group in CPUs, or 0: none. Version 2: "max 100000" or "200000 100000"; version 1: two files. */
static double cpus_quota(const char *folder, const char *group, int version) {
    char line[64];
    double quota = 0, period = 0;
    if (version == 2) {
        if (!cpus_read_line(folder, group, "cpu.max", line) || sscanf(line, "%lf %lf", &quota, &period) != 2) return 0;
    } else {
        if (!cpus_read_line(folder, group, "cpu.cfs_quota_us", line) || sscanf(line, "%lf", &quota) != 1) return 0;
        if (!cpus_read_line(folder, group, "cpu.cfs_period_us", line) || sscanf(line, "%lf", &period) != 1) return 0;
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

static double cpus_smallest(const char *folder, char *group, int version, double limit) {
    for (;;) {
        double quota = cpus_quota(folder, group, version);
        if (quota > 0 && (limit == 0 || quota < limit)) limit = quota;
        char *slash = strrchr(group, '/');
        if (!slash) return limit;
        *slash = 0;
    }
}

/* Lines of /proc/self/cgroup are "0::/path" (version 2) or "4:cpu,cpuacct:/path" (version 1). */
static double cpus_of_groups(void) {
    FILE *in = fopen("/proc/self/cgroup", "r");
    double limit = 0;
    char line[4096];
    while (in && fgets(line, sizeof line, in)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        controllers++;
        if (!*controllers) {
            limit = cpus_smallest("/sys/fs/cgroup", group, 2, limit);
        } else if (!strcmp(controllers, "cpu") || !strncmp(controllers, "cpu,", 4) || strstr(controllers, ",cpu,")) {
            limit = cpus_smallest("/sys/fs/cgroup/cpu", group, 1, limit);
        }
    }
    if (in) fclose(in);
    return limit;
}

int selfc_cpu_count(void) {
    int count = cpus_of_affinity();
    double limit = cpus_of_groups();
    if (limit > 0 && limit < count) count = (int)(limit + 0.999);
    return count > 0 ? count : 1;
}
