// The folder of a long job: what it was asked to do, its log, its checkpoint, its result. A job started again
// in its folder goes on where it stopped; a folder of another job is refused, so nothing is overwritten by
// mistake.
#pragma once

#include <filesystem>

#include "core/json_file.h"

namespace ladarts {

class RunFolder {
 public:
  // Makes the folder and writes config.json; or, where that is present, requires it to equal `config`. Throws
  // Error naming the first field that differs.
  RunFolder(std::filesystem::path path, const Json& config);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  bool has(const std::string& name) const { return std::filesystem::exists(file(name)); }

 private:
  std::filesystem::path path_;
};

// "train.epochs: 5 here, 10 asked for"; empty where equal.
std::string first_difference(const Json& here, const Json& asked, const std::string& where = "");

}  // namespace ladarts
