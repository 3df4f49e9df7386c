#include "nas/onnx/network_export.h"

#include "core/error.h"
#include "core/program.h"
#include "nas/onnx/graph_export.h"
#include "predictor/machine.h"

namespace ladarts::onnx {

namespace {

constexpr int kImagesOfDynamicBatch = 2;

std::string normalisation_text(const LoadedNetwork* trained) {
  if (!trained) return "none: the weights are random";
  const auto normalisation = trained->normalisation();
  if (!normalisation)
    return "unknown: the network was trained before ladarts kept it; it is that of the training images";
  return to_json_line(to_json(*normalisation));
}

// What the reader of the file needs to know besides the graph.
std::vector<std::pair<std::string, std::string>> metadata_of(const NetworkConfig& config,
                                                             const LoadedNetwork* trained) {
  return {{"ladarts.network", to_json_line(to_json(config))},
          {"ladarts.genotype", to_text(config.genotype, config.space)},
          {"ladarts.commit", library_commit()},
          {"ladarts.weights", trained ? "trained" : "random"},
          {"image.layout", "NCHW, channels red, green, blue"},
          {"image.input", "(pixel / 255 - mean) / deviation of each channel"},
          {"image.normalisation", normalisation_text(trained)}};
}

}  // namespace

ExportableNetwork::ExportableNetwork(const NetworkConfig& config, const ExportOptions& options)
    : ExportableNetwork(config, options, nullptr) {}

ExportableNetwork::ExportableNetwork(const LoadedNetwork& trained, const ExportOptions& options)
    : ExportableNetwork(trained.config, options, &trained) {}

ExportableNetwork::ExportableNetwork(const NetworkConfig& config, const ExportOptions& options,
                                     const LoadedNetwork* trained)
    : config_(config), options_(options), folded_(options.seed), metadata_(metadata_of(config, trained)) {
  require(options.batch >= 0, "[onnx] a batch of {} images; give 1 or more, or 0 to leave it to the caller",
          options.batch);
  const int64_t side = resolve(config.shape, config.space).image;
  images_ = Storage::create({options.batch > 0 ? options.batch : kImagesOfDynamicBatch, 3, side, side});
  input_ = graph_.leaf(images_, "images");
  ParameterSet unused;
  const Network network = record_network(graph_, config, NetworkMode::inference, folded_, unused, input_);
  output_ = network.logits;
  logits_ = graph_.bind_output(output_);
  if (trained) {
    fold_normalisation(network, *trained->params, *trained->buffers, folded_);
  } else {
    folded_.values();
  }
}

Model ExportableNetwork::model() const {
  Model model = export_graph(
      graph_, {.input = input_, .output = output_, .batch_name = options_.batch == 0 ? "batch" : ""});
  model.name = config_.space.name;
  model.producer_version = library_version();
  model.metadata = metadata_;
  return model;
}

int64_t ExportableNetwork::multiply_accumulates() const {
  return ladarts::multiply_accumulates(graph_) / images_.shape()[0];
}

int64_t ExportableNetwork::parameters() const {
  return folded_.count();
}

std::vector<float> ExportableNetwork::run(std::span<const float> images) const {
  images_.upload(images);
  Program program = compile(graph_);
  program.run();
  return logits_.to_vector();
}

}  // namespace ladarts::onnx
