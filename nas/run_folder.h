// The folder of a long job: what it was asked to do, its log, its checkpoint, its result. A job started again
// in its folder goes on where it stopped; a folder of another job is refused, so nothing is overwritten by
// mistake.
#pragma once

#include <filesystem>

#include "core/device.h"
#include "core/json_file.h"
#include "core/safetensors.h"

namespace ladarts {

class RunFolder {
 public:
  // Makes the folder. Where it holds a config.json, requires that to equal `config`; throws Error naming the
  // first field that differs.
  RunFolder(std::filesystem::path path, Json config);
  // Writes config.json where there is none: from now on the folder is this job's. Called once everything that
  // can be refused has been accepted, so that a job corrected after an error finds the folder free.
  void claim() const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  bool has(const std::string& name) const { return std::filesystem::exists(file(name)); }

  // The state of the job and its position, as one file that is replaced as a whole.
  void save_checkpoint(const NamedStorages& state, const Json& position) const;
  // Fills `state` and returns the position; null where there is no checkpoint. Throws Error for a damaged
  // one.
  Json load_checkpoint(const NamedStorages& state) const;

 private:
  std::filesystem::path path_;
  Json config_;
};

// What of a job's config.json says where it runs: {"device": "cuda:0"}, and where kernels of libraries may
// run (KernelPolicy) {"kernels": "cudnn 9.19.0"}, with "tf32" where that is allowed: their results have other
// bits.
Json device_fields(Device device);

// "train.epochs: 5 here, 10 asked for"; empty where equal.
std::string first_difference(const Json& here, const Json& asked, const std::string& where = "");

}  // namespace ladarts
