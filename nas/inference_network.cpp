#include "nas/inference_network.h"

#include <vector>

#include "core/error.h"
#include "core/philox.h"
#include "nas/network.h"
#include "predictor/machine.h"

namespace ladarts {

namespace {

Storage image_storage(const LatencySetup& setup) {
  const int64_t side = resolve(setup.shape, setup.space).image;
  return Storage::create(Shape{setup.batch, 3, side, side}, DType::f32, setup.device);
}

Program compile_inference(const LatencySetup& setup, const Genotype& genotype, const Storage& images,
                          Storage& logits) {
  Graph graph(setup.device);
  ParameterSet folded(0, setup.device), unused(0, setup.device);
  const Network network =
      record_network(graph, {.space = setup.space, .genotype = genotype, .shape = setup.shape},
                     NetworkMode::inference, folded, unused, graph.leaf(images, "images"));
  logits = graph.bind_output(network.logits);
  folded.values();
  return compile(graph, {.pool = &setup.threads()});
}

}  // namespace

CostContext cost_context(const LatencySetup& setup, const std::string& metric, const std::string& unit) {
  require(setup.batch >= 1, "[measure] a batch of {} images", setup.batch);
  CostContext context;
  context.metric = metric;
  context.unit = unit;
  context.space = setup.space.id();
  context.network = network_text(setup.shape, setup.space);
  context.batch = setup.batch;
  context.image_size = resolve(setup.shape, setup.space).image;
  describe_device(context, setup.device, setup.threads().threads());
  return context;
}

std::string network_text(const NetworkShape& shape, const SearchSpace& space) {
  const NetworkShape s = resolve(shape, space);
  return fmt::format("channels={} layers={} classes={} stem={}", s.channels, s.layers, s.classes,
                     s.stem == Stem::imagenet ? "imagenet" : "cifar");
}

InferenceNetwork::InferenceNetwork(const LatencySetup& setup, const Genotype& genotype)
    : images_(image_storage(setup)), program_(compile_inference(setup, genotype, images_, logits_)) {
  Random random(0, 0x696d61676573);  // the stream "images"
  std::vector<float> pixels(size_t(images_.shape().elements()));
  for (float& v : pixels) v = random.uniform(-1.7f, 1.7f);  // deviation 1, as normalised images
  images_.upload(std::span<const float>(pixels));
}

}  // namespace ladarts
