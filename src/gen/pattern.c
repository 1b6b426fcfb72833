/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/pattern.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/phrase.h"

#define MAX_WEIGHT 10000u
#define MAX_TABLE  (1u << 20) /* entries */

/* 7 : 4 : 1, what "simple IMIX" means on the wire as 64, 594 and 1518 bytes with FCS. */
static const struct pattern_mix imix = {3, {{60, 60, 7}, {590, 590, 4}, {1514, 1514, 1}}};

/* --- As a user writes it ------------------------------------------------------------------------------- */

static bool take_digits(const char **text, uint32_t most, uint32_t *number)
{
    char *end;
    unsigned long value;

    if (**text < '0' || **text > '9')
        return false;
    value = strtoul(*text, &end, 10);
    *text = end;
    *number = (uint32_t)value;
    return value <= most;
}

static bool take_if(const char **text, char character)
{
    if (**text != character)
        return false;
    ++*text;
    return true;
}

/* SIZE[-SIZE][:WEIGHT] */
static bool take_range(const char **text, struct pattern_range *range)
{
    range->weight = 1;
    if (!take_digits(text, UINT32_MAX, &range->least))
        return false;
    range->most = range->least;
    if (take_if(text, '-') && !take_digits(text, UINT32_MAX, &range->most))
        return false;
    if (take_if(text, ':') && !take_digits(text, MAX_WEIGHT, &range->weight))
        return false;
    return range->least <= range->most && range->weight > 0;
}

int pattern_parse(const char *text, struct pattern_mix *mix, struct shunt_error *error)
{
    const char *rest = text;
    struct phrase phrase = {0};
    bool is_good;

    if (strcmp(text, "imix") == 0) {
        *mix = imix;
        return 0;
    }
    mix->num = 0;
    do {
        if (mix->num == PATTERN_MAX_SIZES)
            return error_set(error, -EINVAL, "more than %d sizes", PATTERN_MAX_SIZES);
        is_good = take_range(&rest, &mix->ranges[mix->num++]);
    } while (is_good && take_if(&rest, ','));
    if (!is_good || *rest)
        return error_set(error, -EINVAL,
                         "%s is no size: 64, 64-1514, imix, or a mix with weights such as "
                         "60:7,590:4,1514:1",
                         phrase_quote(&phrase, text));
    return 0;
}

uint32_t pattern_least(const struct pattern_mix *mix)
{
    uint32_t least = UINT32_MAX;

    for (unsigned i = 0; i < mix->num; i++)
        least = mix->ranges[i].least < least ? mix->ranges[i].least : least;
    return least;
}

uint32_t pattern_most(const struct pattern_mix *mix)
{
    uint32_t most = 0;

    for (unsigned i = 0; i < mix->num; i++)
        most = mix->ranges[i].most > most ? mix->ranges[i].most : most;
    return most;
}

/* --- The table ------------------------------------------------------------------------------------------ */

static uint64_t width(const struct pattern_range *range)
{
    return (uint64_t)range->most - range->least + 1;
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/*
 * The least number of rounds after which each size of each range was there a whole number of times; 0 if it
 * is too large.
 */
static uint64_t num_rounds(const struct pattern_mix *mix, uint64_t common)
{
    uint64_t rounds = 1;

    for (unsigned i = 0; i < mix->num; i++) {
        const struct pattern_range *range = &mix->ranges[i];
        uint64_t needed = width(range) /
                          greatest_common_divisor(width(range), range->weight / common);

        rounds = rounds / greatest_common_divisor(rounds, needed) * needed;
        if (rounds > MAX_TABLE)
            return 0;
    }
    return rounds;
}

/* What all weights have in common says nothing. */
static uint64_t common_weight(const struct pattern_mix *mix)
{
    uint64_t common = 0;

    for (unsigned i = 0; i < mix->num; i++)
        common = greatest_common_divisor(mix->ranges[i].weight, common);
    return common;
}

/* Always in the same way. */
static void shuffle(struct pattern_sizes *sizes)
{
    uint64_t random = 0x9e3779b97f4a7c15;

    for (uint32_t i = sizes->num; i > 1; i--) {
        uint32_t other, size = sizes->sizes[i - 1];

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        other = (uint32_t)((random >> 32) * i >> 32);
        sizes->sizes[i - 1] = sizes->sizes[other];
        sizes->sizes[other] = size;
    }
}

int pattern_sizes_create(const struct pattern_mix *mix, struct pattern_sizes *sizes,
                         struct shunt_error *error)
{
    uint64_t common = common_weight(mix);
    uint64_t rounds = num_rounds(mix, common), total = 0;

    for (unsigned i = 0; i < mix->num; i++)
        total += rounds * (mix->ranges[i].weight / common);
    if (total == 0 || total > MAX_TABLE)
        return error_set(error, -EINVAL,
                         "the mix of sizes repeats only after more than %u frames: take rounder "
                         "ranges or weights",
                         MAX_TABLE);
    sizes->num = 0;
    sizes->sizes = malloc(total * sizeof(*sizes->sizes));
    if (!sizes->sizes)
        return error_set(error, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < mix->num; i++) {
        const struct pattern_range *range = &mix->ranges[i];

        for (uint64_t j = 0; j < rounds * (range->weight / common); j++)
            sizes->sizes[sizes->num++] = range->least + (uint32_t)(j % width(range));
    }
    shuffle(sizes);
    return 0;
}

void pattern_sizes_destroy(struct pattern_sizes *sizes)
{
    free(sizes->sizes);
    *sizes = (struct pattern_sizes){0};
}

bool pattern_init(struct pattern *pattern, const struct pattern_sizes *sizes, uint32_t num_flows,
                  uint32_t num_destinations, uint32_t queue, uint32_t num_queues)
{
    *pattern = (struct pattern){
        .sizes = sizes,
        .next_size = (uint32_t)((uint64_t)sizes->num * queue / num_queues),
        .first_flow = queue,
        .flow = queue,
        .end_flow = num_flows,
        .flow_step = num_queues,
        .num_destinations = num_destinations,
    };
    return queue < num_flows && num_destinations > 0;
}
