/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "daemon/plan.h"
#include "daemon/tree.h"
#include "daemon/yaml.h"

static void log_lines(const json_t *lines)
{
    size_t idx;
    json_t *line;

    json_array_foreach (lines, idx, line)
        log_info("config", "%s", json_string_value(line));
}

/* `tree` is checked. */
static int apply_tree(struct fabric *fabric, json_t *tree, bool is_dry_run, json_t **lines,
                      struct shunt_error *error)
{
    struct plan *plan;
    int result = plan_make(fabric, tree, &plan, error);

    if (result < 0)
        return result;
    if (!is_dry_run) {
        result = plan_run(plan, error);
        if (result == 0)
            log_lines(plan_lines(plan));
    }
    if (result == 0 && lines)
        *lines = json_deep_copy(plan_lines(plan));
    plan_free(plan);
    return result;
}

int config_apply(struct fabric *fabric, json_t *given, const struct yaml_source *source,
                 bool is_dry_run, json_t **lines, struct shunt_error *error)
{
    json_t *tree = NULL;
    int result = tree_check(given, source, &tree, error);

    if (result < 0)
        return result;
    result = apply_tree(fabric, tree, is_dry_run, lines, error);
    json_decref(tree);
    return result;
}

/* Reads what there is, up to one byte more than may be, which yaml_source_read() refuses. */
static int read_source(const char *file, FILE *in, struct yaml_source *source,
                       struct shunt_error *error)
{
    char *text = malloc(YAML_MAX_BYTES + 1);
    size_t len;
    int result;

    if (!text)
        return error_set(error, -ENOMEM, "out of memory");
    len = fread(text, 1, YAML_MAX_BYTES + 1, in);
    if (ferror(in))
        result = error_set(error, -errno, "cannot read %s: %m", file);
    else
        result = yaml_source_read(source, file, text, len, error);
    free(text);
    return result;
}

static int read_file(const char *file, struct yaml_source *source, struct shunt_error *error)
{
    FILE *in = fopen(file, "re");
    int result;

    if (!in)
        return error_set(error, -errno, "cannot read %s: %m", file);
    result = read_source(file, in, source, error);
    fclose(in);
    return result;
}

int config_apply_file(struct fabric *fabric, const char *file, struct shunt_error *error)
{
    struct yaml_source source = {0};
    int result = read_file(file, &source, error);

    if (result < 0)
        return result;
    result = config_apply(fabric, source.tree, &source, false, NULL, error);
    yaml_source_free(&source);
    return result;
}

int config_check_file(const char *file, struct shunt_error *error)
{
    struct yaml_source source = {0};
    json_t *tree = NULL;
    int result = read_file(file, &source, error);

    if (result < 0)
        return result;
    result = tree_check(source.tree, &source, &tree, error);
    json_decref(tree);
    yaml_source_free(&source);
    return result;
}
