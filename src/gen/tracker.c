/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/tracker.h"

#include <stdlib.h>
#include <string.h>

struct tracker_source {
    struct frame_origin origin;
    struct tracker_stream *streams;
    uint32_t num;
};

void tracker_init(struct tracker *tracker, uint8_t own_id)
{
    *tracker = (struct tracker){.own_id = own_id};
}

void tracker_destroy(struct tracker *tracker)
{
    for (unsigned i = 0; i < tracker->num_sources; i++)
        free(tracker->sources[i].streams);
    free(tracker->sources);
    *tracker = (struct tracker){0};
}

/* --- Finding -------------------------------------------------------------------------------------------- */

static bool is_from(const struct tracker_source *source, struct frame_origin origin)
{
    return source->origin.id == origin.id && source->origin.port == origin.port;
}

/* Its place, or num_sources. */
static unsigned find(const struct tracker *tracker, struct frame_origin origin)
{
    unsigned i = 0;

    if (tracker->last < tracker->num_sources && is_from(&tracker->sources[tracker->last], origin))
        return tracker->last;
    while (i < tracker->num_sources && !is_from(&tracker->sources[i], origin))
        i++;
    return i;
}

static struct tracker_source *need_source(struct tracker *tracker, struct frame_origin origin)
{
    unsigned at = find(tracker, origin);

    if (at == tracker->num_sources) {
        struct tracker_source *more = realloc(tracker->sources,
                                              (at + 1) * sizeof(*tracker->sources));

        if (!more)
            return NULL;
        more[at] = (struct tracker_source){.origin = origin};
        tracker->sources = more;
        tracker->num_sources++;
    }
    tracker->last = at;
    return &tracker->sources[at];
}

static struct tracker_stream *need_stream(struct tracker_source *source, uint32_t stream)
{
    if (stream >= source->num) {
        uint32_t num = source->num ? source->num : 16;
        struct tracker_stream *more;

        while (num <= stream)
            num *= 2;
        more = realloc(source->streams, num * sizeof(*more));
        if (!more)
            return NULL;
        memset(more + source->num, 0, (num - source->num) * sizeof(*more));
        source->streams = more;
        source->num = num;
    }
    return &source->streams[stream];
}

static const struct tracker_stream *find_stream(const struct tracker *tracker,
                                                struct frame_origin origin, uint32_t stream)
{
    unsigned at = find(tracker, origin);

    if (at == tracker->num_sources || stream >= tracker->sources[at].num)
        return NULL;
    return &tracker->sources[at].streams[stream];
}

uint32_t tracker_next(const struct tracker *tracker, struct frame_origin origin, uint32_t stream)
{
    const struct tracker_stream *found = find_stream(tracker, origin, stream);

    return found && found->is_known ? found->next : 0;
}

bool tracker_knows(const struct tracker *tracker, struct frame_origin origin)
{
    return find(tracker, origin) < tracker->num_sources;
}

/* --- Following ------------------------------------------------------------------------------------------ */

static uint64_t *word_of(struct tracker_stream *stream, uint32_t sequence)
{
    return &stream->seen[sequence % TRACKER_WINDOW / 64];
}

static uint64_t bit_of(uint32_t sequence)
{
    return UINT64_C(1) << sequence % 64;
}

/* Numbers next … sequence - 1 were passed over, so far. */
static void advance(struct tracker_stream *stream, uint32_t sequence)
{
    uint32_t skipped = sequence - stream->next;

    if (skipped >= TRACKER_WINDOW)
        memset(stream->seen, 0, sizeof(stream->seen));
    else
        for (uint32_t i = stream->next; i != sequence; i++)
            *word_of(stream, i) &= ~bit_of(i);
    *word_of(stream, sequence) |= bit_of(sequence);
    stream->next = sequence + 1;
}

static void see_late(struct tracker_counts *counts, struct tracker_stream *stream,
                     uint32_t sequence)
{
    bool is_remembered = stream->next - sequence <= TRACKER_WINDOW;

    if (is_remembered && (*word_of(stream, sequence) & bit_of(sequence))) {
        counts->duplicated++;
        return;
    }
    if (is_remembered)
        *word_of(stream, sequence) |= bit_of(sequence);
    counts->reordered++;
    if (counts->lost > 0)
        counts->lost--;
}

void tracker_see(struct tracker *tracker, const struct frame_stamp *stamp)
{
    struct tracker_source *source = need_source(tracker, stamp->origin);
    struct tracker_stream *stream = source ? need_stream(source, stamp->stream) : NULL;

    if (!stream)
        return;
    if (!stream->is_known) {
        /* What another process sent before the first one that we see is no loss. */
        stream->is_known = true;
        stream->next = stamp->origin.id == tracker->own_id ? 0 : stamp->sequence;
    }
    tracker->counts.verified++;
    if ((int32_t)(stamp->sequence - stream->next) >= 0) {
        tracker->counts.lost += stamp->sequence - stream->next;
        advance(stream, stamp->sequence);
    } else {
        see_late(&tracker->counts, stream, stamp->sequence);
    }
}
