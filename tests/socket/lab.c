/* SPDX-License-Identifier: BSD-3-Clause */
#include "socket/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/frontend.h"

#define MAX_ARGS      32
#define COMMAND_BYTES 512
#define TIMEOUT_MS    15000
#define PAUSE_MS      5
#define PRINT_BYTES   3000

static void pause_ms(unsigned ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000L};

    nanosleep(&pause, NULL);
}

void lab_program(char *path, size_t bytes, const char *name)
{
    const char *build = getenv("BUILD");

    snprintf(path, bytes, "%s/%s", build ? build : "build", name);
}

void lab_path(const struct lab *lab, char *path, size_t bytes, const char *name)
{
    snprintf(path, bytes, "%s/%s", lab->folder, name);
}

void lab_socket(const struct lab *lab, char *path, size_t bytes, const char *name)
{
    snprintf(path, bytes, "%s/%s.sock", lab->folder, name);
}

/* --- Programs --------------------------------------------------------------------------------------- */

/* In the child: standard output and error go to the file, and it does not outlive the test. */
static void run_program(const char *output, const char *program, char *const *args)
{
    int fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0)
        execv(program, args);
    _exit(127);
}

static pid_t spawn(const struct lab *lab, const char *output, const char *name, char *const *args)
{
    char path[128], program[256];
    pid_t pid;

    lab_path(lab, path, sizeof(path), output);
    lab_program(program, sizeof(program), name);
    pid = fork();
    if (pid == 0)
        run_program(path, program, args);
    assert_true(pid > 0);
    return pid;
}

pid_t lab_spawn(const struct lab *lab, const char *output, const char *program, ...)
{
    char *args[MAX_ARGS] = {(char *)(uintptr_t)program};
    unsigned num = 1;
    va_list list;

    va_start(list, program);
    do
        args[num] = va_arg(list, char *);
    while (args[num++] && num < MAX_ARGS);
    va_end(list);
    return spawn(lab, output, program, args);
}

int lab_stop(pid_t pid)
{
    int status, waited_ms = 0;

    kill(pid, SIGTERM);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if ((waited_ms += PAUSE_MS) > TIMEOUT_MS) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        pause_ms(PAUSE_MS);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool exists(const struct lab *lab, const char *name)
{
    struct stat status;
    char path[128];

    lab_path(lab, path, sizeof(path), name);
    return stat(path, &status) == 0;
}

void lab_print_output(const struct lab *lab, const char *name)
{
    char path[128], text[PRINT_BYTES + 1];
    bool is_cut;
    FILE *file;

    lab_path(lab, path, sizeof(path), name);
    file = fopen(path, "re");
    if (!file)
        return;
    is_cut = fseek(file, -PRINT_BYTES, SEEK_END) == 0;
    text[fread(text, 1, PRINT_BYTES, file)] = '\0';
    fclose(file);
    print_message("%s:%s\n%s\n", name, is_cut ? " …" : "", text);
}

/* --- shuntd ----------------------------------------------------------------------------------------- */

static bool wait_until_ready(const char *control)
{
    for (unsigned waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += PAUSE_MS) {
        struct frontend frontend;

        if (frontend_open(&frontend, control) == 0) {
            frontend_close(&frontend);
            return true;
        }
        pause_ms(PAUSE_MS);
    }
    return false;
}

int lab_start(struct lab *lab)
{
    char control[128];

    lab_path(lab, control, sizeof(control), "control");
    lab->pid = lab_spawn(lab, "shuntd.log", "shuntd", "--control", control, NULL);
    if (wait_until_ready(control))
        return 0;
    lab_print_output(lab, "shuntd.log");
    return -1;
}

int lab_begin(struct lab *lab)
{
    *lab = (struct lab){.folder = "/tmp/shunt-lab-XXXXXX"};
    return mkdtemp(lab->folder) ? lab_start(lab) : -1;
}

int lab_setup(void **state)
{
    static struct lab lab;

    *state = &lab;
    return lab_begin(&lab);
}

void lab_kill(struct lab *lab)
{
    kill(lab->pid, SIGKILL);
    waitpid(lab->pid, NULL, 0);
    lab->pid = 0;
}

void lab_end(struct lab *lab)
{
    int status = lab_stop(lab->pid);

    lab->pid = 0;
    if (status != 0) {
        lab_print_output(lab, "shuntd.log");
        fail_msg("shuntd ended with status %d", status);
    }
    assert_false(exists(lab, "control"));
}

/* What is left in the folder besides the outputs is a socket that was not removed. */
int lab_finish(struct lab *lab)
{
    static const char *const outputs[] = {"shuntd.log", "shuntctl.log", "other.log"};
    int status = lab->pid ? lab_stop(lab->pid) : 0;
    char path[128];

    if (status != 0)
        lab_print_output(lab, "shuntd.log");
    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        lab_path(lab, path, sizeof(path), outputs[i]);
        unlink(path);
    }
    if (rmdir(lab->folder) < 0)
        print_message("%s: %s\n", lab->folder, strerror(errno));
    return status;
}

int lab_teardown(void **state)
{
    return lab_finish(*state);
}

/* --- shuntctl --------------------------------------------------------------------------------------- */

/* Its exit status; its output is in shuntctl.log. */
__attribute__((format(printf, 3, 0))) static int control(const struct lab *lab, bool wants_json,
                                                         const char *format, va_list list)
{
    char path[128], command[COMMAND_BYTES], *args[MAX_ARGS], *rest = command;
    unsigned num = 0;
    int status;

    lab_path(lab, path, sizeof(path), "control");
    vsnprintf(command, sizeof(command), format, list);
    args[num++] = (char *)(uintptr_t) "shuntctl";
    args[num++] = (char *)(uintptr_t) "--control";
    args[num++] = path;
    if (wants_json)
        args[num++] = (char *)(uintptr_t) "--json";
    while (num < MAX_ARGS - 1 && (args[num] = strsep(&rest, " ")))
        num++;
    args[num] = NULL;
    if (waitpid(spawn(lab, "shuntctl.log", "shuntctl", args), &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void lab_control(const struct lab *lab, const char *format, ...)
{
    va_list list;
    int status;

    va_start(list, format);
    status = control(lab, false, format, list);
    va_end(list);
    if (status != 0) {
        lab_print_output(lab, "shuntctl.log");
        fail_msg("shuntctl %s: status %d", format, status);
    }
}

json_t *lab_ask(const struct lab *lab, const char *format, ...)
{
    char path[128];
    json_t *answer;
    va_list list;
    int status;

    va_start(list, format);
    status = control(lab, true, format, list);
    va_end(list);
    lab_path(lab, path, sizeof(path), "shuntctl.log");
    answer = json_load_file(path, 0, NULL);
    if (status != 0 || !answer) {
        lab_print_output(lab, "shuntctl.log");
        fail_msg("shuntctl --json %s: status %d", format, status);
    }
    return answer;
}

/* --- Ports ------------------------------------------------------------------------------------------ */

void lab_add_port_to(const struct lab *lab, const char *name, unsigned queues, const char *bridge)
{
    char path[128];

    lab_socket(lab, path, sizeof(path), name);
    lab_control(lab, "port add %s type vhost-user socket %s queues %u bridge %s", name, path,
                queues, bridge);
}

void lab_add_port(const struct lab *lab, const char *name, unsigned queues)
{
    lab_add_port_to(lab, name, queues, "br0");
}

json_t *lab_port(const struct lab *lab, const char *name)
{
    json_t *ports = lab_ask(lab, "port show %s", name);
    json_t *port = json_incref(json_array_get(ports, 0));

    json_decref(ports);
    assert_non_null(port);
    return port;
}

/* Waits until the text under `key` contains `text`. */
static void wait_text(const struct lab *lab, const char *name, const char *key, const char *text)
{
    char last[512] = "";

    for (unsigned waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += PAUSE_MS) {
        json_t *port = lab_port(lab, name);
        const char *value = json_string_value(json_object_get(port, key));

        snprintf(last, sizeof(last), "%s", value ? value : "");
        json_decref(port);
        if (strstr(last, text))
            return;
        pause_ms(PAUSE_MS);
    }
    lab_print_output(lab, "shuntd.log");
    fail_msg("the %s of port %s is '%s', not '%s'", key, name, last, text);
}

void lab_wait_state(const struct lab *lab, const char *name, const char *state)
{
    wait_text(lab, name, "state", state);
}

void lab_wait_reason(const struct lab *lab, const char *name, const char *text)
{
    wait_text(lab, name, "reason", text);
}

/* --- Counters --------------------------------------------------------------------------------------- */

static bool is_drop(const char *name)
{
    return strcmp(name, "packets") != 0 && strcmp(name, "bytes") != 0 &&
           strcmp(name, "copies") != 0;
}

uint64_t lab_counter(const struct lab *lab, const char *port, const char *side, const char *name)
{
    json_t *object = lab_port(lab, port);
    json_t *counters = json_object_get(object, side);
    uint64_t value;

    if (is_drop(name))
        counters = json_object_get(counters, "drops");
    value = (uint64_t)json_integer_value(json_object_get(counters, name));
    json_decref(object);
    return value;
}

void lab_wait_counter(const struct lab *lab, const char *port, const char *side, const char *name,
                      uint64_t value)
{
    uint64_t last = 0;

    for (unsigned waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += PAUSE_MS) {
        last = lab_counter(lab, port, side, name);
        if (last == value)
            return;
        pause_ms(PAUSE_MS);
    }
    fail_msg("%s.%s.%s is %llu, not %llu", port, side, name, (unsigned long long)last,
             (unsigned long long)value);
}

static json_int_t sum_of(const json_t *counters, const char *key)
{
    return json_integer_value(json_object_get(counters, key));
}

static json_int_t sum_of_drops(const json_t *counters)
{
    json_t *drops = json_object_get(counters, "drops"), *value;
    json_int_t sum = 0;
    const char *key;

    json_object_foreach (drops, key, value) {
        sum += json_integer_value(value);
    }
    return sum;
}

/* What came in and what became of it, over all ports. */
static void sum_ports(const struct lab *lab, json_int_t *in, json_int_t *out)
{
    json_t *ports = lab_ask(lab, "port show"), *port;
    size_t i;

    *in = 0;
    *out = 0;
    json_array_foreach (ports, i, port) {
        const json_t *rx = json_object_get(port, "rx"), *tx = json_object_get(port, "tx");

        *in += sum_of(rx, "packets") + sum_of(rx, "copies");
        *out += sum_of(tx, "packets") + sum_of_drops(rx) + sum_of_drops(tx);
    }
    json_decref(ports);
}

/* A burst may be on its way still, half counted. */
void lab_assert_balance(const struct lab *lab)
{
    json_int_t in, out;

    for (unsigned waited_ms = 0; waited_ms < 10 * PAUSE_MS; waited_ms += PAUSE_MS) {
        sum_ports(lab, &in, &out);
        if (in == out)
            return;
        pause_ms(PAUSE_MS);
    }
    assert_int_equal(in, out);
}
