/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/phrase.h"
#include "gen/frame.h"
#include "gen/quantity.h"

#define EXIT_USAGE 2

#define DEFAULT_RING_SIZE 256u
#define MAX_RING_SIZE     32768u
#define MAX_BURST         4096u
#define MIN_BUFFER_BYTES  512u
#define MAX_BUFFER_BYTES  65562u /* VIRTIO 1.3, 5.1.6.3.1 */
#define GSO_MIN_BYTES     500u
#define GSO_MAX_BYTES     65000u

static const char help[] =
    "Usage: shunt-gen --port PATH[,KEY[=VALUE]]... [OPTION]...\n"
    "Sends Ethernet frames into vhost-user back-ends and takes what comes out of them.\n"
    "\n"
    "Ports: each sends to all others, and --port may be given several times\n"
    "  --port PATH          the vhost-user socket that the back-end listens at; then, with commas:\n"
    "         server        we listen there, and the back-end connects\n"
    "         role=ROLE     both (the default), send (nobody sends to it), sink, or echo\n"
    "         queues=N      queue pairs: 1\n"
    "         ring=N        descriptors in each ring: 256\n"
    "         packed        packed rings, without it split ones\n"
    "         mergeable=on|off  mergeable receive buffers: used if they are offered\n"
    "         in-order      the back-end must return buffers in order\n"
    "         event-idx=off without event index\n"
    "         buffer=BYTES  of a receive buffer\n"
    "  --id N               of this process, 0 to 255, where several meet: 0\n"
    "  --to MAC             where a single port sends to\n"
    "\n"
    "Frames\n"
    "  --size SIZE          bytes without FCS: 60, 64-1514, imix, 60:7,590:4,1514:1 (with weights)\n"
    "  --flows N            flows from each port to each other: 1\n"
    "  --macs N             addresses behind each port: 1\n"
    "  --gso BYTES          TCP frames that the back-end may segment, of so many bytes each\n"
    "\n"
    "Load, of each port\n"
    "  --rate RATE          frames a second (1.5M), or bits (10Gbit): as fast as it goes\n"
    "  --burst N            frames that are sent together\n"
    "  --window N           at most so many frames under way\n"
    "  --count N            ends after so many frames\n"
    "  --duration TIME      ends after 10 (s), 500ms, 2min\n"
    "\n"
    "Measurement\n"
    "  --latency            how long frames are under way, with percentiles\n"
    "  --verify             lost, duplicated, reordered and corrupted frames\n"
    "  --touch none|header|all  what is written before sending, and read after receiving\n"
    "\n"
    "Running\n"
    "  --wait poll|sleep    when there is nothing to do: poll\n"
    "  --cpu N              run on this CPU\n"
    "  --timeout TIME       how long to wait for the back-ends at the start: 5\n"
    "  --interval TIME      between reports on the way: 1; 0: none\n"
    "  --json               reports as JSON, one object a line\n"
    "  --version, --help\n"
    "\n"
    "Ends on SIGINT with the report so far. Exit status: 0; 1: it could not be done; 2: wrong usage;\n"
    "3: --verify found something wrong. See shunt-gen(1).\n";

__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("shunt-gen: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; try 'shunt-gen --help'\n", stderr);
    va_end(args);
    return EXIT_USAGE;
}

/* --- Words ---------------------------------------------------------------------------------------------- */

/* The place of `word` in the list, which ends with NULL; -1: it is not there. */
static int choose(const char *word, const char *const *choices)
{
    for (int i = 0; choices[i]; i++) {
        if (strcmp(word, choices[i]) == 0)
            return i;
    }
    return -1;
}

static int take_choice(const char *name, const char *value, const char *const *choices, int *chosen)
{
    struct phrase known = {0};
    int found = choose(value, choices);

    if (found < 0) {
        for (unsigned i = 0; choices[i]; i++)
            phrase_list(&known, choices[i]);
        return complain("%s '%s': there are %s", name, value, known.text);
    }
    *chosen = found;
    return OPTIONS_GO_ON;
}

static int take_number(const char *name, const char *value, unsigned least, unsigned most,
                       unsigned *number)
{
    if (quantity_number(value, least, most, number))
        return OPTIONS_GO_ON;
    return complain("%s '%s': must be a number from %u to %u", name, value, least, most);
}

static int take_count(const char *name, const char *value, uint64_t least, uint64_t most,
                      uint64_t *number)
{
    uint64_t count;

    if (!quantity_count(value, &count) || count < least || count > most)
        return complain("%s '%s': must be a whole number from %llu to %llu", name, value,
                        (unsigned long long)least, (unsigned long long)most);
    *number = count;
    return OPTIONS_GO_ON;
}

static int take_time(const char *name, const char *value, double *seconds)
{
    if (quantity_seconds(value, seconds))
        return OPTIONS_GO_ON;
    return complain("%s '%s': must be a time such as 10 (s), 500ms or 2min", name, value);
}

/* --- A port --------------------------------------------------------------------------------------------- */

static int take_server(struct port_options *port, const char *value)
{
    (void)value;
    port->is_server = true;
    return OPTIONS_GO_ON;
}

static int take_packed(struct port_options *port, const char *value)
{
    (void)value;
    port->is_packed = true;
    return OPTIONS_GO_ON;
}

static int take_in_order(struct port_options *port, const char *value)
{
    (void)value;
    port->is_in_order = true;
    return OPTIONS_GO_ON;
}

static const char *const switch_words[] = {"off", "on", NULL};

static int take_event_idx(struct port_options *port, const char *value)
{
    int chosen = 0, status = take_choice("event-idx", value, switch_words, &chosen);

    port->has_event_idx = chosen;
    return status;
}

static int take_mergeable(struct port_options *port, const char *value)
{
    int chosen = 0, status = take_choice("mergeable", value, switch_words, &chosen);

    port->mergeable = chosen ? MERGEABLE_ON : MERGEABLE_OFF;
    return status;
}

static int take_role(struct port_options *port, const char *value)
{
    static const char *const choices[] = {
        [ROLE_BOTH] = "both", [ROLE_SEND] = "send", [ROLE_SINK] = "sink",
        [ROLE_ECHO] = "echo", [ROLE_NUM] = NULL,
    };
    int chosen = 0, status = take_choice("role", value, choices, &chosen);

    port->role = (enum role)chosen;
    return status;
}

static int take_queues(struct port_options *port, const char *value)
{
    return take_number("queues", value, 1, OPTIONS_MAX_QUEUES, &port->num_queues);
}

static int take_ring(struct port_options *port, const char *value)
{
    int status = take_number("ring", value, 2, MAX_RING_SIZE, &port->ring_size);

    if (status == OPTIONS_GO_ON && (port->ring_size & (port->ring_size - 1)) != 0)
        return complain("ring '%s': must be a power of two", value);
    return status;
}

static int take_buffer(struct port_options *port, const char *value)
{
    return take_number("buffer", value, MIN_BUFFER_BYTES, MAX_BUFFER_BYTES, &port->buffer_bytes);
}

static const struct {
    const char *key;
    int (*take)(struct port_options *port, const char *value);
    bool has_value;
} port_keys[] = {
    {"server", take_server, false},     {"packed", take_packed, false},
    {"in-order", take_in_order, false}, {"event-idx", take_event_idx, true},
    {"role", take_role, true},          {"queues", take_queues, true},
    {"ring", take_ring, true},          {"mergeable", take_mergeable, true},
    {"buffer", take_buffer, true},
};

/* KEY or KEY=VALUE */
static int take_port_word(struct port_options *port, char *word)
{
    char *value = strchr(word, '=');

    if (value)
        *value++ = '\0';
    for (size_t i = 0; i < sizeof(port_keys) / sizeof(port_keys[0]); i++) {
        if (strcmp(word, port_keys[i].key) != 0)
            continue;
        if (port_keys[i].has_value != (value != NULL))
            return complain("--port: '%s' %s", word,
                            value ? "takes no value" : "needs a value, with '='");
        return port_keys[i].take(port, value);
    }
    return complain("--port: unknown key '%s'", word);
}

static int take_port_words(struct port_options *port, char *list)
{
    char *rest = list, *path = strsep(&rest, ",");
    size_t len = strlen(path);

    if (len == 0)
        return complain("--port: the path of the socket is missing");
    if (len >= sizeof(port->path))
        return complain("--port: the path '%s' has more than %zu bytes", path,
                        sizeof(port->path) - 1);
    memcpy(port->path, path, len + 1);
    while (rest) {
        int status = take_port_word(port, strsep(&rest, ","));

        if (status != OPTIONS_GO_ON)
            return status;
    }
    return OPTIONS_GO_ON;
}

static int take_port(struct options *options, const char *value)
{
    struct port_options *port = &options->ports[options->num_ports];
    char *list;
    int status;

    if (options->num_ports == OPTIONS_MAX_PORTS)
        return complain("more than %u ports", OPTIONS_MAX_PORTS);
    *port = (struct port_options){.has_event_idx = true,
                                  .num_queues = 1,
                                  .ring_size = DEFAULT_RING_SIZE};
    list = strdup(value);
    if (!list)
        return complain("out of memory");
    status = take_port_words(port, list);
    free(list);
    options->num_ports++;
    return status;
}

/* --- Everything else ------------------------------------------------------------------------------------ */

static int take_id(struct options *options, const char *value)
{
    return take_number("--id", value, 0, 255, &options->id);
}

static int take_to(struct options *options, const char *value)
{
    const char *at = value;

    for (unsigned i = 0; i < 6; i++) {
        char *end;
        unsigned long byte = strtoul(at, &end, 16);

        if (!isxdigit((unsigned char)*at) || end > at + 2 || byte > 0xff ||
            *end != (i < 5 ? ':' : '\0'))
            return complain("--to '%s': must be an address such as 52:54:00:12:34:56", value);
        options->to_mac[i] = (uint8_t)byte;
        at = end + 1;
    }
    options->has_to_mac = true;
    return OPTIONS_GO_ON;
}

static int take_size(struct options *options, const char *value)
{
    struct shunt_error error;

    if (pattern_parse(value, &options->sizes, &error) < 0)
        return complain("--size %s", error.text);
    options->has_sizes = true;
    return OPTIONS_GO_ON;
}

static int take_flows(struct options *options, const char *value)
{
    return take_count("--flows", value, 1, 1 << 20, &options->num_flows);
}

static int take_macs(struct options *options, const char *value)
{
    return take_count("--macs", value, 1, 1 << 20, &options->num_macs);
}

static int take_gso(struct options *options, const char *value)
{
    return take_number("--gso", value, GSO_MIN_BYTES, GSO_MAX_BYTES, &options->gso_bytes);
}

static int take_rate(struct options *options, const char *value)
{
    if (quantity_rate(value, &options->rate, &options->is_rate_in_bits))
        return OPTIONS_GO_ON;
    return complain("--rate '%s': must be frames or bits a second, such as 1.5M or 10Gbit", value);
}

static int take_burst(struct options *options, const char *value)
{
    return take_number("--burst", value, 1, MAX_BURST, &options->burst);
}

static int take_window(struct options *options, const char *value)
{
    return take_count("--window", value, 1, 1 << 20, &options->window);
}

static int take_frames(struct options *options, const char *value)
{
    return take_count("--count", value, 1, UINT64_C(1) << 53, &options->count);
}

static int take_duration(struct options *options, const char *value)
{
    return take_time("--duration", value, &options->duration_s);
}

static int take_latency(struct options *options, const char *value)
{
    (void)value;
    options->measures_latency = true;
    return OPTIONS_GO_ON;
}

static int take_verify(struct options *options, const char *value)
{
    (void)value;
    options->verifies = true;
    return OPTIONS_GO_ON;
}

static int take_touch(struct options *options, const char *value)
{
    static const char *const choices[] = {
        [TOUCH_NONE] = "none", [TOUCH_HEADER] = "header", [TOUCH_ALL] = "all", NULL};
    int chosen = 0, status = take_choice("--touch", value, choices, &chosen);

    options->touch = (enum touch)chosen;
    return status;
}

static int take_wait(struct options *options, const char *value)
{
    static const char *const choices[] = {"poll", "sleep", NULL};
    int chosen = 0, status = take_choice("--wait", value, choices, &chosen);

    options->may_sleep = chosen;
    return status;
}

static int take_cpu(struct options *options, const char *value)
{
    unsigned cpu = 0;
    int status = take_number("--cpu", value, 0, 1023, &cpu);

    options->cpu = (int)cpu;
    return status;
}

static int take_timeout(struct options *options, const char *value)
{
    return take_time("--timeout", value, &options->timeout_s);
}

static int take_interval(struct options *options, const char *value)
{
    return take_time("--interval", value, &options->interval_s);
}

static int take_json(struct options *options, const char *value)
{
    (void)value;
    options->is_json = true;
    return OPTIONS_GO_ON;
}

static int say_version(struct options *options, const char *value)
{
    (void)options;
    (void)value;
    puts("shunt-gen " SHUNT_VERSION);
    return EXIT_SUCCESS;
}

static int say_help(struct options *options, const char *value)
{
    (void)options;
    (void)value;
    fputs(help, stdout);
    return EXIT_SUCCESS;
}

/* --- The command line ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int has_value;
    int (*take)(struct options *options, const char *value);
} words[] = {
    {"port", required_argument, take_port},
    {"id", required_argument, take_id},
    {"to", required_argument, take_to},
    {"size", required_argument, take_size},
    {"flows", required_argument, take_flows},
    {"macs", required_argument, take_macs},
    {"gso", required_argument, take_gso},
    {"rate", required_argument, take_rate},
    {"burst", required_argument, take_burst},
    {"window", required_argument, take_window},
    {"count", required_argument, take_frames},
    {"duration", required_argument, take_duration},
    {"latency", no_argument, take_latency},
    {"verify", no_argument, take_verify},
    {"touch", required_argument, take_touch},
    {"wait", required_argument, take_wait},
    {"cpu", required_argument, take_cpu},
    {"timeout", required_argument, take_timeout},
    {"interval", required_argument, take_interval},
    {"json", no_argument, take_json},
    {"version", no_argument, say_version},
    {"help", no_argument, say_help},
};

#define NUM_WORDS (sizeof(words) / sizeof(words[0]))

/* What getopt_long() returns for the first of them; lower numbers are its own. */
#define FIRST_WORD 256

static int take_words(int argc, char **argv, struct options *options)
{
    struct option table[NUM_WORDS + 1] = {0};
    int word, status = OPTIONS_GO_ON;

    for (size_t i = 0; i < NUM_WORDS; i++)
        table[i] = (struct option){words[i].name, words[i].has_value, NULL, FIRST_WORD + (int)i};
    while (status == OPTIONS_GO_ON && (word = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        if (word == ':')
            return complain("option '%s' needs a value", argv[optind - 1]);
        if (word < FIRST_WORD)
            return complain("unknown option '%s'", argv[optind - 1]);
        status = words[word - FIRST_WORD].take(options, optarg);
    }
    if (status == OPTIONS_GO_ON && optind < argc)
        return complain("unexpected '%s'", argv[optind]);
    return status;
}

/* --- What belongs together ------------------------------------------------------------------------------- */

static unsigned most_queues(const struct options *options)
{
    unsigned most = 1;

    for (unsigned i = 0; i < options->num_ports; i++) {
        if (options->ports[i].num_queues > most)
            most = options->ports[i].num_queues;
    }
    return most;
}

/* As large as whole segments can be, or the smallest. */
static uint32_t usual_size(const struct options *options)
{
    if (options->gso_bytes == 0)
        return FRAME_MIN_BYTES;
    return (FRAME_LIMIT_BYTES - FRAME_GSO_HEADER_BYTES) / options->gso_bytes * options->gso_bytes +
           FRAME_GSO_HEADER_BYTES;
}

static void fill_in(struct options *options)
{
    if (!options->has_sizes)
        options->sizes = (struct pattern_mix){1, {{usual_size(options), usual_size(options), 1}}};
    if (options->num_flows == 0)
        options->num_flows = most_queues(options);
    if (options->num_flows < options->num_macs)
        options->num_flows = options->num_macs;
}

static int check(const struct options *options)
{
    uint32_t least = options->gso_bytes ? FRAME_MIN_GSO_BYTES : FRAME_MIN_BYTES;

    if (options->num_ports == 0)
        return complain("no port: give one with --port PATH");
    if (options->has_to_mac && options->num_ports > 1)
        return complain("--to: several ports send to each other");
    if (options->num_flows * options->num_ports > FRAME_MAX_STREAMS)
        return complain("--flows: more than %u flows of a port in all", FRAME_MAX_STREAMS);
    if (pattern_least(&options->sizes) >= least &&
        pattern_most(&options->sizes) <= FRAME_LIMIT_BYTES)
        return OPTIONS_GO_ON;
    fprintf(stderr, "shunt-gen: frames of %u bytes cannot be: %u to %u bytes can\n",
            pattern_least(&options->sizes) < least ? pattern_least(&options->sizes)
                                                   : pattern_most(&options->sizes),
            least, FRAME_LIMIT_BYTES);
    return EXIT_FAILURE;
}

int options_parse(int argc, char **argv, struct options *options)
{
    int status;

    *options = (struct options){.num_macs = 1, .cpu = -1, .timeout_s = 5, .interval_s = 1};
    status = take_words(argc, argv, options);
    if (status != OPTIONS_GO_ON)
        return status;
    fill_in(options);
    return check(options);
}
