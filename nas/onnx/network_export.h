// Networks as ONNX files, with folded normalisation: input "images" (N, 3, H, W), output "logits"
// (N, classes), both f32.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nas/network.h"
#include "nas/network_file.h"
#include "nas/onnx/model.h"

namespace ladarts::onnx {

struct ExportOptions {
  int batch = 1;      // 0: the caller of the model chooses
  uint64_t seed = 0;  // of random weights
};

// A network recorded for inference, its parameters filled, on the CPU.
class ExportableNetwork {
 public:
  // With random weights, which keep the variance of what they read.
  ExportableNetwork(const NetworkConfig& config, const ExportOptions& options);
  // With trained ones. The metadata say what the images are normalised by, where the file has it.
  ExportableNetwork(const LoadedNetwork& trained, const ExportOptions& options);

  Model model() const;
  const Shape& images() const { return images_.shape(); }  // of run(); 2 images where the caller chooses
  int64_t multiply_accumulates() const;                    // of one image
  int64_t parameters() const;                              // scalars of the folded network
  // What ladarts itself computes: images (N, 3, H, W) of the shape above to logits (N, classes).
  std::vector<float> run(std::span<const float> images) const;
  const Shape& logits() const { return logits_.shape(); }

 private:
  ExportableNetwork(const NetworkConfig& config, const ExportOptions& options, const LoadedNetwork* trained);

  NetworkConfig config_;
  ExportOptions options_;
  ParameterSet folded_;
  Graph graph_;
  Storage images_, logits_;
  Tensor input_, output_;
  std::vector<std::pair<std::string, std::string>> metadata_;
};

}  // namespace ladarts::onnx
