/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration tree: what it says when nothing is wrong, and what is said when something is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/tree.h"
#include "daemon/yaml.h"

/* The checked tree of a configuration in YAML. */
static json_t *check_good(const char *text)
{
    struct shunt_error error = {0};
    struct yaml_source source;
    json_t *tree = NULL;

    if (yaml_source_read(&source, "f", text, strlen(text), &error) < 0 ||
        tree_check(source.tree, &source, &tree, &error) < 0)
        fail_msg("%s", error.text);
    yaml_source_free(&source);
    return tree;
}

/* The checked tree must be as the JSON text says, with ' for ". */
static void assert_tree(json_t *tree, const char *expected)
{
    char *text = json_dumps(tree, JSON_COMPACT);

    for (char *at = text; *at != '\0'; at++)
        if (*at == '"')
            *at = '\'';
    assert_string_equal(text, expected);
    free(text);
}

static void assert_checks(const char *yaml, const char *expected)
{
    json_t *tree = check_good(yaml);

    assert_tree(tree, expected);
    json_decref(tree);
}

/* From YAML, the message begins with the place. */
static void assert_refused(const char *yaml, const char *message)
{
    struct shunt_error error = {0};
    struct yaml_source source;
    json_t *tree = (json_t *)&source;

    if (yaml_source_read(&source, "f", yaml, strlen(yaml), &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(tree_check(source.tree, &source, &tree, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_string_equal(error.text, message);
    assert_ptr_equal(tree, &source);
    yaml_source_free(&source);
}

/* From JSON there are no places, and values have types. */
static void assert_json_refused(const char *json, const char *message)
{
    struct shunt_error error = {0};
    json_t *given = json_loads(json, JSON_DECODE_ANY, NULL);
    json_t *tree = NULL;

    assert_non_null(given);
    assert_int_equal(tree_check(given, NULL, &tree, &error), -EINVAL);
    assert_string_equal(error.text, message);
    json_decref(given);
}

#define BRIDGES "'bridges':{'br0':{'mode':'learn','ageing':300}}"
#define WORKERS "'workers':{'mode':'adaptive','count':1}"

static void test_nothing_is_one_bridge(void **state)
{
    assert_checks("", "{" BRIDGES ",'ports':{}," WORKERS "}");
    assert_checks("ports:\nworkers:\n", "{" BRIDGES ",'ports':{}," WORKERS "}");
    assert_checks("bridges: {br0: }", "{" BRIDGES ",'ports':{}," WORKERS "}");
}

static void test_no_bridges(void **state)
{
    assert_checks("bridges: {}", "{'bridges':{},'ports':{}," WORKERS "}");
    assert_refused("bridges: {}\nports: {p: {type: null}}",
                   "f:2:9: ports.p.bridge: unknown bridge 'br0'; there are: none");
}

static void test_example(void **state)
{
    assert_checks(
        "bridges:\n"
        "  br0: {}\n"
        "ports:\n"
        "  vm1: {type: vhost-user, socket: /run/shunt/vm1.sock, bridge: br0}\n"
        "workers: {cpus: [1], mode: adaptive}\n",
        "{" BRIDGES ",'ports':{'vm1':{'type':'vhost-user','bridge':'br0',"
        "'max-addresses':4096,'socket':'/run/shunt/vm1.sock','mode':'server','queues':1}},"
        "'workers':{'mode':'adaptive','cpus':[1]}}");
}

/* What config.show tells is taken by config.apply, and is the same again. */
static void test_checked_is_accepted_again(void **state)
{
    json_t *once = check_good("bridges: {a: {mode: patch}, b: {ageing: 0}}\n"
                              "ports: {p: {type: null, bridge: a, max-addresses: 7},\n"
                              "        q: {type: vhost-user, socket: /q, bridge: b, queues: 4}}\n"
                              "workers: {cpus: '3,0-1', mode: poll}\n");
    json_t *twice = NULL;

    assert_int_equal(tree_check(once, NULL, &twice, NULL), 0);
    assert_true(json_equal(once, twice));
    json_decref(once);
    json_decref(twice);
}

static void test_given_is_not_changed(void **state)
{
    json_t *given = json_loads("{\"ports\": {\"p\": {\"type\": \"null\"}}}", 0, NULL);
    json_t *copy = json_deep_copy(given);
    json_t *tree = NULL;

    assert_int_equal(tree_check(given, NULL, &tree, NULL), 0);
    assert_true(json_equal(given, copy));
    json_decref(tree);
    json_decref(given);
    json_decref(copy);
}

static void test_sections(void **state)
{
    assert_refused("port: {}", "f:1:1: unknown key 'port'; there are: bridges, ports, workers");
    assert_refused("- a\n", "f:1:1: a single value or a list; expected keys with values");
    assert_refused("ports: x", "f:1:8: ports: a single value or a list; expected keys with values");
    assert_refused("ports: {p: [a]}",
                   "f:1:12: ports.p: a single value or a list; expected keys with values");
    assert_refused("bridges: {b: learn}",
                   "f:1:14: bridges.b: a single value or a list; expected keys with values");
    assert_json_refused("[]", "a single value or a list; expected keys with values");
}

static void test_types(void **state)
{
    assert_refused(
        "ports:\n  vm1:\n    type: vhostuser\n",
        "f:3:11: ports.vm1.type: unknown type 'vhostuser'; there are: vhost-user, virtio-user, "
        "tap, null");
    assert_refused(
        "ports:\n  vm1:\n    socket: /x\n",
        "f:2:3: ports.vm1: 'type' is missing; there are: vhost-user, virtio-user, tap, null");
    assert_refused(
        "ports: {vm1: {type: }}",
        "f:1:21: ports.vm1.type: not a text; expected one of: vhost-user, virtio-user, tap, null");
    assert_json_refused(
        "{\"ports\": {\"p\": {\"type\": 1}}}",
        "ports.p.type: not a text; expected one of: vhost-user, virtio-user, tap, null");
}

static void test_options(void **state)
{
    assert_refused("ports:\n  p: {type: null, max-addresses: 0}\n",
                   "f:2:34: ports.p.max-addresses: '0'; expected a number from 1 to 131072");
    assert_refused("ports: {p: {type: null, socket: /x}}",
                   "f:1:25: ports.p: unknown key 'socket'; there are: type, bridge, max-addresses");
    assert_refused("bridges: {b: {mode: hub}}",
                   "f:1:21: bridges.b.mode: 'hub'; expected one of: learn, patch");
    assert_refused("bridges: {b: {ageing: 86401}}",
                   "f:1:23: bridges.b.ageing: '86401'; expected a number from 0 to 86400");
    assert_refused("workers: {mode: fast}",
                   "f:1:17: workers.mode: 'fast'; expected one of: adaptive, poll, interrupt");
    assert_refused("ports: {p: {type: vhost-user}}",
                   "f:1:9: ports.p: 'socket' is missing: path of the socket between us and the "
                   "guest's QEMU");
}

static void test_port_names(void **state)
{
    static const struct {
        const char *name;
        const char *message;
    } bad[] = {
        {"''", "ports.'': an empty name; expected 1 to 63 bytes"},
        {"a/b", "ports.'a/b': the name has a slash; expected a name without /"},
        {"a\\b", "ports.'a\\b': the name has a backslash; expected a name without \\"},
        {"a b", "ports.'a b': the name has white space; expected a name without"},
        {"\"a\\tb\"", "ports.'a\\x09b': the name has white space; expected a name without"},
        {"\"a\\x01b\"",
         "ports.'a\\x01b': the name has a control character; expected a name without"},
        {"\"a\\x7fb\"",
         "ports.'a\\x7fb': the name has a control character; expected a name without"},
        {"n123456789012345678901234567890123456789012345678901234567890123",
         "ports.'n123456789012345678901234567890123456789012345678901234567890123': the name is too "
         "long; expected 1 to 63 bytes"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char yaml[256], message[256];

        snprintf(yaml, sizeof(yaml), "ports:\n  good: {type: null}\n  %s: {type: null}\n",
                 bad[i].name);
        snprintf(message, sizeof(message), "f:3:3: %s", bad[i].message);
        assert_refused(yaml, message);
    }
}

static void test_good_names(void **state)
{
    assert_checks("bridges: {é.1_-(): {}}\n"
                  "ports: {n12345678901234567890123456789012345678901234567890123456789012: "
                  "{type: null, bridge: é.1_-()}}",
                  "{'bridges':{'é.1_-()':{'mode':'learn','ageing':300}},'ports':"
                  "{'n12345678901234567890123456789012345678901234567890123456789012':"
                  "{'type':'null','bridge':'é.1_-()','max-addresses':4096}}," WORKERS "}");
}

static void test_bridge_names(void **state)
{
    assert_refused("bridges: {a/b: {}}",
                   "f:1:11: bridges.'a/b': the name has a slash; expected a name without /");
}

static void test_bridge_of_a_port(void **state)
{
    assert_refused("bridges: {a: {}, b: {}}\nports: {p: {type: null, bridge: c}}",
                   "f:2:33: ports.p.bridge: unknown bridge 'c'; there are: a, b");
    assert_refused("bridges: {a: {}}\nports: {p: {type: null}}",
                   "f:2:9: ports.p.bridge: unknown bridge 'br0'; there are: a");
}

static void test_patches(void **state)
{
    static const char two[] = "bridges: {x: {mode: patch}}\n"
                              "ports:\n"
                              "  a: {type: null, bridge: x}\n"
                              "  b: {type: null, bridge: x}\n";
    char three[256];

    json_decref(check_good(two));
    snprintf(three, sizeof(three), "%s  c: {type: null, bridge: x}\n", two);
    assert_refused(three,
                   "f:5:27: ports.c.bridge: bridge 'x' is a patch, which joins two ports, and "
                   "has them already");
}

static void test_sockets(void **state)
{
    json_decref(check_good("ports: {a: {type: vhost-user, socket: /a}, b: {type: vhost-user, "
                           "socket: /b}}"));
    assert_refused(
        "ports:\n"
        "  a: {type: vhost-user, socket: /s}\n"
        "  b: {type: vhost-user, socket: /s}\n",
        "f:3:33: ports.b.socket: '/s' is the socket of port 'a' already; expected one of "
        "its own");
}

static void assert_cpus(const char *given, const char *expected)
{
    char yaml[128], json[512];

    snprintf(yaml, sizeof(yaml), "workers: {cpus: %s}", given);
    snprintf(json, sizeof(json), "{" BRIDGES ",'ports':{},'workers':{'mode':'adaptive',%s}}",
             expected);
    assert_checks(yaml, json);
}

static void test_cpus(void **state)
{
    assert_cpus("3", "'cpus':[3]");
    assert_cpus("'0,2-4'", "'cpus':[0,2,3,4]");
    assert_cpus("[5, 1]", "'cpus':[5,1]");
    assert_cpus("[0, 2-3]", "'cpus':[0,2,3]");
    assert_cpus("0-63",
                "'cpus':[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,"
                "25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,"
                "50,51,52,53,54,55,56,57,58,59,60,61,62,63]");
    assert_cpus("[]", "'count':1");
    assert_cpus("[], count: 4", "'count':4");
    assert_cpus("[1, 2], count: 2", "'cpus':[1,2]");
}

static void test_bad_cpus(void **state)
{
    static const char *const bad[] = {"x",    "''",   "'1,'",    "',1'",      "'1,,2'",
                                      "1-",   "'-1'", "3-2",     "1 2",       "1.5",
                                      "1024", "{}",   "'1-2-3'", "9999999999"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char yaml[64];
        struct shunt_error error = {0};
        struct yaml_source source;
        json_t *tree = NULL;

        snprintf(yaml, sizeof(yaml), "workers: {cpus: %s}", bad[i]);
        assert_int_equal(yaml_source_read(&source, "f", yaml, strlen(yaml), &error), 0);
        assert_int_equal(tree_check(source.tree, &source, &tree, &error), -EINVAL);
        assert_memory_equal(error.text, "f:1:17: workers.cpus: ", 22);
        assert_non_null(strstr(error.text, "expected CPU numbers such as 0,2-3"));
        yaml_source_free(&source);
    }
    assert_refused("workers: {cpus: [0, x]}",
                   "f:1:21: workers.cpus[1]: 'x'; expected CPU numbers such as 0,2-3");
    assert_refused("workers: {cpus: [1, 0-1]}",
                   "f:1:21: workers.cpus[1]: CPU 1 is there twice; expected each CPU once");
    assert_refused("workers: {cpus: 0-64}",
                   "f:1:17: workers.cpus: too many CPUs; expected at most 64");
    assert_json_refused("{\"workers\": {\"cpus\": [0, -1]}}",
                        "workers.cpus[1]: '-1'; expected CPU numbers such as 0,2-3");
    assert_json_refused("{\"workers\": {\"cpus\": [true]}}",
                        "workers.cpus[0]: 'true'; expected CPU numbers such as 0,2-3");
}

static void test_count_of_workers(void **state)
{
    assert_refused("workers: {count: 65}",
                   "f:1:18: workers.count: '65'; expected a number from 1 to 64");
    assert_refused(
        "workers: {cpus: [0, 1], count: 3}",
        "f:1:32: workers.count: 3 workers for 2 CPUs; expected count to be left out, each "
        "CPU has one");
}

/* Errors are optional. */
static void test_without_error(void **state)
{
    json_t *given = json_loads("{\"ports\": {\"a b\": {}}}", 0, NULL);
    json_t *tree = NULL;

    assert_int_equal(tree_check(given, NULL, &tree, NULL), -EINVAL);
    assert_null(tree);
    json_decref(given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_one_bridge),
        cmocka_unit_test(test_no_bridges),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_checked_is_accepted_again),
        cmocka_unit_test(test_given_is_not_changed),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_port_names),
        cmocka_unit_test(test_good_names),
        cmocka_unit_test(test_bridge_names),
        cmocka_unit_test(test_bridge_of_a_port),
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_bad_cpus),
        cmocka_unit_test(test_count_of_workers),
        cmocka_unit_test(test_without_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
