/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libyaml turns the text into events: a mapping or list begins, a scalar, it ends. They build the tree
 * with a stack of the mappings and lists that are open, the innermost on top. In a mapping, scalars are
 * key and value by turns: `key` is set while a value is due.
 *
 *     vm1: {cpus: [1, 2            events so far: MAPPING, SCALAR, MAPPING, SCALAR, SEQUENCE, SCALAR ×2
 *
 *     stack   [2] list      idx 2
 *             [1] mapping   key "cpus"
 *             [0] mapping   key "vm1"          path: vm1.cpus
 */
#include "daemon/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "base/phrase.h"
#include "daemon/path.h"

/* As much of a file's name as leaves room for what is wrong. */
#define SHOWN_FILE_BYTES 100

/* A mapping or list that is open. */
struct level {
    json_t *node;            /* borrowed from the tree */
    char *key;               /* of a mapping, while its value is due */
    size_t back;             /* the path without that key */
    size_t idx;              /* of a list: items so far */
    struct yaml_place place; /* of the key */
};

struct reader {
    struct yaml_source *source;
    yaml_parser_t parser;
    struct level levels[YAML_MAX_DEPTH];
    unsigned depth;
    struct path path;
    bool has_ended;
    struct shunt_error *error;
};

static struct yaml_place place_of(yaml_mark_t mark)
{
    return (struct yaml_place){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

void yaml_source_blame(const struct yaml_source *source, struct yaml_place place,
                       struct shunt_error *error)
{
    size_t len = strlen(source->file);
    const char *cut = len > SHOWN_FILE_BYTES ? "…" : "";
    const char *file = len > SHOWN_FILE_BYTES ? source->file + len - SHOWN_FILE_BYTES
                                              : source->file;
    struct shunt_error blamed;

    if (!error)
        return;
    if (place.line > 0)
        error_set(&blamed, error->code, "%s%s:%u:%u: %s", cut, file, place.line, place.column,
                  error->text);
    else
        error_set(&blamed, error->code, "%s%s: %s", cut, file, error->text);
    *error = blamed;
}

__attribute__((format(printf, 4, 5))) static int refuse(const struct yaml_source *source,
                                                        struct yaml_place place,
                                                        struct shunt_error *error,
                                                        const char *format, ...)
{
    char text[SHUNT_ERROR_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    error_set(error, -EINVAL, "%s", text);
    yaml_source_blame(source, place, error);
    return -EINVAL;
}

static struct level *top(struct reader *reader)
{
    return reader->depth > 0 ? &reader->levels[reader->depth - 1] : NULL;
}

static bool is_key_due(struct reader *reader)
{
    const struct level *level = top(reader);

    return level && json_is_object(level->node) && !level->key;
}

static void remember(struct reader *reader, struct yaml_place key, struct yaml_place value)
{
    json_object_set_new(reader->source->places, reader->path.text,
                        json_pack("[iiii]", key.line, key.column, value.line, value.column));
}

/* Puts a value where it belongs. The tree takes the reference. */
static int place_value(struct reader *reader, struct yaml_place place, json_t *value)
{
    struct level *level = top(reader);

    if (!value)
        return error_set(reader->error, -ENOMEM, "%s: out of memory", reader->source->file);
    if (!level) {
        reader->source->tree = value;
    } else if (json_is_array(level->node)) {
        level->back = path_enter_item(&reader->path, level->idx++);
        level->place = place;
        json_array_append_new(level->node, value);
    } else {
        json_object_set_new(level->node, level->key, value);
    }
    remember(reader, level ? level->place : place, place);
    return 0;
}

/* The value that was due is complete. */
static void end_value(struct reader *reader)
{
    struct level *level = top(reader);

    if (!level)
        return;
    path_leave(&reader->path, level->back);
    free(level->key);
    level->key = NULL;
}

static int take_key(struct reader *reader, struct yaml_place place, const char *key)
{
    struct level *level = top(reader);

    level->place = place;
    level->back = path_enter(&reader->path, key);
    if (json_object_get(level->node, key)) {
        struct yaml_place first = yaml_source_key(reader->source, reader->path.text);

        return refuse(reader->source, place, reader->error,
                      "%s is there twice, first in line %u; expected each key once",
                      reader->path.text, first.line);
    }
    level->key = strdup(key);
    if (!level->key)
        return error_set(reader->error, -ENOMEM, "%s: out of memory", reader->source->file);
    return 0;
}

static int check_plain(struct reader *reader, const yaml_event_t *event, const yaml_char_t *anchor,
                       const yaml_char_t *tag)
{
    struct yaml_place place = place_of(event->start_mark);

    if (anchor)
        return refuse(reader->source, place, reader->error,
                      "anchor '&%.60s'; expected a plain value: repeat it where it is needed",
                      (const char *)anchor);
    if (tag)
        return refuse(reader->source, place, reader->error,
                      "tag '%.60s'; expected a plain value: leave the tag out", (const char *)tag);
    return 0;
}

static int on_scalar(struct reader *reader, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    bool is_absent = len == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct yaml_place place = place_of(event->start_mark);
    int result;

    result = check_plain(reader, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (result < 0)
        return result;
    if (strlen(text) != len)
        return refuse(reader->source, place, reader->error,
                      "a NUL character; expected a text without");
    if (is_key_due(reader))
        return take_key(reader, place, text);
    result = place_value(reader, place, is_absent ? json_null() : json_string(text));
    end_value(reader);
    return result;
}

static int open_level(struct reader *reader, struct yaml_place place, json_t *node)
{
    int result = 0;

    if (is_key_due(reader))
        result = refuse(reader->source, place, reader->error,
                        "a list or mapping as a key; expected a plain key");
    else if (reader->depth == YAML_MAX_DEPTH)
        result = refuse(reader->source, place, reader->error,
                        "nested too deeply; expected at most %d levels", YAML_MAX_DEPTH);
    if (result < 0) {
        json_decref(node);
        return result;
    }
    result = place_value(reader, place, node);
    if (result == 0)
        reader->levels[reader->depth++] = (struct level){.node = node};
    return result;
}

static int on_mapping_start(struct reader *reader, const yaml_event_t *event)
{
    int result = check_plain(reader, event, event->data.mapping_start.anchor,
                             event->data.mapping_start.tag);

    return result < 0 ? result : open_level(reader, place_of(event->start_mark), json_object());
}

static int on_sequence_start(struct reader *reader, const yaml_event_t *event)
{
    int result = check_plain(reader, event, event->data.sequence_start.anchor,
                             event->data.sequence_start.tag);

    return result < 0 ? result : open_level(reader, place_of(event->start_mark), json_array());
}

static int on_end(struct reader *reader, const yaml_event_t *event)
{
    (void)event;
    reader->depth--;
    end_value(reader);
    return 0;
}

static int on_alias(struct reader *reader, const yaml_event_t *event)
{
    return refuse(reader->source, place_of(event->start_mark), reader->error,
                  "alias '*%.60s'; expected a plain value: repeat it",
                  (const char *)event->data.alias.anchor);
}

static int on_document_start(struct reader *reader, const yaml_event_t *event)
{
    if (!reader->source->tree)
        return 0;
    return refuse(reader->source, place_of(event->start_mark), reader->error,
                  "a second document; expected the end of the file");
}

static int on_stream_end(struct reader *reader, const yaml_event_t *event)
{
    (void)event;
    reader->has_ended = true;
    return 0;
}

static int on_nothing(struct reader *reader, const yaml_event_t *event)
{
    (void)reader;
    (void)event;
    return 0;
}

static int (*const on_event[])(struct reader *reader, const yaml_event_t *event) = {
    [YAML_NO_EVENT] = on_nothing,
    [YAML_STREAM_START_EVENT] = on_nothing,
    [YAML_STREAM_END_EVENT] = on_stream_end,
    [YAML_DOCUMENT_START_EVENT] = on_document_start,
    [YAML_DOCUMENT_END_EVENT] = on_nothing,
    [YAML_ALIAS_EVENT] = on_alias,
    [YAML_SCALAR_EVENT] = on_scalar,
    [YAML_SEQUENCE_START_EVENT] = on_sequence_start,
    [YAML_SEQUENCE_END_EVENT] = on_end,
    [YAML_MAPPING_START_EVENT] = on_mapping_start,
    [YAML_MAPPING_END_EVENT] = on_end,
};

/* Errors of the encoding come with a byte offset instead of a place. */
static struct yaml_place place_of_offset(const char *text, size_t len, size_t offset)
{
    struct yaml_place place = {1, 1};

    for (size_t i = 0; i < len && i < offset; i++) {
        if (text[i] == '\n')
            place = (struct yaml_place){place.line + 1, 1};
        else if (((unsigned char)text[i] & 0xc0) != 0x80)
            place.column++;
    }
    return place;
}

static int refuse_syntax(struct reader *reader, const char *text, size_t len)
{
    const yaml_parser_t *parser = &reader->parser;
    struct yaml_place place = place_of(parser->problem_mark);

    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(reader->error, -ENOMEM, "%s: out of memory", reader->source->file);
    if (parser->error == YAML_READER_ERROR)
        return refuse(reader->source, place_of_offset(text, len, parser->problem_offset),
                      reader->error, "expected text in UTF-8, but %s", parser->problem);
    return refuse(reader->source, place, reader->error, "expected YAML, but %s%s%s",
                  parser->problem, parser->context ? " " : "",
                  parser->context ? parser->context : "");
}

static int read_events(struct reader *reader, const char *text, size_t len)
{
    int result = 0;

    while (result == 0 && !reader->has_ended) {
        yaml_event_t event;

        if (!yaml_parser_parse(&reader->parser, &event))
            return refuse_syntax(reader, text, len);
        result = on_event[event.type](reader, &event);
        yaml_event_delete(&event);
    }
    return result;
}

static int read_text(struct yaml_source *source, const char *text, size_t len,
                     struct shunt_error *error)
{
    struct reader reader = {.source = source, .error = error};
    int result;

    if (!yaml_parser_initialize(&reader.parser))
        return error_set(error, -ENOMEM, "%s: out of memory", source->file);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
    result = read_events(&reader, text, len);
    yaml_parser_delete(&reader.parser);
    for (unsigned i = 0; i < reader.depth; i++)
        free(reader.levels[i].key);
    if (!source->tree || json_is_null(source->tree)) {
        json_decref(source->tree);
        source->tree = json_object();
    }
    return result;
}

int yaml_source_read(struct yaml_source *source, const char *file, const char *text, size_t len,
                     struct shunt_error *error)
{
    int result;

    *source = (struct yaml_source){.file = file};
    if (len > YAML_MAX_BYTES)
        return error_set(error, -EFBIG, "%s: %zu bytes; expected at most 1 MB", file, len);
    source->places = json_object();
    result = read_text(source, text, len, error);
    if (result < 0)
        yaml_source_free(source);
    return result;
}

void yaml_source_free(struct yaml_source *source)
{
    json_decref(source->tree);
    json_decref(source->places);
    *source = (struct yaml_source){.file = source->file};
}

static struct yaml_place place_at(const json_t *place, size_t idx)
{
    return (struct yaml_place){
        (unsigned)json_integer_value(json_array_get(place, idx)),
        (unsigned)json_integer_value(json_array_get(place, idx + 1)),
    };
}

/* Cuts off the last key or index of a path: what is left is the path of what is around it. */
static void go_up(char *path)
{
    char *end = path + strlen(path);

    do
        end--;
    while (end > path && *end != '.' && *end != '[');
    *end = '\0';
}

/* A cut within a quoted key finds nothing, and the next one goes on from there. */
static struct yaml_place place_around(const struct yaml_source *source, const char *path)
{
    char around[PATH_TEXT_BYTES];
    const json_t *place = NULL;

    snprintf(around, sizeof(around), "%s", path);
    while (!place && around[0] != '\0') {
        go_up(around);
        place = json_object_get(source->places, around);
    }
    return place_at(place, 0);
}

static struct yaml_place find_place(const struct yaml_source *source, const char *path, size_t idx)
{
    const json_t *place = json_object_get(source->places, path);

    return place ? place_at(place, idx) : place_around(source, path);
}

struct yaml_place yaml_source_key(const struct yaml_source *source, const char *path)
{
    return find_place(source, path, 0);
}

struct yaml_place yaml_source_value(const struct yaml_source *source, const char *path)
{
    return find_place(source, path, 2);
}
