#include "predictor/csv.h"

#include <algorithm>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"

namespace ladarts {

namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, std::string path) : text_(text), path_(std::move(path)) {
    if (text_.substr(0, 3) == "\xef\xbb\xbf") at_ = 3;
  }

  // False at the end. `line` is where the row begins.
  bool row(std::vector<std::string>& cells, int& line) {
    while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r')) line_ += text_[at_++] == '\n';
    if (at_ >= text_.size()) return false;
    line = line_;
    cells.assign(1, "");
    for (bool more = true; more;) more = cell(cells);
    return true;
  }

 private:
  // Fills the last of `cells`; true where another follows in the row.
  bool cell(std::vector<std::string>& cells) {
    std::string& out = cells.back();
    if (at_ < text_.size() && text_[at_] == '"') quoted(out);
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == ',') {
        cells.emplace_back();
        return true;
      }
      if (c == '\n') {
        ++line_;
        return false;
      }
      if (c != '\r') out += c;
    }
    return false;
  }

  void quoted(std::string& out) {
    const int begin = line_;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"' && (at_ + 1 >= text_.size() || text_[at_ + 1] != '"')) {
        ++at_;
        return;
      }
      if (c == '"') ++at_;
      line_ += c == '\n';
      out += c;
    }
    fail("[csv] {}, line {}: a quote is never closed", path_, begin);
  }

  std::string_view text_;
  std::string path_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

void append_csv_row(std::string& out, const std::vector<std::string>& cells) {
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) out += ',';
    if (cells[i].find_first_of(",\"\r\n") == std::string::npos) {
      out += cells[i];
      continue;
    }
    out += '"';
    for (const char c : cells[i]) {
      if (c == '"') out += '"';
      out += c;
    }
    out += '"';
  }
  out += '\n';
}

int CsvTable::column(const std::string& name) const {
  const auto at = std::find(header.begin(), header.end(), name);
  return at == header.end() ? -1 : int(at - header.begin());
}

std::string CsvTable::place(size_t row) const {
  return fmt::format("{}, line {}", path.string(), lines[row]);
}

CsvTable read_csv(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  CsvTable table;
  table.path = path;
  CsvReader reader(text, path.string());
  int line = 1;
  require(reader.row(table.header, line), "[csv] {} is empty", path.string());
  std::set<std::string> names;
  for (const std::string& name : table.header)
    require(names.insert(name).second, "[csv] {}: the header names '{}' twice", path.string(), name);
  for (std::vector<std::string> cells; reader.row(cells, line);) {
    require(cells.size() == table.header.size(), "[csv] {}, line {}: {} cells, the header has {}",
            path.string(), line, cells.size(), table.header.size());
    table.rows.push_back(std::move(cells));
    table.lines.push_back(line);
  }
  return table;
}

}  // namespace ladarts
