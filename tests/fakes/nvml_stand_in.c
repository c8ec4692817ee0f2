/* A stand-in for libnvidia-ml with two made-up GPUs, for processes that ask the driver's library.

The first GPU tells all, the second one next to nothing, as consumer GPUs do. Errors are lines
`GPU NUMBER` that a test appends to the file that NVML_STAND_IN names; each is told once, of GPUs
that somebody has registered for. Structs are laid out as in nvml.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TIMEOUT = 10, GPUS = 2 };
enum { XID_EVENT = 8 };

typedef struct { unsigned index; } Gpu;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Rates;
typedef struct { unsigned pid; unsigned long long bytes; unsigned instance, compute; } Process;
typedef struct {
    Gpu *gpu;
    unsigned long long type, data;
    unsigned instance, compute;
} Event;

static Gpu gpus[GPUS] = {{0}, {1}};
static int registered[GPUS];
static long told;

#define ONLY_FIRST(gpu) if ((gpu)->index != 0) return NOT_SUPPORTED

int nvmlInitWithFlags(unsigned flags) { return flags ? INVALID : OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == TIMEOUT ? "Timeout" : "Refused"; }

static int text(char *target, unsigned size, const char *found) {
    snprintf(target, size, "%s", found);
    return OK;
}

int nvmlSystemGetDriverVersion(char *target, unsigned size) { return text(target, size, "580.1"); }
int nvmlSystemGetCudaDriverVersion_v2(int *number) { return *number = 13000, OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { return *count = GPUS, OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    if (index >= GPUS) return INVALID;
    *gpu = &gpus[index];
    return OK;
}

int nvmlDeviceGetUUID(Gpu *gpu, char *target, unsigned size) {
    snprintf(target, size, "GPU-0000000%u-stand-in", gpu->index);
    return OK;
}

int nvmlDeviceGetName(Gpu *gpu, char *target, unsigned size) {
    return gpu ? text(target, size, "Stand-in") : INVALID;
}

int nvmlDeviceGetCudaComputeCapability(Gpu *gpu, int *major, int *minor) {
    *major = gpu ? 9 : 0;
    *minor = 0;
    return OK;
}

int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory) {
    ONLY_FIRST(gpu);
    *memory = (Memory){1000, 600, 400};
    return OK;
}

int nvmlDeviceGetUtilizationRates(Gpu *gpu, Rates *rates) {
    ONLY_FIRST(gpu);
    *rates = (Rates){50, 25};
    return OK;
}

static int number(Gpu *gpu, unsigned *target, unsigned found) {
    ONLY_FIRST(gpu);
    *target = found;
    return OK;
}

int nvmlDeviceGetPowerUsage(Gpu *gpu, unsigned *mw) { return number(gpu, mw, 70500); }
int nvmlDeviceGetEnforcedPowerLimit(Gpu *gpu, unsigned *mw) { return number(gpu, mw, 75000); }

int nvmlDeviceGetTemperature(Gpu *gpu, unsigned sensor, unsigned *celsius) {
    return sensor ? INVALID : number(gpu, celsius, 81);
}

int nvmlDeviceGetClockInfo(Gpu *gpu, unsigned clock, unsigned *mhz) {
    return number(gpu, mhz, 100 + clock);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *gpu, unsigned long long *bits) {
    ONLY_FIRST(gpu);
    *bits = 0x40;
    return OK;
}

int nvmlDeviceGetTotalEccErrors(Gpu *gpu, unsigned kind, unsigned span, unsigned long long *count) {
    ONLY_FIRST(gpu);
    *count = span ? 99 : 3 - kind;
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, Process *found) {
    ONLY_FIRST(gpu);
    unsigned room = *count;
    *count = 1;
    if (room < 1) return 7; /* the caller's room is too small */
    found[0] = (Process){4711, 300, 0, 0};
    return OK;
}

int nvmlEventSetCreate(void **set) { return *set = &told, OK; }
int nvmlEventSetFree(void *set) { return set == &told ? OK : INVALID; }

int nvmlDeviceRegisterEvents(Gpu *gpu, unsigned long long types, void *set) {
    if (set != &told || types != XID_EVENT) return INVALID;
    registered[gpu->index] = 1;
    return OK;
}

int nvmlEventSetWait_v2(void *set, Event *event, unsigned timeout_ms) {
    const char *name = getenv("NVML_STAND_IN");
    FILE *file = name ? fopen(name, "r") : NULL;
    unsigned index;
    unsigned long long xid;
    int found = 0;
    if (set != &told || timeout_ms) return INVALID;
    if (!file) return TIMEOUT;
    fseek(file, told, SEEK_SET);
    while (!found && fscanf(file, "%u %llu\n", &index, &xid) == 2) {
        told = ftell(file);
        found = index < GPUS && registered[index];
    }
    fclose(file);
    if (!found) return TIMEOUT;
    *event = (Event){&gpus[index], XID_EVENT, xid, 0, 0};
    return OK;
}
