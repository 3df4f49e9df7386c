// A folder of its own below the system's folder of temporary files ($TMPDIR, /tmp), deleted with all that is
// in it.
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "core/error.h"
#include "core/posix_file.h"

namespace ladarts {

class TempFolder {
 public:
  // Throws Error where it cannot be made.
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ladarts-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) fail_file(name, "mkdtemp");
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace ladarts
