#include "apps/search_folder.h"

#include <cctype>

#include "core/error.h"
#include "core/safetensors.h"

namespace ladarts {

namespace {

// The tensor named `name`, or that ends with ".name"; null where there is none.
const HostTensor* find_tensor(const TensorFile& file, const std::string& name) {
  for (const auto& [key, tensor] : file.tensors) {
    const bool suffix = key.size() > name.size() &&
                        key.compare(key.size() - name.size(), name.size(), name) == 0 &&
                        !std::isalnum(static_cast<unsigned char>(key[key.size() - name.size() - 1]));
    if ((key == name || suffix) && tensor.dtype() == DType::f32) return &tensor;
  }
  return nullptr;
}

}  // namespace

ArchitectureValues read_architecture(const std::filesystem::path& checkpoint, const SearchSpace& space) {
  const TensorFile file = load_tensors(checkpoint);
  ArchitectureValues values;
  for (const std::string& cell : space.cell_types) {
    const HostTensor* alpha = find_tensor(file, "alpha_" + cell);
    const Shape expected{space.edges(), int64_t(space.primitives.size())};
    require(alpha != nullptr, "[search] '{}' is no search's checkpoint of space {}: it has no alpha_{}",
            checkpoint.string(), space.name, cell);
    require(alpha->shape == expected,
            "[search] '{}' holds alpha_{} of shape {}, space {} has {}; give its --space",
            checkpoint.string(), cell, alpha->shape.str(), space.name, expected.str());
    values.alpha.push_back(std::get<0>(alpha->values));
    const HostTensor* beta = find_tensor(file, "beta_" + cell);
    values.beta.push_back(beta ? std::get<0>(beta->values) : std::vector<float>{});
  }
  return values;
}

}  // namespace ladarts
