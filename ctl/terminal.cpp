// SPDX-License-Identifier: BSD-2-Clause
#include "ctl/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace bulkhead::ctl {
namespace {

// Columns that UTF-8 text takes, with every character as wide as a letter.
std::size_t widthOf(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

const char* escapeOf(Style style) {
  switch (style) {
    case Style::Plain:
      return "";
    case Style::Bold:
      return "\033[1m";
    case Style::Faint:
      return "\033[2m";
    case Style::Good:
      return "\033[32m";
    case Style::Warning:
      return "\033[33m";
    case Style::Bad:
      return "\033[31m";
  }
  return "";
}

}  // namespace

Terminal Terminal::standardOutput() {
  Terminal terminal;
  const char* none = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  terminal.colours_ = ::isatty(STDOUT_FILENO) == 1 && (none == nullptr || *none == '\0') &&
                      kind != nullptr && std::string_view(kind) != "dumb";
  return terminal;
}

std::string Terminal::styled(std::string_view text, Style style) const {
  if (!colours_ || style == Style::Plain) return std::string(text);
  return fmt::format("{}{}\033[0m", escapeOf(style), text);
}

void Terminal::print(std::string_view text) const {
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
}

void Terminal::heading(std::string_view text) const {
  print(styled(text, Style::Bold) + "\n");
}

bool flushed() {
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

void complain(std::string_view text) {
  std::string line = "bulkheadctl: " + printable(text) + "\n";
  (void)std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

void Table::print(const Terminal& terminal, std::string_view indent) const {
  std::vector<std::size_t> widths;
  auto measure = [&](std::size_t column, std::string_view text) {
    if (widths.size() <= column) widths.resize(column + 1);
    widths[column] = std::max(widths[column], widthOf(printable(text)));
  };
  for (std::size_t i = 0; i < headers_.size(); ++i) measure(i, headers_[i]);
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) measure(i, row[i].text);

  auto line = [&](const std::vector<Cell>& cells) {
    std::string text(indent);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      std::string shown = printable(cells[i].text);
      text += terminal.styled(shown, cells[i].style);
      if (i + 1 < cells.size()) text += std::string(widths[i] - widthOf(shown) + 2, ' ');
    }
    while (text.ends_with(' ')) text.pop_back();
    terminal.print(text + "\n");
  };
  if (!headers_.empty()) {
    std::vector<Cell> cells;
    for (const std::string& header : headers_) cells.emplace_back(header, Style::Bold);
    line(cells);
  }
  for (const auto& row : rows_) line(row);
}

}  // namespace bulkhead::ctl
