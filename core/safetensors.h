// The .safetensors format (a JSON header, then raw little-endian values) for weights, checkpoints and
// predictors; f32 and i32. https://github.com/huggingface/safetensors
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/parameters.h"

namespace ladarts {

struct HostTensor {
  Shape shape;
  std::variant<std::vector<float>, std::vector<int32_t>> values;  // shape.elements() of them

  DType dtype() const { return values.index() == 0 ? DType::f32 : DType::i32; }
  bool operator==(const HostTensor&) const = default;
};

struct TensorFile {
  std::map<std::string, HostTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Replaces the file as a whole (see AtomicFile).
void save_tensors(const std::filesystem::path& path, const TensorFile& file);
// Throws Error with file name and byte offset unless the file is exactly what its header says: every offset
// in range, no overlap, no gap, no rest.
TensorFile load_tensors(const std::filesystem::path& path);

// What a run keeps: parameters, running statistics, optimiser state, on any device, under unique names.
using NamedStorages = std::vector<std::pair<std::string, Storage>>;
// The values of a set, in order of declaration; closes the set to new names.
NamedStorages named_values(ParameterSet& parameters, const std::string& prefix = "");
// The slices of `state`, laid out as parameters.values(), under the parameters' names: what an optimiser
// keeps of each. A file of them does not depend on the order of declaration.
NamedStorages named_slices(ParameterSet& parameters, const Storage& state, const std::string& prefix);

void save_storages(const std::filesystem::path& path, const NamedStorages& storages,
                   const std::map<std::string, std::string>& metadata = {});
// Fills the storages and returns the metadata. The file must hold exactly these names with these shapes and
// types, else an Error lists what is missing, unknown or different, and nothing was changed.
std::map<std::string, std::string> load_storages(const std::filesystem::path& path,
                                                 const NamedStorages& storages);

// The same for whole parameter sets; their names must not clash.
void save_parameters(const std::filesystem::path& path, const std::vector<ParameterSet*>& sets,
                     const std::map<std::string, std::string>& metadata = {});
std::map<std::string, std::string> load_parameters(const std::filesystem::path& path,
                                                   const std::vector<ParameterSet*>& sets);

}  // namespace ladarts
