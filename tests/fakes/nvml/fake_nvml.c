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
    char line[256];
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

/* Which GPU a handle means; the hang and the loss come before any answer. */
static nvmlReturn_t enter(nvmlDevice_t device, unsigned *index)
{
    uintptr_t handle = (uintptr_t)device;
    char key[64];

    if (!references)
        return NVML_ERROR_UNINITIALIZED;
    if (handle / MOST_GPUS != generation)
        return NVML_ERROR_INVALID_ARGUMENT;
    *index = handle % MOST_GPUS;
    hang_while(key_of(key, *index, "hang"));
    return check(*index);
}

static nvmlReturn_t text(unsigned index, const char *what, char *out, unsigned length)
{
    char key[64], value[128];

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
        *device = (nvmlDevice_t)(generation * MOST_GPUS + index);
    return result;
}

API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    return result == NVML_SUCCESS ? text(index, "uuid", uuid, length) : result;
}

API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    unsigned index;
    nvmlReturn_t result = enter(device, &index);

    return result == NVML_SUCCESS ? text(index, "name", name, length) : result;
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
#endif
