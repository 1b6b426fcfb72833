/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/cpus.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/phrase.h"

static int refuse(const char *text, struct shunt_error *error)
{
    struct phrase given = {0};

    return error_set(error, -EINVAL, "%s; expected CPU numbers such as 0,2-3",
                     phrase_quote(&given, text));
}

static int add_one(struct cpus *cpus, int id, struct shunt_error *error)
{
    for (unsigned i = 0; i < cpus->num; i++)
        if (cpus->ids[i] == id)
            return error_set(error, -EINVAL, "CPU %d is there twice; expected each CPU once", id);
    if (cpus->num == WORKER_MAX)
        return error_set(error, -EINVAL, "too many CPUs; expected at most %d", WORKER_MAX);
    cpus->ids[cpus->num++] = id;
    return 0;
}

/* Reads a number and moves on behind it. */
static bool take_id(const char **at, int *id)
{
    char *end = NULL;
    unsigned long number;

    if (!isdigit((unsigned char)**at))
        return false;
    number = strtoul(*at, &end, 10);
    *at = end;
    *id = (int)number;
    return number < CPU_SETSIZE;
}

/* Reads "2" or "2-3" and moves on behind it. */
static bool take_range(const char **at, int *first, int *last)
{
    if (!take_id(at, first))
        return false;
    *last = *first;
    if (**at != '-')
        return true;
    ++*at;
    return take_id(at, last) && *first <= *last;
}

static int add_text(struct cpus *cpus, const char *text, struct shunt_error *error)
{
    const char *at = text;
    int id, last, result;

    do {
        if (!take_range(&at, &id, &last) || (*at != ',' && *at != '\0'))
            return refuse(text, error);
        for (result = 0; id <= last && result == 0; id++)
            result = add_one(cpus, id, error);
    } while (result == 0 && *at++ == ',');
    return result;
}

int cpus_add(struct cpus *cpus, const json_t *given, struct shunt_error *error)
{
    char *json;
    int result;

    if (json_is_string(given))
        return add_text(cpus, json_string_value(given), error);
    json = json_dumps(given, JSON_COMPACT | JSON_ENCODE_ANY);
    result = json_is_integer(given) ? add_text(cpus, json, error) : refuse(json, error);
    free(json);
    return result;
}
