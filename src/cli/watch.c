/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/watch.h"

#include <stddef.h>
#include <time.h>

#include "cli/rates.h"
#include "cli/report.h"

double watch_clock_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void replace(json_t **value, json_t *with)
{
    json_decref(*value);
    *value = with;
}

void watch_fini(struct watch *watch)
{
    replace(&watch->version, NULL);
    replace(&watch->sample, NULL);
    replace(&watch->rates, NULL);
}

static json_t *take_sample(struct client *client)
{
    json_t *ports = client_call(client, "port.show", NULL);
    json_t *workers = ports ? client_call(client, "worker.show", NULL) : NULL;

    if (!workers) {
        json_decref(ports);
        return NULL;
    }
    return need(json_pack("{s:o, s:o}", "ports", ports, "workers", workers));
}

bool watch_look(struct watch *watch)
{
    json_t *version = client_call(watch->client, "version", NULL);
    json_t *sample = version ? take_sample(watch->client) : NULL;
    double now_s = watch_clock_s();

    if (!sample) {
        json_decref(version);
        watch_fini(watch);
        return false;
    }
    if (watch->sample)
        replace(&watch->rates, rates_between(watch->sample, sample, now_s - watch->sample_s));
    replace(&watch->version, version);
    replace(&watch->sample, sample);
    watch->sample_s = now_s;
    return true;
}
