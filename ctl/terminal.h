// SPDX-License-Identifier: BSD-2-Clause
//
// How results reach people: tables and headings in text, with colours on a terminal only. Whatever
// a module or a file put into a string is shown, but never interpreted by the terminal.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::ctl {

enum class Style { Plain, Bold, Faint, Good, Warning, Bad };

/// Text for people on standard output. Plain value.
class Terminal {
 public:
  /// Colours when standard output is a terminal and NO_COLOR is not set.
  static Terminal standardOutput();

  /// The text in a style, or as it is without colours.
  std::string styled(std::string_view text, Style style) const;

  /// Writes to standard output. What can't be written is noticed once, by flushed().
  void print(std::string_view text) const;
  void heading(std::string_view text) const;

 private:
  bool colours_ = false;
};

/// Whether everything that was printed has arrived; false when the disk is full or a pipe closed.
bool flushed();

/// One line on standard error: "bulkheadctl: text".
void complain(std::string_view text);

/// Text without control characters.
std::string printable(std::string_view text);

/// Words with `separator` between them.
std::string joined(const std::vector<std::string>& words, std::string_view separator = " ");

/// Columns that line up. The last one is never padded.
class Table {
 public:
  struct Cell {
    std::string text;
    Style style = Style::Plain;
    Cell(std::string t, Style s = Style::Plain) : text(std::move(t)), style(s) {}
    Cell(const char* t, Style s = Style::Plain) : text(t), style(s) {}
  };

  explicit Table(std::vector<std::string> headers = {}) : headers_(std::move(headers)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  void print(const Terminal& terminal, std::string_view indent = {}) const;

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace bulkhead::ctl
