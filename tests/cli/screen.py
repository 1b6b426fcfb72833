# SPDX-License-Identifier: BSD-3-Clause
"""As much of a VT100 as curses uses of one: what a person would see."""

import re

TOKEN = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|\x1b[()].|\x1b[=>78M]|[\r\n\b\t\a\0\x0e\x0f]|[^\x1b]")


class Screen:
    def __init__(self, columns, rows):
        self.rest = ""
        self.row = self.column = 0
        self.resize(columns, rows)

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.move(self.row, self.column)

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)

    def move(self, row, column):
        self.row = max(0, min(row, self.rows - 1))
        self.column = max(0, min(column, self.columns - 1))

    def feed(self, text):
        text = self.rest + text
        end = 0
        while token := TOKEN.match(text, end):
            end = token.end()
            if token[2]:
                self.command(token[2], [int(number or 0) for number in token[1].split(";")])
            elif token[0][0] != "\x1b":
                self.put(token[0])
        self.rest = text[end:]

    def put(self, character):
        if character == "\r":
            self.move(self.row, 0)
        elif character == "\n":
            self.move(self.row + 1, self.column)
        elif character == "\b":
            self.move(self.row, self.column - 1)
        elif character == "\t":
            self.move(self.row, (self.column | 7) + 1)
        elif character >= " ":
            self.cells[self.row][self.column] = character
            self.move(self.row, self.column + 1)

    def command(self, letter, numbers):
        first = numbers[0]
        if letter == "H":
            self.move(max(first, 1) - 1, max(numbers[-1] if len(numbers) > 1 else 1, 1) - 1)
        elif letter in "ABCD":
            rows, columns = {"A": (-1, 0), "B": (1, 0), "C": (0, 1), "D": (0, -1)}[letter]
            self.move(self.row + rows * max(first, 1), self.column + columns * max(first, 1))
        elif letter == "K":
            self.erase(self.row, *((0, self.column + 1) if first == 1 else (self.column, self.columns)))
        elif letter == "J":
            self.erase(self.row, 0 if first == 2 else self.column, self.columns)
            for row in range(0 if first == 2 else self.row + 1, self.rows):
                self.erase(row, 0, self.columns)

    def erase(self, row, begin, end):
        self.cells[row][begin:end] = [" "] * (end - begin)
