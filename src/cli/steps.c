/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "cli/show.h"
#include "cli/text.h"

void steps_show(const struct reply *reply)
{
    const json_t *steps = json_object_get(reply->result, "steps");
    size_t idx;
    json_t *step;

    json_array_foreach (steps, idx, step) {
        char *line = text_printable(json_is_string(step) ? json_string_value(step) : "");

        fprintf(reply->out, "%s\n", line);
        free(line);
    }
    if (json_array_size(steps) == 0)
        fputs("There is nothing to change.\n", reply->out);
    else if (json_object_get(reply->params, "dry_run"))
        fputs("This was a dry run: nothing was changed.\n", reply->out);
}

void steps_show_if_dry(const struct reply *reply)
{
    if (json_object_get(reply->params, "dry_run"))
        steps_show(reply);
}
