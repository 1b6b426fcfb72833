/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "cli/field.h"
#include "cli/show.h"
#include "cli/text.h"

void version_show(const struct reply *reply)
{
    char *version = text_printable(field_text(reply->result, "version"));
    char uptime[TEXT_NUMBER_BYTES];

    text_duration(uptime, (long long)field_real(reply->result, "uptime"));
    fprintf(reply->out, "shuntctl %s\n", SHUNT_VERSION);
    fprintf(reply->out, "shuntd %s, process %lld, up for %s\n", version,
            field_number(reply->result, "pid"), uptime);
    free(version);
}
