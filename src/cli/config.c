/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/field.h"
#include "cli/report.h"
#include "cli/show.h"
#include "cli/text.h"
#include "cli/yaml.h"

/* shuntd takes no request that is longer. Whatever is in the file, we do not read for ever. */
#define MAX_BYTES ((size_t)1 << 20)

static int fail_to_read(const char *file, const char *problem)
{
    return report_failure("cannot read %s: %s", file, problem);
}

/* The rest of the stream, to be freed, and its length. A status. */
static int read_all(FILE *in, const char *file, char **text, size_t *len)
{
    *text = need(malloc(MAX_BYTES + 1));
    *len = fread(*text, 1, MAX_BYTES + 1, in);
    if (ferror(in))
        return fail_to_read(file, strerror(errno));
    if (*len > MAX_BYTES)
        return fail_to_read(file,
                            "it is longer than 1 MiB, the most that a configuration may have");
    return STATUS_OK;
}

static int set_text(json_t *params, const char *file, const char *text, size_t len)
{
    json_t *value = memchr(text, '\0', len) ? NULL : json_stringn(text, len);

    if (!value)
        return fail_to_read(file, "it is not text in UTF-8; a configuration is YAML");
    json_object_set_new(params, "text", value);
    return STATUS_OK;
}

int config_read(json_t *params)
{
    const char *file = field_text(params, "file");
    bool is_stdin = strcmp(file, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(file, "re");
    char *text = NULL;
    size_t len = 0;
    int status;

    if (!in)
        return fail_to_read(file, strerror(errno));
    /* The daemon's messages begin with this name. */
    if (is_stdin)
        json_object_set_new(params, "file", json_string("<stdin>"));
    file = field_text(params, "file");
    status = read_all(in, file, &text, &len);
    if (status == STATUS_OK)
        status = set_text(params, file, text, len);
    free(text);
    if (!is_stdin)
        fclose(in);
    return status;
}

void config_show(const struct reply *reply)
{
    yaml_print(reply->out, reply->result);
}

void config_show_checked(const struct reply *reply)
{
    char *file = text_printable(field_text(reply->params, "file"));

    fprintf(reply->out, "%s has no errors.\n", file);
    free(file);
}
