/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/control.h"

#include <errno.h>
#include <string.h>

#include "virtio_net/feature.h"
#include "virtio_net/segment.h"
#include "virtqueue/virtqueue.h"

#define HEADER_BYTES 2u
#define MAC_BYTES    6u
#define ANY_LEN      UINT32_MAX

enum command_class { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };
enum { ANNOUNCE_ACK };
enum { MQ_VQ_PAIRS_SET, MQ_RSS_CONFIG, MQ_HASH_CONFIG };

/* What is left of a command. Taking more than there is leaves nothing, and says so at the end. */
struct reader {
    const uint8_t *at;
    size_t len;
    bool is_short;
};

static const uint8_t *take(struct reader *reader, size_t len)
{
    const uint8_t *at = reader->at;

    if (len > reader->len) {
        reader->is_short = true;
        reader->len = 0;
        return NULL;
    }
    reader->at += len;
    reader->len -= len;
    return at;
}

static uint32_t take_number(struct reader *reader, size_t len)
{
    const uint8_t *bytes = take(reader, len);
    uint32_t number = 0;

    for (size_t i = 0; bytes && i < len; i++)
        number |= (uint32_t)bytes[i] << 8 * i;
    return number;
}

static uint16_t take16(struct reader *reader)
{
    return (uint16_t)take_number(reader, 2);
}

static bool is_read_whole(const struct reader *reader)
{
    return !reader->is_short && reader->len == 0;
}

/* --- Commands: `number` is that of the command, `data` has the length that the table says --------------- */

static enum control_ack obey_rx(struct net_state *state, unsigned number, struct reader *data)
{
    uint32_t value = take_number(data, 1);

    if (value > 1)
        return CONTROL_ERR;
    state->filter.is_on[number] = value == 1;
    return CONTROL_OK;
}

/* Reads one of the two tables; a multicast address in the other one's place is an error. */
static enum control_ack take_table(struct reader *data, bool is_multicast,
                                   struct filter_table *table)
{
    uint32_t num = take_number(data, 4);
    const uint8_t *macs = take(data, (size_t)num * MAC_BYTES);

    if (!macs)
        return CONTROL_ERR;
    *table = (struct filter_table){.is_overflown = num > FILTER_MAX_ADDRESSES};
    for (uint32_t i = 0; i < num; i++) {
        if ((macs[i * MAC_BYTES] & 1) != is_multicast)
            return CONTROL_ERR;
        if (!table->is_overflown)
            memcpy(table->macs[table->num++], macs + i * MAC_BYTES, MAC_BYTES);
    }
    return CONTROL_OK;
}

static enum control_ack set_tables(struct net_state *state, struct reader *data)
{
    struct filter_table unicast, multicast;

    if (take_table(data, false, &unicast) != CONTROL_OK ||
        take_table(data, true, &multicast) != CONTROL_OK || !is_read_whole(data))
        return CONTROL_ERR;
    state->filter.unicast = unicast;
    state->filter.multicast = multicast;
    return CONTROL_OK;
}

static enum control_ack set_address(struct net_state *state, struct reader *data)
{
    static const uint8_t none[MAC_BYTES];
    const uint8_t *mac = take(data, MAC_BYTES);

    if ((mac[0] & 1) || memcmp(mac, none, MAC_BYTES) == 0)
        return CONTROL_ERR;
    memcpy(state->filter.mac, mac, MAC_BYTES);
    return CONTROL_OK;
}

static enum control_ack obey_vlan(struct net_state *state, unsigned number, struct reader *data)
{
    uint16_t vlan = take16(data);

    if (vlan >= FILTER_NUM_VLANS)
        return CONTROL_ERR;
    filter_set_vlan(&state->filter, vlan, number == VLAN_ADD);
    return CONTROL_OK;
}

static enum control_ack set_pairs(struct net_state *state, unsigned max_pairs, struct reader *data)
{
    uint16_t num = take16(data);

    if (num == 0 || num > max_pairs)
        return CONTROL_ERR;
    state->num_pairs = num;
    state->rss.steers = false;
    return CONTROL_OK;
}

static enum control_ack take_key(struct reader *data, struct rss_key *key)
{
    uint32_t len = take_number(data, 1);
    const uint8_t *bytes = take(data, len);

    if (!bytes || len > RSS_KEY_BYTES || !is_read_whole(data))
        return CONTROL_ERR;
    rss_key_set(key, bytes, (uint8_t)len);
    return CONTROL_OK;
}

static enum control_ack set_rss(struct net_state *state, unsigned max_pairs, struct reader *data)
{
    struct rss rss = {.steers = true};
    uint16_t num_pairs;

    rss.hash_types = take_number(data, 4);
    rss.mask = take16(data);
    rss.unclassified = take16(data);
    if (rss.mask >= RSS_TABLE_LENGTH)
        return CONTROL_ERR;
    for (unsigned i = 0; i <= rss.mask; i++)
        rss.queues[i] = take16(data);
    num_pairs = take16(data);
    if (take_key(data, &rss.key) != CONTROL_OK || net_state_check_rss(&rss, max_pairs) < 0 ||
        num_pairs == 0 || num_pairs > max_pairs)
        return CONTROL_ERR;
    state->rss = rss;
    state->num_pairs = num_pairs;
    return CONTROL_OK;
}

/* What steers stays as it is. */
static enum control_ack set_hash(struct net_state *state, unsigned max_pairs, struct reader *data)
{
    struct rss rss = state->rss;
    uint32_t reserved;

    rss.hash_types = take_number(data, 4);
    reserved = take_number(data, 4);
    reserved |= take_number(data, 4);
    if (take_key(data, &rss.key) != CONTROL_OK || reserved != 0 ||
        net_state_check_rss(&rss, max_pairs) < 0)
        return CONTROL_ERR;
    state->rss = rss;
    return CONTROL_OK;
}

/* `len` is that of the data; ANY_LEN: the command checks it itself. */
static const struct command {
    uint8_t class;
    uint8_t number;
    uint8_t feature;
    uint32_t len;
} commands[] = {
    {CLASS_RX, FILTER_PROMISC, NET_F_CTRL_RX, 1},
    {CLASS_RX, FILTER_ALLMULTI, NET_F_CTRL_RX, 1},
    {CLASS_RX, FILTER_ALLUNI, NET_F_CTRL_RX_EXTRA, 1},
    {CLASS_RX, FILTER_NOMULTI, NET_F_CTRL_RX_EXTRA, 1},
    {CLASS_RX, FILTER_NOUNI, NET_F_CTRL_RX_EXTRA, 1},
    {CLASS_RX, FILTER_NOBCAST, NET_F_CTRL_RX_EXTRA, 1},
    {CLASS_MAC, MAC_TABLE_SET, NET_F_CTRL_RX, ANY_LEN},
    {CLASS_MAC, MAC_ADDR_SET, NET_F_CTRL_MAC_ADDR, MAC_BYTES},
    {CLASS_VLAN, VLAN_ADD, NET_F_CTRL_VLAN, 2},
    {CLASS_VLAN, VLAN_DEL, NET_F_CTRL_VLAN, 2},
    {CLASS_ANNOUNCE, ANNOUNCE_ACK, NET_F_GUEST_ANNOUNCE, 0},
    {CLASS_MQ, MQ_VQ_PAIRS_SET, NET_F_MQ, 2},
    {CLASS_MQ, MQ_RSS_CONFIG, NET_F_RSS, ANY_LEN},
    {CLASS_MQ, MQ_HASH_CONFIG, NET_F_HASH_REPORT, ANY_LEN},
};

static const struct command *find_command(uint8_t class, uint8_t number)
{
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (commands[i].class == class && commands[i].number == number)
            return &commands[i];
    return NULL;
}

static enum control_ack obey_mq(struct net_state *state, unsigned number, unsigned max_pairs,
                                struct reader *data)
{
    switch (number) {
    case MQ_VQ_PAIRS_SET:
        return set_pairs(state, max_pairs, data);
    case MQ_RSS_CONFIG:
        return set_rss(state, max_pairs, data);
    default:
        return set_hash(state, max_pairs, data);
    }
}

static enum control_ack obey(struct control *control, const struct command *command,
                             struct reader *data)
{
    struct net_state *state = &control->state;

    switch ((enum command_class)command->class) {
    case CLASS_RX:
        return obey_rx(state, command->number, data);
    case CLASS_MAC:
        return command->number == MAC_TABLE_SET ? set_tables(state, data)
                                                : set_address(state, data);
    case CLASS_VLAN:
        return obey_vlan(state, command->number, data);
    case CLASS_ANNOUNCE:
        state->is_announcing = false;
        return CONTROL_OK;
    case CLASS_MQ:
        return obey_mq(state, command->number, control->max_pairs, data);
    }
    return CONTROL_ERR;
}

enum control_ack control_obey(struct control *control, const uint8_t *bytes, size_t len)
{
    const struct command *command = len < HEADER_BYTES ? NULL : find_command(bytes[0], bytes[1]);
    struct reader data;

    if (command && feature_is_set(control->features, command->feature) &&
        (command->len == ANY_LEN || command->len == len - HEADER_BYTES)) {
        data = (struct reader){.at = bytes + HEADER_BYTES, .len = len - HEADER_BYTES};
        if (obey(control, command, &data) == CONTROL_OK) {
            control->num_obeyed++;
            if (control->changed)
                control->changed(control->ctx);
            return CONTROL_OK;
        }
    }
    control->num_refused++;
    return CONTROL_ERR;
}

/* --- The queue ----------------------------------------------------------------------------------------- */

void control_init(struct control *control, const uint8_t mac[6], unsigned max_pairs,
                  void (*changed)(void *ctx), void *ctx)
{
    *control = (struct control){.max_pairs = max_pairs, .changed = changed, .ctx = ctx};
    control_reset(control, mac);
}

void control_reset(struct control *control, const uint8_t mac[6])
{
    net_state_init(&control->state, mac, 1);
    control_set_features(control, control->features);
}

void control_set_features(struct control *control, uint64_t features)
{
    bool has_queue = feature_is_set(features, NET_F_CTRL_VQ);

    control->features = has_queue ? features : 0;
    control->state.filter.has_addresses = has_queue && feature_is_set(features, NET_F_CTRL_RX);
    control->state.filter.has_vlans = has_queue && feature_is_set(features, NET_F_CTRL_VLAN);
}

/* Copies the command out of the chain; false if it is longer than any that makes sense. */
static bool read_command(struct control *control, const struct shunt_chain *chain)
{
    struct segment_cursor from = segment_start(control->iov);

    if (chain->readable_len > CONTROL_MAX_BYTES)
        return false;
    segment_read(&from, control->command, chain->readable_len);
    return true;
}

/* The acknowledgement comes first in what the device writes: no command of ours has a result. */
static void acknowledge(struct control *control, struct shunt_virtqueue *queue,
                        const struct shunt_chain *chain, enum control_ack ack)
{
    struct segment_cursor to = segment_start(&control->iov[chain->num_readable]);
    uint8_t byte = (uint8_t)ack;
    uint32_t len = chain->writable_len > 0 ? sizeof(byte) : 0;

    segment_write(&to, &byte, len);
    shunt_virtqueue_push(queue, chain, control->iov, len);
}

/*
 * Takes a command out of the ring and into the local. As shunt_virtqueue_pop(); `*is_whole` says whether the
 * command is there to be read.
 */
static int take_command(struct control *control, struct shunt_virtqueue *queue,
                        struct shunt_chain *chain, bool *is_whole)
{
    int result = shunt_virtqueue_pop(queue, chain, control->iov, CONTROL_MAX_PIECES);

    *is_whole = false;
    if (result == -ENOBUFS) {
        /* In more pieces than there are bytes of any use: it goes back as it is. */
        shunt_virtqueue_skip(queue, chain);
        return 1;
    }
    if (result <= 0)
        return result;
    if (chain->writable_len == 0) {
        virtqueue_break(queue, FAULT_NOT_WRITABLE, chain->id);
        return -EPROTO;
    }
    *is_whole = read_command(control, chain);
    return 1;
}

/*
 * Serves one command; what take_command() returned. It is obeyed with the queue unlocked, as this waits for
 * workers. The chain stays valid meanwhile: only this thread stops the queue and changes the memory.
 */
static int serve_one(struct control *control, struct shunt_virtqueue *queue)
{
    enum control_ack ack = CONTROL_ERR;
    struct shunt_chain chain;
    bool is_whole;
    int result;

    shunt_virtqueue_lock(queue);
    result = take_command(control, queue, &chain, &is_whole);
    shunt_virtqueue_unlock(queue);
    if (result <= 0)
        return result;
    if (is_whole)
        ack = control_obey(control, control->command, chain.readable_len);
    else
        control->num_refused++;
    shunt_virtqueue_lock(queue);
    acknowledge(control, queue, &chain, ack);
    shunt_virtqueue_publish(queue);
    shunt_virtqueue_unlock(queue);
    return result;
}

bool control_serve(struct control *control, struct shunt_virtqueue *queue)
{
    bool may_sleep;
    int result = 1;

    for (unsigned i = 0; i < CONTROL_COMMANDS_AT_ONCE && result > 0; i++)
        result = serve_one(control, queue);
    if (result < 0)
        return false; /* broken, or it waits for a guest's IOMMU and is kicked after that */
    shunt_virtqueue_lock(queue);
    may_sleep = shunt_virtqueue_arm(queue);
    shunt_virtqueue_unlock(queue);
    return !may_sleep;
}
