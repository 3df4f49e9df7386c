#include "core/jsonl_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/atomic_file.h"

namespace ladarts {

namespace {

// Calls f(line, end, terminated) for every line that is not empty; `end` is the offset behind it.
template <class F>
void for_each_line(std::string_view text, F&& f) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t newline = text.find('\n', begin);
    const bool terminated = newline != std::string_view::npos;
    const size_t end = terminated ? newline + 1 : text.size();
    f(text.substr(begin, (terminated ? newline : end) - begin), end, terminated);
    begin = end;
  }
}

bool is_json(std::string_view line) {
  return Json::accept(line.begin(), line.end());
}

}  // namespace

JsonlLog::JsonlLog(const std::filesystem::path& path)
    : path_(path), file_(path, O_RDWR | O_CREAT | O_APPEND) {
  file_.lock();
  const std::string text = read_file(path);
  bool add_newline = false;
  for_each_line(text, [&](std::string_view line, size_t end, bool terminated) {
    if (terminated) line_ends_.push_back(end);
    // Whole but for its newline, as an editor leaves it: kept.
    if (!terminated && is_json(line)) {
      line_ends_.push_back(end + 1);
      add_newline = true;
    }
  });
  if (add_newline)
    file_.write_all("\n");
  else
    keep(line_ends_.size());
}

void JsonlLog::append(const Json& record) {
  const std::string line = to_json_line(record) + "\n";
  const size_t begin = line_ends_.empty() ? 0 : line_ends_.back();
  try {
    file_.write_all(line);
    // A checkpoint that counts on this record must not outlive it.
    if (::fdatasync(file_.get()) != 0 && errno != EINVAL) fail_file(path_, "fdatasync");
  } catch (const Error&) {
    // Half a line must not stay in the way of the next record; if this fails too, opening the log mends it.
    if (::ftruncate(file_.get(), off_t(begin)) != 0) throw;
    throw;
  }
  line_ends_.push_back(begin + line.size());
}

void JsonlLog::keep(size_t records) {
  require(records <= line_ends_.size(),
          "[log] '{}' has {} records where {} were expected; it was cut or replaced", path_.string(),
          line_ends_.size(), records);
  line_ends_.resize(records);
  const size_t end = records == 0 ? 0 : line_ends_.back();
  if (::ftruncate(file_.get(), off_t(end)) != 0) fail_file(path_, "ftruncate");
}

std::vector<Json> read_jsonl(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::vector<Json> records;
  size_t number = 0;
  for_each_line(text, [&](std::string_view line, size_t, bool terminated) {
    ++number;
    if (!terminated && !is_json(line)) return;
    try {
      records.push_back(parse_json(line, path.string()));
    } catch (const Error&) {
      fail("{}:{}: [log] this line is not JSON; delete it, or the file", path.string(), number);
    }
  });
  return records;
}

}  // namespace ladarts
