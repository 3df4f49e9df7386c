// Tables as comma-separated values (RFC 4180): cells with commas, quotes or line ends stand in double quotes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ladarts {

// Appends a line to `out`.
void append_csv_row(std::string& out, const std::vector<std::string>& cells);

struct CsvTable {
  std::filesystem::path path;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // each as long as the header
  std::vector<int> lines;                      // of the file, where each row begins

  int column(const std::string& name) const;  // -1 where there is none
  // "table.csv, line 12": for messages.
  std::string place(size_t row) const;
};

// Throws Error naming file and line for rows of another length, open quotes, an empty file, or a header that
// has a name twice. A byte-order mark and CR LF are accepted; empty lines are skipped.
CsvTable read_csv(const std::filesystem::path& path);

}  // namespace ladarts
