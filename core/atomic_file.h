// Files replaced as a whole: whoever reads the path sees the old contents or the new, never a part, also
// after a full disk, a kill or a power cut.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "core/posix_file.h"

namespace ladarts {

// Collects a file's new contents in "<path>.tmp" beside it; commit() puts them in place. Without commit() the
// old file stays and the temporary goes. The folder must exist. Symbolic links are followed. A second writer
// of the same path is refused. Every error is an Error with path, call, cause and remedy.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void write(const void* data, size_t bytes) { write({static_cast<const char*>(data), bytes}); }
  void commit();  // fsync, rename, fsync of the folder; call once, write nothing after it

 private:
  void flush();

  std::filesystem::path path_, temporary_;
  FileDescriptor file_;
  std::string pending_;  // small writes are gathered
  bool committed_ = false;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

// The whole file; throws Error if it cannot be read.
std::string read_file(const std::filesystem::path& path);

// Makes the folder and its parents where they do not exist; throws Error.
void create_folder(const std::filesystem::path& path);

}  // namespace ladarts
