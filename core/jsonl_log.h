// Logs of one JSON object per line, which survive a kill at any moment.
#pragma once

#include <filesystem>
#include <vector>

#include "core/json_file.h"
#include "core/posix_file.h"

namespace ladarts {

// Appends records to a file that it makes where there is none; each is one line and handed to the system
// before append() returns. A last line torn by an earlier kill is cut off when the file is opened. One log
// per file at a time; a second is refused.
class JsonlLog {
 public:
  explicit JsonlLog(const std::filesystem::path& path);

  // Throws Error, on a full disk for example; then the file ends with the record before.
  void append(const Json& record);
  // Records in the file.
  size_t size() const { return line_ends_.size(); }
  // Drops all but the first `records`: a resumed run repeats what came after its checkpoint. Throws Error if
  // there are fewer.
  void keep(size_t records);

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  std::vector<size_t> line_ends_;  // file offset behind each line
};

// All records; a torn last line is left out. Any other bad line throws Error with file and line.
std::vector<Json> read_jsonl(const std::filesystem::path& path);

}  // namespace ladarts
