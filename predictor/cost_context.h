// What a cost is the cost of. Two costs compare, and a predictor applies, only where these agree.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ladarts {

// The device, kind and instruction set of costs that depend on none of these, such as parameters.
inline constexpr const char* kAnyDevice = "any";

struct CostContext {
  std::string metric = "latency";
  std::string unit = "ms";
  std::string space = {};  // name of the search space: "darts"
  std::string
      network;  // canonical text of what is built around the cells: "channels=36 layers=20 classes=10"
  int batch = 1;
  int image_size = 32;  // height and width of the input

  std::string device = {};       // model name: "AMD EPYC 7B13"
  std::string device_kind = {};  // "cpu", "cuda", or "runner": what a command reached
  int threads = 1;
  std::string precision = "f32";
  std::string isa = {};  // instruction set of the kernels: "avx2"; empty for a runner
  // Of ladarts; of a runner's library, with its name. Empty: measured by something else, and imported.
  std::string library_version = {};

  bool operator==(const CostContext&) const = default;
  // "latency in ms, darts, channels=36 layers=20 classes=10, batch 1, 32x32, on AMD EPYC 7B13 (cpu, 2
  // threads, avx2, f32)"
  std::string str() const;
};

void to_json(nlohmann::json& j, const CostContext& c);
void from_json(const nlohmann::json& j, CostContext& c);  // throws Error naming a missing or mistyped field

}  // namespace ladarts
