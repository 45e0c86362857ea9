/*
 * A stand-in for the driver's libnvidia-ml.so.1, driven by a scenario file.
 *
 * FAKE_NVML_SCENARIO names the file. It is read again at each call, so that a test
 * changes the machine under a running process; write it elsewhere and rename it.
 * One "key value" a line:
 *
 *   init 0             what initialisation returns (9 driver not loaded, 18 mismatch, ...)
 *   init.hang 1        initialisation does not return while this line is there
 *   driver 595.80      driver version
 *   over 9             every call about a GPU returns this: the driver went away
 *   count 2            GPUs listed
 *   gpu0.uuid GPU-...  gpu0.name NVIDIA L40S
 *   gpu0.utilization, .memory_utilization, .memory_total, .memory_used,
 *   .memory_reserved, .power_mw, .energy_mj, .temperature: numbers. "!3" returns error
 *   3 instead; without the line the question is not supported (3).
 *   gpu0.<question>    for every other question: its key is in the function below
 *   gpu0.processes 41:1000:30,42:2000:    pid:bytes:percent of time[:gpu instance:compute one]
 *   gpu0.gpm 1         the GPU has performance counters; gpu0.gpm.5 61.5 is metric 5
 *   gpu0.gi7.gpm.5 20  metric 5 of GPU instance 7
 *   gpu0.field.82 55   a field value; gpu0.field.161.0 with its link
 *   gpu0.xid 79:3      what is reported next: Xid:serial; another serial reports it again
 *   gpu0.mig0.uuid MIG-...   .gi 7 .ci 0 .slices 1 .gi_slices 1 .memory_mib .memory_used
 *   gpu0.mig0.profile 1g.10gb    an instance, in MIG mode; without a uuid there is none
 *   gpu0.mig 1         MIG is on: utilisation is not supported, whatever its line says
 *   gpu0.mig_rates 1   ... but this driver gives figures all the same
 *   gpu0.lost 15       every call about this GPU returns this error, and, as with a real
 *                      driver, goes on doing so until NVML was shut down and initialised
 *   gpu0.hang 1        questions about this GPU do not return while this line is there
 *   gpu0.slow_ms 50    the question for memory takes that long
 *
 * To shut down while a call hangs ends the process: a driver may do anything then.
 * Handles belong to one initialisation: an older one is an invalid argument (2).
 * FAKE_NVML_OLD at compile time leaves out what drivers learned later.
 */
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define API __attribute__((visibility("default")))
#define MOST_GPUS 16
#define MOST_PARTS 16

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static unsigned references;
static uintptr_t generation;
static int latched[MOST_GPUS];
static int hanging;

static int look_up(const char *key, char *value, size_t size)
{
    const char *path = getenv("FAKE_NVML_SCENARIO");
    FILE *file = path ? fopen(path, "r") : NULL;
    size_t length = strlen(key);
    char line[768];
    int found = 0;

    while (file && !found && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            line[strcspn(line, "\n")] = 0;
            snprintf(value, size, "%s", line + length + 1);
            found = 1;
        }
    }
    if (file)
        fclose(file);
    return found;
}

static long number(const char *key, long otherwise)
{
    char value[64];
    return look_up(key, value, sizeof value) ? atol(value) : otherwise;
}

static void pause_ms(long ms)
{
    struct timespec span = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

static void hang_while(const char *key)
{
    __sync_fetch_and_add(&hanging, 1);
    while (number(key, 0))
        pause_ms(2);
    __sync_fetch_and_sub(&hanging, 1);
}

static char *key_of(char *key, unsigned index, const char *what)
{
    snprintf(key, 64, "gpu%u.%s", index, what);
    return key;
}

static nvmlReturn_t check(unsigned index)
{
    char key[64];
    int lost;

    if (number("over", 0))
        return (nvmlReturn_t)number("over", 0);
    lost = (int)number(key_of(key, index, "lost"), 0);
    pthread_mutex_lock(&guard);
    if (lost)
        latched[index] = lost;
    lost = latched[index];
    pthread_mutex_unlock(&guard);
    return (nvmlReturn_t)lost;
}

/* Part 0 is the whole GPU, part n + 1 its MIG instance n. */
static nvmlDevice_t handle_of(unsigned index, unsigned part)
{
    return (nvmlDevice_t)((generation * MOST_PARTS + part) * MOST_GPUS + index);
}

static unsigned part_of(nvmlDevice_t device)
{
    return (unsigned)((uintptr_t)device / MOST_GPUS % MOST_PARTS);
}

/* Which GPU a handle means; the hang and the loss come before any answer. */
static nvmlReturn_t enter(nvmlDevice_t device, unsigned *index)
{
    uintptr_t handle = (uintptr_t)device;
    char key[64];

    if (!references)
        return NVML_ERROR_UNINITIALIZED;
    if (handle / (MOST_GPUS * MOST_PARTS) != generation)
        return NVML_ERROR_INVALID_ARGUMENT;
    *index = handle % MOST_GPUS;
    hang_while(key_of(key, *index, "hang"));
    return check(*index);
}

static nvmlReturn_t text(unsigned index, const char *what, char *out, unsigned length)
{
    char key[64], value[512];

    if (!look_up(key_of(key, index, what), value, sizeof value))
        return NVML_ERROR_NOT_SUPPORTED;
    if (value[0] == '!')
        return (nvmlReturn_t)atoi(value + 1);
    snprintf(out, length, "%s", value);
    return NVML_SUCCESS;
}

static nvmlReturn_t figure(unsigned index, const char *what, unsigned long long *out)
{
    char value[64];
    nvmlReturn_t result = text(index, what, value, sizeof value);

    if (result == NVML_SUCCESS)
        *out = strtoull(value, NULL, 10);
    return result;
}

static const char *of_part(nvmlDevice_t device, const char *what)
{
    static __thread char key[64];

    if (!part_of(device))
        return what;
    snprintf(key, sizeof key, "mig%u.%s", part_of(device) - 1, what);
    return key;
}

static nvmlReturn_t ask(nvmlDevice_t device, const char *what, unsigned long long *out)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    return result == NVML_SUCCESS ? figure(index, what, out) : result;
}

API nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    long result;

    (void)flags;
    hang_while("init.hang");
    result = number("init", 999);
    if (result)
        return (nvmlReturn_t)result;
    pthread_mutex_lock(&guard);
    if (references++ == 0) {
        generation++;
        memset(latched, 0, sizeof latched);
    }
    pthread_mutex_unlock(&guard);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlShutdown(void)
{
    nvmlReturn_t result = NVML_SUCCESS;

    if (__sync_fetch_and_add(&hanging, 0))
        abort();
    pthread_mutex_lock(&guard);
    if (references)
        references--;
    else
        result = NVML_ERROR_UNINITIALIZED;
    pthread_mutex_unlock(&guard);
    return result;
}

API const char *nvmlErrorString(nvmlReturn_t result)
{
    static char words[64];

    snprintf(words, sizeof words, "stand-in error %d", (int)result);
    return words;
}

API nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    char value[64];

    if (!references)
        return NVML_ERROR_UNINITIALIZED;
    if (!look_up("driver", value, sizeof value))
        return NVML_ERROR_UNKNOWN;
    snprintf(version, length, "%s", value);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
    if (!references)
        return NVML_ERROR_UNINITIALIZED;
    *count = (unsigned)number("count", 0);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    nvmlReturn_t result;

    if (!references)
        return NVML_ERROR_UNINITIALIZED;
    if (index >= (unsigned)number("count", 0) || index >= MOST_GPUS)
        return NVML_ERROR_INVALID_ARGUMENT;
    result = check(index);
    if (result == NVML_SUCCESS)
        *device = handle_of(index, 0);
    return result;
}

API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    return result == NVML_SUCCESS ? text(index, of_part(device, "uuid"), uuid, length) : result;
}

API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);
    char profile[64];

    if (result == NVML_SUCCESS)
        result = text(index, "name", name, length);
    if (result == NVML_SUCCESS && part_of(device)) {
        result = text(index, of_part(device, "profile"), profile, sizeof profile);
        snprintf(name + strlen(name), length - strlen(name), " MIG %s", profile);
    }
    return result;
}

API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current,
                                      unsigned int *pending)
{
    unsigned long long mode = 0;
    nvmlReturn_t result = ask(device, "mig", &mode);

    *current = *pending = (unsigned)mode;
    return result;
}

API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates)
{
    unsigned long long gpu = 0, memory = 0;
    unsigned index;
    char key[64];
    nvmlReturn_t result = enter(device, &index);

    if (result == NVML_SUCCESS && number(key_of(key, index, "mig"), 0)
        && !number(key_of(key, index, "mig_rates"), 0))
        result = NVML_ERROR_NOT_SUPPORTED;
    if (result == NVML_SUCCESS)
        result = figure(index, "utilization", &gpu);
    if (result == NVML_SUCCESS)
        result = figure(index, "memory_utilization", &memory);
    rates->gpu = (unsigned)gpu;
    rates->memory = (unsigned)memory;
    return result;
}

static nvmlReturn_t memory(nvmlDevice_t device, unsigned long long *total,
                           unsigned long long *used, unsigned long long *reserved)
{
    unsigned index;
    char key[64];
    nvmlReturn_t result = enter(device, &index);

    if (result != NVML_SUCCESS)
        return result;
    pause_ms(number(key_of(key, index, "slow_ms"), 0));
    *reserved = 0;
    if (part_of(device)) {
        result = figure(index, of_part(device, "memory_mib"), total);
        *total <<= 20;
        return result == NVML_SUCCESS ? figure(index, of_part(device, "memory_used"), used)
                                      : result;
    }
    figure(index, "memory_reserved", reserved);
    result = figure(index, "memory_total", total);
    return result == NVML_SUCCESS ? figure(index, "memory_used", used) : result;
}

/* The first version counts what the driver reserves as used. */
API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *info)
{
    unsigned long long total = 0, used = 0, reserved = 0;
    nvmlReturn_t result = memory(device, &total, &used, &reserved);

    info->total = total;
    info->used = used + reserved;
    info->free = total - info->used;
    return result;
}

API nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *power)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, "power_mw", &value);

    *power = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor,
                                          unsigned int *temperature)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, "temperature", &value);

    (void)sensor;
    *temperature = (unsigned)value;
    return result;
}

/* Questions whose answer is one number. */
#define NUMBER(function, key)                                                  \
    API nvmlReturn_t function(nvmlDevice_t device, unsigned int *out)          \
    {                                                                          \
        unsigned long long value = 0;                                          \
        nvmlReturn_t result = ask(device, key, &value);                        \
        *out = (unsigned)value;                                                \
        return result;                                                         \
    }

NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw")
NUMBER(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
NUMBER(nvmlDeviceGetFanSpeed, "fan")

API nvmlReturn_t nvmlDeviceGetPerformanceState(nvmlDevice_t device, nvmlPstates_t *state)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, "pstate", &value);

    *state = (nvmlPstates_t)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device,
                                                        nvmlEnableState_t *pending)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, "retirement_pending", &value);

    *pending = (nvmlEnableState_t)value;
    return result;
}

static nvmlReturn_t rate(nvmlDevice_t device, const char *what, unsigned *percent, unsigned *us)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, what, &value);

    *percent = (unsigned)value;
    *us = 167000;
    return result;
}

API nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *percent,
                                                 unsigned int *us)
{
    return rate(device, "encoder", percent, us);
}

API nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *percent,
                                                 unsigned int *us)
{
    return rate(device, "decoder", percent, us);
}

/* Keys with a number at the end: clock.1, threshold.0, ecc.0.1, pcie.0, nvlink.3. */
static nvmlReturn_t numbered(nvmlDevice_t device, const char *what, unsigned number_of,
                             unsigned long long *out)
{
    char key[48];

    snprintf(key, sizeof key, "%s.%u", what, number_of);
    return ask(device, key, out);
}

API nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type,
                                        unsigned int *mhz)
{
    unsigned long long value = 0;
    nvmlReturn_t result = numbered(device, "clock", type, &value);

    *mhz = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device,
                                                   nvmlTemperatureThresholds_t threshold,
                                                   unsigned int *celsius)
{
    unsigned long long value = 0;
    nvmlReturn_t result = numbered(device, "threshold", threshold, &value);

    *celsius = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t kind,
                                             nvmlEccCounterType_t lifetime,
                                             unsigned long long *count)
{
    char key[32];

    snprintf(key, sizeof key, "ecc.%u", (unsigned)kind);
    return numbered(device, key, lifetime, count);
}

/* Measures for 20 ms, as the real one does. */
API nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, nvmlPcieUtilCounter_t way,
                                             unsigned int *kib)
{
    unsigned long long value = 0;
    nvmlReturn_t result = numbered(device, "pcie", way, &value);

    if (result == NVML_SUCCESS)
        pause_ms(20);
    *kib = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link,
                                          nvmlEnableState_t *active)
{
    unsigned long long value = 0;
    nvmlReturn_t result = numbered(device, "nvlink", link, &value);

    *active = (nvmlEnableState_t)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, nvmlPageRetirementCause_t cause,
                                           unsigned int *count, unsigned long long *addresses)
{
    unsigned long long value = 0;
    nvmlReturn_t result = numbered(device, "retired", cause, &value);

    if (result == NVML_SUCCESS && *count < value)
        result = NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned at = 0; result == NVML_SUCCESS && addresses && at < value; at++)
        addresses[at] = 4096ull * at;
    *count = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected,
                                           unsigned int *uncorrected, unsigned int *pending,
                                           unsigned int *failed)
{
    char value[64];
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    if (result == NVML_SUCCESS)
        result = text(index, "rows", value, sizeof value);
    if (result == NVML_SUCCESS
        && sscanf(value, "%u:%u:%u:%u", corrected, uncorrected, pending, failed) != 4)
        result = NVML_ERROR_UNKNOWN;
    return result;
}

API nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device,
                                                           unsigned long long *reasons)
{
    return ask(device, "reasons", reasons);
}

API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count,
                                          nvmlFieldValue_t *values)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    for (int at = 0; result == NVML_SUCCESS && at < count; at++) {
        unsigned long long value = 0;
        char key[48];

        int by_link = values[at].fieldId >= 161 && values[at].fieldId <= 163;

        if (by_link)
            snprintf(key, sizeof key, "field.%u.%u", values[at].fieldId, values[at].scopeId);
        else
            snprintf(key, sizeof key, "field.%u", values[at].fieldId);
        values[at].nvmlReturn = figure(index, key, &value);
        values[at].valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
        values[at].value.ullVal = value;
    }
    return result;
}

struct process {
    unsigned pid, percent, known, gi, ci;
    unsigned long long bytes;
};

/* pid:bytes:percent[:gi:ci], separated by commas. */
static nvmlReturn_t processes(nvmlDevice_t device, struct process *found, unsigned *count)
{
    char value[512], *save = NULL;
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    *count = 0;
    if (result == NVML_SUCCESS)
        result = text(index, "processes", value, sizeof value);
    if (result != NVML_SUCCESS)
        return result;
    for (char *one = strtok_r(value, ",", &save); one && *count < 32;
         one = strtok_r(NULL, ",", &save)) {
        struct process *p = &found[(*count)++];

        p->gi = p->ci = UINT32_MAX;
        p->percent = p->known = 0;
        p->known = sscanf(one, "%u:%llu:%u:%u:%u", &p->pid, &p->bytes, &p->percent, &p->gi,
                          &p->ci) >= 3;
    }
    return result;
}

API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                         nvmlProcessInfo_t *infos)
{
    struct process found[32];
    unsigned there, room = *count, shown = 0, index = (unsigned)((uintptr_t)device % MOST_GPUS);
    unsigned long long gi = 0, ci = 0;
    nvmlReturn_t result = processes(device, found, &there);
    char key[64];

    if (result == NVML_SUCCESS && !part_of(device)
        && number(key_of(key, index, "no_right"), 0))
        return NVML_ERROR_NO_PERMISSION;
    if (result != NVML_SUCCESS)
        return result;
    if (part_of(device)) {
        figure(index, of_part(device, "gi"), &gi);
        figure(index, of_part(device, "ci"), &ci);
    }
    for (unsigned at = 0; at < there; at++) {
        if (part_of(device) && (found[at].gi != gi || found[at].ci != ci))
            continue;
        if (infos && shown < room) {
            infos[shown].pid = found[at].pid;
            infos[shown].usedGpuMemory = found[at].bytes;
            infos[shown].gpuInstanceId = found[at].gi;
            infos[shown].computeInstanceId = found[at].ci;
        }
        shown++;
    }
    *count = shown;
    return shown > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device,
                                                 nvmlProcessUtilizationSample_t *samples,
                                                 unsigned int *count,
                                                 unsigned long long last_seen)
{
    struct process found[32];
    unsigned there, room = *count, shown = 0;
    nvmlReturn_t result = processes(device, found, &there);

    if (result != NVML_SUCCESS)
        return result;
    for (unsigned at = 0; at < there; at++) {
        if (!found[at].known || !found[at].percent)
            continue;
        if (samples && shown < room) {
            samples[shown].pid = found[at].pid;
            samples[shown].timeStamp = last_seen + 1000000;
            samples[shown].smUtil = found[at].percent;
        }
        shown++;
    }
    *count = shown;
    if (!shown)
        return NVML_ERROR_NOT_FOUND;
    return shown > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

/* One pending event a GPU: the scenario's line, until its serial changes. */
static char reported[MOST_GPUS][64];

API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    if (!references)
        return NVML_ERROR_UNINITIALIZED;
    *set = (nvmlEventSet_t)calloc(1, sizeof(unsigned));
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types,
                                          nvmlEventSet_t set)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);
    char key[64];

    (void)types;
    if (result == NVML_SUCCESS && number(key_of(key, index, "no_events"), 0))
        result = NVML_ERROR_NOT_SUPPORTED;
    if (result == NVML_SUCCESS)
        *(unsigned *)set |= 1u << index;
    return result;
}

API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                     unsigned int timeout_ms)
{
    if (!references)
        return NVML_ERROR_UNINITIALIZED;
    if (number("over", 0))
        return (nvmlReturn_t)number("over", 0);
    for (unsigned index = 0; index < MOST_GPUS; index++) {
        char value[64];

        if (!(*(unsigned *)set & 1u << index) || text(index, "xid", value, sizeof value)
            || !strcmp(value, reported[index]))
            continue;
        snprintf(reported[index], sizeof reported[index], "%s", value);
        memset(data, 0, sizeof *data);
        data->device = handle_of(index, 0);
        data->eventType = nvmlEventTypeXidCriticalError;
        data->eventData = strtoull(value, NULL, 10);
        return NVML_SUCCESS;
    }
    pause_ms(timeout_ms);
    return NVML_ERROR_TIMEOUT;
}

API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    free(set);
    return NVML_SUCCESS;
}

#ifndef FAKE_NVML_OLD
API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *info)
{
    unsigned long long total = 0, used = 0, reserved = 0;
    nvmlReturn_t result;

    if (info->version != nvmlMemory_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    result = memory(device, &total, &used, &reserved);
    info->total = total;
    info->used = used;
    info->reserved = reserved;
    info->free = total - used - reserved;
    return result;
}

API nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device,
                                                     unsigned long long *energy)
{
    return ask(device, "energy_mj", energy);
}

API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
    unsigned long long value = 0;
    nvmlReturn_t result;

    if (temperature->version != nvmlTemperature_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    result = ask(device, "temperature", &value);
    temperature->temperature = (int)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device,
                                                        unsigned long long *reasons)
{
    return ask(device, "reasons", reasons);
}

API nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, "mig_most", &value);

    *count = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index,
                                                     nvmlDevice_t *instance)
{
    char key[32], uuid[96];
    unsigned gpu;
    nvmlReturn_t result = enter(device, &gpu);

    if (result != NVML_SUCCESS)
        return result;
    snprintf(key, sizeof key, "mig%u.uuid", index);
    if (text(gpu, key, uuid, sizeof uuid) != NVML_SUCCESS)
        return NVML_ERROR_NOT_FOUND;
    *instance = handle_of(gpu, index + 1);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, of_part(device, "gi"), &value);

    *id = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id)
{
    unsigned long long value = 0;
    nvmlReturn_t result = ask(device, of_part(device, "ci"), &value);

    *id = (unsigned)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *out)
{
    unsigned long long slices = 0, gi_slices = 0, mib = 0;
    nvmlReturn_t result = ask(device, of_part(device, "slices"), &slices);

    if (result == NVML_SUCCESS)
        result = ask(device, of_part(device, "gi_slices"), &gi_slices);
    if (result == NVML_SUCCESS)
        result = ask(device, of_part(device, "memory_mib"), &mib);
    memset(out, 0, sizeof *out);
    out->computeInstanceSliceCount = (unsigned)slices;
    out->gpuInstanceSliceCount = (unsigned)gi_slices;
    out->memorySizeMB = mib;
    return result;
}

struct nvmlGpmSample_st {
    unsigned index, gi, cut;
};

API nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);
    char key[64];

    support->isSupportedDevice =
        result == NVML_SUCCESS && number(key_of(key, index, "gpm"), 0);
    return result;
}

API nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample)
{
    *sample = calloc(1, sizeof **sample);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample)
{
    free(sample);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);
    char key[64];

    if (result == NVML_SUCCESS && number(key_of(key, index, "mig"), 0))
        return NVML_ERROR_NOT_SUPPORTED;
    sample->index = index;
    sample->cut = 0;
    return result;
}

API nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int gi, nvmlGpmSample_t sample)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    sample->index = index;
    sample->gi = gi;
    sample->cut = 1;
    return result;
}

API nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get)
{
    if (get->version != NVML_GPM_METRICS_GET_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (get->sample1->cut != get->sample2->cut || get->sample1->gi != get->sample2->gi)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned at = 0; at < get->numMetrics; at++) {
        nvmlGpmMetric_t *metric = &get->metrics[at];
        char key[48], value[64];

        if (get->sample2->cut)
            snprintf(key, sizeof key, "gi%u.gpm.%u", get->sample2->gi, metric->metricId);
        else
            snprintf(key, sizeof key, "gpm.%u", metric->metricId);
        metric->nvmlReturn = text(get->sample2->index, key, value, sizeof value);
        metric->value = metric->nvmlReturn == NVML_SUCCESS ? strtod(value, NULL) : 0;
    }
    return NVML_SUCCESS;
}
#endif
