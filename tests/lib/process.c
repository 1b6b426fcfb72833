/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void path_of(char *path, size_t bytes, int pid, const char *what)
{
    snprintf(path, bytes, "/proc/%d/%s", pid ? pid : (int)getpid(), what);
}

unsigned process_num_fds(int pid)
{
    unsigned num = 0;
    char path[64];
    DIR *folder;

    path_of(path, sizeof(path), pid, "fd");
    folder = opendir(path);
    if (!folder)
        return 0;
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] != '.')
            num++;
    }
    closedir(folder);
    return num;
}

/* Shared memory is what guests hand us: its mappings are shared ones, "rw-s". */
static bool is_shared(const char *line)
{
    const char *permissions = strchr(line, ' ');

    return permissions && strlen(permissions) > 4 && permissions[4] == 's';
}

unsigned process_num_mappings(int pid)
{
    unsigned num = 0;
    size_t bytes = 0;
    char path[64], *line = NULL;
    FILE *maps;

    path_of(path, sizeof(path), pid, "maps");
    maps = fopen(path, "re");
    if (!maps)
        return 0;
    while (getline(&line, &bytes, maps) >= 0)
        num += is_shared(line);
    free(line);
    fclose(maps);
    return num;
}
