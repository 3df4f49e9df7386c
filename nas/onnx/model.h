// An ONNX model in memory, and its file: the parts of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
// that networks for inference need.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace ladarts::onnx {

// Operator set 13 (ONNX 1.8, 2020) has all that is written here, and ONNX Runtime 1.7 or newer, its mobile
// builds and the converters of phone makers read it. Files of this set are of IR version 7.
inline constexpr int kOpset = 13;
inline constexpr int kIrVersion = 7;

struct Attribute {
  std::string name;
  std::variant<int64_t, float, std::vector<int64_t>, std::string> value;
};

struct Node {
  std::string op_type;  // "Conv"
  std::string name;
  std::vector<std::string> inputs, outputs;
  std::vector<Attribute> attributes;
};

// A weight or another constant, row-major.
struct Initializer {
  std::string name;
  std::vector<int64_t> dims;
  std::variant<std::vector<float>, std::vector<int64_t>> values;
};

// A named float tensor. A dimension is a size, or a name for one that the caller chooses.
struct ValueInfo {
  std::string name;
  std::vector<std::variant<int64_t, std::string>> dims;
};

struct Model {
  std::string name;                    // of the graph
  std::string producer_version;        // the producer is ladarts
  std::vector<Node> nodes;             // each after those whose outputs it reads
  std::vector<Initializer> constants;  // of the nodes
  std::vector<ValueInfo> inputs, outputs, intermediates;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// The file's bytes. Throws Error where they pass the 2 GiB that the format allows.
std::string serialise(const Model& model);

}  // namespace ladarts::onnx
