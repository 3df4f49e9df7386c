#include "nas/edge_costs.h"

#include <map>
#include <tuple>

#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "nas/encoding.h"
#include "nas/relaxation.h"
#include "nas/skeleton.h"
#include "ops/arithmetic.h"
#include "predictor/speed_probe.h"

namespace ladarts {

namespace {

// One op of an edge: what its time depends on.
using OpKey = std::tuple<int, int64_t, int64_t, int>;  // primitive, channels, side, stride

bool computes(const Primitive& p, int stride) {
  return !is_identity(p, stride);
}

double measure_alone(const LatencySetup& setup, const Primitive& primitive, int64_t channels, int64_t side,
                     int stride, SpeedProbe* probe) {
  const Storage x = Storage::create({setup.batch, channels, side, side}, DType::f32, setup.device);
  std::vector<float> values(size_t(x.shape().elements()));
  Random random(0, 0x65646765);  // stream "edge"
  for (float& v : values) v = random.uniform(-1.7f, 1.7f);
  x.upload(std::span<const float>(values));
  Graph graph(setup.device);
  ParameterSet params(0, setup.device);
  Layers layers(graph, params, {.statistics = Statistics::folded});
  graph.bind_output(layers.primitive(primitive, "op", graph.leaf(x), stride));
  params.values();
  Program program = compile(graph, {.pool = setup.pool});
  MeasureOptions options = setup.measure;
  if (probe) options.slowdown = [&] { return probe->slowdown(); };
  return 1e3 * measure(
                   [&] {
                     program.run();
                     program.wait();
                   },
                   options)
                   .median_ms;
}

}  // namespace

LatencyGradients latency_gradients(const SearchSpace& space, const ArchitectureValues& values,
                                   const Regressor& predictor, Device device) {
  require(predictor.features() == encoding_size(space),
          "[latency] the predictor takes {} features, space '{}' has {}", predictor.features(), space.name,
          encoding_size(space));
  const bool betas = !values.beta.empty() && !values.beta[0].empty();
  ArchitectureParameters architecture(space, betas, 0, device);
  Graph graph(device);
  std::vector<Tensor> wrt;
  architecture.set().values();
  for (int t = 0; t < int(space.cell_types.size()); ++t) {
    architecture.set_alpha(t, values.alpha[size_t(t)]);
    if (betas) architecture.set_beta(t, values.beta[size_t(t)]);
    wrt.push_back(architecture.record_alpha(graph, t));
  }
  Tensor encoding = record_relaxation(graph, architecture);
  wrt.push_back(encoding);
  Tensor latency = reshape(predictor.record(encoding), Shape{1});
  const std::vector<Tensor> grads = gradients(latency, wrt);
  const Storage value = graph.bind_output(latency);
  std::vector<Storage> results;
  for (const Tensor& g : grads) results.push_back(graph.bind_output(g));
  Program program = compile(graph);
  program.run();
  program.wait();

  LatencyGradients found;
  found.latency = value.item();
  const std::vector<float> features = results.back().to_vector();
  const size_t each = features.size() / space.cell_types.size();
  for (size_t t = 0; t < space.cell_types.size(); ++t) {
    found.d_alpha.push_back(results[t].to_vector());
    found.d_features.emplace_back(features.begin() + ptrdiff_t(t * each),
                                  features.begin() + ptrdiff_t((t + 1) * each));
  }
  return found;
}

std::vector<EdgePlace> edge_places(const SearchSpace& space, const NetworkShape& shape) {
  const NetworkShape resolved = resolve(shape, space);
  Graph graph;
  ParameterSet params;
  Layers layers(graph, params, {.statistics = Statistics::folded});
  const Storage images = Storage::create({1, 3, resolved.image, resolved.image});
  std::vector<EdgePlace> places;
  const auto look = [&](const CellInputs& in) -> std::vector<Tensor> {
    const int64_t side = in.states[0].dim(2), inner = in.reduction ? (side + 1) / 2 : side;
    for (int e = 0; e < space.edges(); ++e) {
      const bool from_input = space.edge(e).source < space.inputs;
      places.push_back({space.cell_type_of(in.reduction), e, in.channels, from_input ? side : inner,
                        in.reduction && from_input ? 2 : 1});
    }
    const int64_t nodes = space.skeleton.kind == SkeletonKind::residual_stages ? 1 : space.nodes;
    return {layers.zeros({1, nodes * in.channels, inner, inner})};
  };
  record_skeleton({.outer = layers, .inner = layers, .imagenet_stem_factor = 1}, space, resolved,
                  graph.leaf(images), look);
  return places;
}

std::vector<std::vector<double>> measure_edge_costs(
    const LatencySetup& setup, const std::function<void(int done, int total)>& progress) {
  const SearchSpace& space = setup.space;
  const int primitives = int(space.primitives.size());
  const std::vector<EdgePlace> places = edge_places(space, setup.shape);
  std::map<OpKey, double> alone;
  for (const EdgePlace& at : places)
    for (int p = 0; p < primitives; ++p)
      if (computes(find_primitive(space.primitives[size_t(p)]), at.stride))
        alone[{p, at.channels, at.side, at.stride}] = 0;
  std::unique_ptr<SpeedProbe> probe;
  if (setup.device.kind == DeviceKind::cpu)
    probe = std::make_unique<SpeedProbe>(setup.pool ? *setup.pool : ThreadPool::global());
  int done = 0;
  for (auto& [key, us] : alone) {
    const auto [p, channels, side, stride] = key;
    us = measure_alone(setup, find_primitive(space.primitives[size_t(p)]), channels, side, stride,
                       probe.get());
    if (progress) progress(++done, int(alone.size()));
  }
  std::vector<std::vector<double>> sums(space.cell_types.size(),
                                        std::vector<double>(size_t(space.edges() * primitives)));
  for (const EdgePlace& at : places)
    for (int p = 0; p < primitives; ++p)
      if (const auto found = alone.find({p, at.channels, at.side, at.stride}); found != alone.end())
        sums[size_t(at.cell_type)][size_t(at.edge * primitives + p)] += found->second;
  return sums;
}

}  // namespace ladarts
