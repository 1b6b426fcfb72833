/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a queue on the driver's side: its memory, and how its ring is laid out for each
 * device.
 */
#include "virtqueue/driver_queue.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/error.h"
#include "virtqueue/driver.h"

#define LINE_BYTES UINT64_C(64)

/* No slot: what the available ring holds before it is written. */
#define NO_HEAD UINT16_MAX

static_assert(SHUNT_VIRTQUEUE_MAX_SIZE < NO_HEAD, "a head is never this");

/* --- Faults ----------------------------------------------------------------------------------------- */

static const char *const fault_texts[] = {
    [DRIVER_FAULT_NONE] = "no fault",
    [DRIVER_FAULT_USED_INDEX] = "the used index is further ahead than chains are out: index",
    [DRIVER_FAULT_USED_ID] = "a used entry names a chain that the device does not have: id",
    [DRIVER_FAULT_USED_LENGTH] = "a used entry is longer than the buffers of its chain: length",
    [DRIVER_FAULT_USED_BATCH] =
        "a used entry stands for more chains than the used index counts: id",
};
static_assert(sizeof(fault_texts) / sizeof(fault_texts[0]) == DRIVER_FAULT_NUM,
              "a text for each fault");

const char *driver_queue_fault_text(enum driver_fault fault)
{
    return fault_texts[fault];
}

void driver_queue_break(struct shunt_driver_queue *queue, enum driver_fault fault, uint64_t value)
{
    if (queue->fault != DRIVER_FAULT_NONE)
        return;
    queue->fault = fault;
    queue->fault_value = value;
    queue->is_running = false;
    queue->on_break(queue->on_break_ctx);
}

/* --- Memory ----------------------------------------------------------------------------------------- */

/*
 * Where the parts of the ring begin, with room for either format; the indirect tables lie behind
 * them.
 */
struct layout {
    uint64_t driver, device, tables, end;
};

static uint64_t whole_lines(uint64_t bytes)
{
    return (bytes + LINE_BYTES - 1) & ~(LINE_BYTES - 1);
}

static struct layout layout_of(uint16_t size, unsigned max_indirect)
{
    struct layout layout = {.driver = whole_lines(SPLIT_DESCRIPTOR_BYTES(size))};

    layout.device = layout.driver + whole_lines(SPLIT_AVAILABLE_BYTES(size));
    layout.tables = layout.device + whole_lines(SPLIT_USED_BYTES(size));
    layout.end = layout.tables + whole_lines(sizeof(struct split_descriptor) * max_indirect * size);
    return layout;
}

uint64_t driver_queue_bytes(const struct driver_queue_config *config)
{
    return layout_of(config->size, config->max_indirect).end;
}

static bool allocate(struct shunt_driver_queue *queue)
{
    queue->chains = calloc(queue->size, sizeof(*queue->chains));
    queue->shadow = calloc(queue->size, sizeof(*queue->shadow));
    queue->free_slots = calloc(queue->size, sizeof(*queue->free_slots));
    queue->heads = calloc(queue->size, sizeof(*queue->heads));
    queue->backlog = calloc(queue->size, sizeof(*queue->backlog));
    queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return queue->chains && queue->shadow && queue->free_slots && queue->heads && queue->backlog &&
           queue->kick_fd >= 0 && queue->call_fd >= 0;
}

int driver_queue_create(const struct driver_queue_config *config, void *ring,
                        struct shunt_driver_queue **queue)
{
    struct layout layout = layout_of(config->size, config->max_indirect);
    struct shunt_driver_queue *fresh = calloc(1, sizeof(*fresh));

    if (!fresh)
        return -ENOMEM;
    fresh->size = fresh->num_free = config->size;
    fresh->max_indirect = config->max_indirect;
    fresh->on_break = config->on_break;
    fresh->on_break_ctx = config->ctx;
    fresh->split.descriptors = ring; /* both formats begin with it */
    fresh->split.available = (void *)((uint8_t *)ring + layout.driver);
    fresh->split.used = (void *)((uint8_t *)ring + layout.device);
    fresh->tables = (void *)((uint8_t *)ring + layout.tables);
    pthread_mutex_init(&fresh->lock, NULL);
    if (!allocate(fresh)) {
        int result = errno == EMFILE || errno == ENFILE ? -errno : -ENOMEM;

        driver_queue_destroy(fresh);
        return result;
    }
    for (unsigned i = 0; i < fresh->size; i++)
        fresh->free_slots[i] = (uint16_t)i;
    *queue = fresh;
    return 0;
}

void driver_queue_destroy(struct shunt_driver_queue *queue)
{
    if (!queue)
        return;
    if (queue->kick_fd >= 0)
        close(queue->kick_fd);
    if (queue->call_fd >= 0)
        close(queue->call_fd);
    pthread_mutex_destroy(&queue->lock);
    free(queue->backlog);
    free(queue->heads);
    free(queue->free_slots);
    free(queue->shadow);
    free(queue->chains);
    free(queue);
}

static_assert(offsetof(struct shunt_driver_queue, split.available) ==
                      offsetof(struct shunt_driver_queue, packed.driver_event) &&
                  offsetof(struct shunt_driver_queue, split.used) ==
                      offsetof(struct shunt_driver_queue, packed.device_event),
              "the parts of both formats are in the same places");

/* --- Laying the ring out ---------------------------------------------------------------------------- */

/*
 * Takes out what the last device returned. If that is rubbish, what is behind it counts as not
 * returned.
 */
static void drain(struct shunt_driver_queue *queue)
{
    struct driver_completion completion;

    if (!queue->has_format || queue->fault != DRIVER_FAULT_NONE)
        return;
    while (driver_queue_next(queue, queue->format, &completion)) {
        unsigned at = (queue->first_backlog + queue->num_backlog++) % queue->size;

        queue->backlog[at] = completion;
    }
}

unsigned driver_queue_take_backlog(struct shunt_driver_queue *queue, struct shunt_driver_used *used,
                                   unsigned max)
{
    unsigned num = queue->num_backlog < max ? queue->num_backlog : max;

    for (unsigned i = 0; i < num; i++) {
        driver_queue_give(queue, &queue->backlog[queue->first_backlog], &used[i]);
        queue->first_backlog = driver_queue_following(queue, queue->first_backlog);
    }
    queue->num_backlog -= num;
    return num;
}

struct aged_chain {
    uint32_t age;
    uint16_t head;
};

static int compare_ages(const void *a, const void *b)
{
    uint32_t first = ((const struct aged_chain *)a)->age;
    uint32_t second = ((const struct aged_chain *)b)->age;

    return (first < second) - (first > second);
}

/* All that the device has, the oldest first. */
static unsigned collect_chains(const struct shunt_driver_queue *queue, struct aged_chain *chains)
{
    unsigned num = 0;

    for (unsigned i = 0; i < queue->size; i++) {
        const struct driver_chain *chain = &queue->chains[i];

        if (chain->num > 0)
            chains[num++] = (struct aged_chain){queue->sequence - chain->sequence, (uint16_t)i};
    }
    qsort(chains, num, sizeof(chains[0]), compare_ages);
    return num;
}

/* An empty ring: nothing is available or used, and the device wants to be notified. */
static void clear_split(struct shunt_driver_queue *queue)
{
    uint16_t size = queue->size, at = queue->next_used;

    memset(queue->split.available, 0, SPLIT_AVAILABLE_BYTES(size));
    memset(queue->split.used, 0, SPLIT_USED_BYTES(size));
    memcpy(queue->split.descriptors, queue->shadow, SPLIT_DESCRIPTOR_BYTES(size));
    memset(queue->heads, 0xff, sizeof(queue->heads[0]) * size);
    queue->seen_used = at;
    STORE_RELAXED(&queue->split.used->idx, at);
    STORE_RELAXED(&queue->split.available->idx, at);
    STORE_RELAXED((uint16_t *)(void *)&queue->split.used->ring[size], at);
}

/*
 * Whoever comes to a descriptor finds that of the lap before, which was used. What a device of ours
 * leaves in its event structure, to find its place again (packed.h), is to say no other place than
 * the base.
 */
static void clear_packed(struct shunt_driver_queue *queue)
{
    uint16_t position = queue->next_used ^ PACKED_POSITION_WRAP;

    memset(queue->packed.descriptors, 0, PACKED_DESCRIPTOR_BYTES(queue->size));
    *queue->packed.driver_event = (struct packed_event){0};
    *queue->packed.device_event = (struct packed_event){
        .position = queue->next_used,
        .flags = PACKED_EVENT_ENABLE,
    };
    for (unsigned i = 0; i < queue->size; i++) {
        queue->packed.descriptors[packed_idx(position)].flags = (uint16_t)packed_used_flags(
            position);
        position = packed_advance(position, 1, queue->size);
    }
}

/* Once more, what driver_queue_add() did. */
static void enter_again(struct shunt_driver_queue *queue, uint16_t head)
{
    uint16_t slot = head;

    if (queue->format == RING_SPLIT) {
        driver_split_enter(queue, head);
        return;
    }
    for (unsigned i = 0; i < queue->chains[head].num; i++) {
        driver_packed_put(queue, head, slot, queue->shadow[slot]);
        slot = queue->shadow[slot].next;
    }
}

/* Shows the device all that was entered, without a word. */
static void show(struct shunt_driver_queue *queue)
{
    if (queue->next_available == queue->published_available)
        return;
    if (queue->format == RING_PACKED)
        driver_packed_publish(queue);
    else
        driver_split_publish(queue);
    queue->published_available = queue->next_available;
}

/* What was added but not published yet is the last, and stays so. */
static void lay_out(struct shunt_driver_queue *queue, const struct aged_chain *chains, unsigned num)
{
    uint32_t unpublished = queue->sequence - queue->published_sequence;
    unsigned i = 0;

    queue->is_in_batch = false;
    if (queue->format == RING_PACKED)
        clear_packed(queue);
    else
        clear_split(queue);
    queue->next_available = queue->published_available = queue->next_used;
    for (; i < num && chains[i].age > unpublished; i++)
        enter_again(queue, chains[i].head);
    show(queue);
    for (; i < num; i++)
        enter_again(queue, chains[i].head);
    queue->oldest = num > 0 ? chains[0].head : driver_queue_next_id(queue);
}

/* --- Life ------------------------------------------------------------------------------------------- */

static int apply_features(struct shunt_driver_queue *queue, uint64_t features,
                          struct shunt_error *error)
{
    enum ring_format format = features & RING_FEATURE(PACKED) ? RING_PACKED : RING_SPLIT;
    bool is_in_order = features & RING_FEATURE(IN_ORDER);

    if (format == RING_SPLIT && (queue->size & (queue->size - 1)) != 0)
        return error_set(error, -EINVAL,
                         "ring size %u is not a power of two, and the ring is split", queue->size);
    if (is_in_order && queue->has_format && !queue->is_in_order && queue->num_free < queue->size)
        return error_set(error, -EINVAL, "IN_ORDER while chains are out of order");
    if (!queue->has_format || format != queue->format)
        queue->next_used = format == RING_PACKED ? PACKED_FIRST : 0;
    queue->format = format;
    queue->is_in_order = is_in_order;
    queue->has_event_idx = features & RING_FEATURE(EVENT_IDX);
    queue->has_indirect = features & RING_FEATURE(INDIRECT_DESC);
    queue->has_format = true;
    return 0;
}

/* One that has nothing out may begin at slot 0, wherever it was. */
static void sort_free_slots(struct shunt_driver_queue *queue)
{
    if (queue->num_free < queue->size)
        return;
    for (unsigned i = 0; i < queue->size; i++)
        queue->free_slots[i] = (uint16_t)i;
    queue->first_free = queue->end_free = 0;
}

int driver_queue_start(struct shunt_driver_queue *queue, uint64_t features,
                       struct shunt_error *error)
{
    struct aged_chain *chains = calloc(queue->size, sizeof(*chains));
    int result;

    if (!chains)
        return error_set(error, -ENOMEM, "out of memory");
    pthread_mutex_lock(&queue->lock);
    drain(queue);
    queue->fault = DRIVER_FAULT_NONE;
    result = apply_features(queue, features, error);
    if (result == 0) {
        bool is_armed = queue->is_armed;
        eventfd_t ignored;

        eventfd_read(queue->kick_fd, &ignored); /* of the last device */
        sort_free_slots(queue);
        lay_out(queue, chains, collect_chains(queue, chains));
        queue->is_armed = true;
        shunt_driver_queue_disarm(queue);
        if (is_armed)
            shunt_driver_queue_arm(queue);
    }
    pthread_mutex_unlock(&queue->lock);
    free(chains);
    return result;
}

/* A kick for nothing would make the device think that it does not see our memory. */
void driver_queue_run(struct shunt_driver_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->is_running = queue->fault == DRIVER_FAULT_NONE;
    if (queue->published_available != queue->next_used)
        event_signal(queue->kick_fd);
    event_signal(queue->call_fd);
    pthread_mutex_unlock(&queue->lock);
}

void driver_queue_stop(struct shunt_driver_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->is_running = false;
    pthread_mutex_unlock(&queue->lock);
}

uint32_t driver_queue_base(const struct shunt_driver_queue *queue)
{
    if (queue->format == RING_SPLIT)
        return queue->next_used;
    return queue->next_used | (uint32_t)queue->next_used << 16;
}
