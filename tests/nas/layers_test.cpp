// The fused form of a primitive in training beside its single layers: value, gradients, running statistics.
#include "nas/layers.h"

#include <fmt/ranges.h>

#include <cmath>
#include <map>

#include "core/gradients.h"
#include "core/program.h"
#include "nas/search_space.h"
#include "ops/arithmetic.h"
#include "ops/norm_sum.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

Storage made_up(Shape shape, int seed) {
  std::vector<float> values(size_t(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(float(i * 37 % 1009) + float(seed));
  Storage s = Storage::create(shape);
  s.upload(std::span<const float>(values));
  return s;
}

struct LayerResult {
  std::vector<std::vector<float>> values;  // y, d_x, d_parameters, running statistics
  int nodes = 0;
};

std::map<std::string, Storage> by_name(const ParameterSet& set) {
  std::map<std::string, Storage> values;
  for (const ParameterSet::Entry& e : set.entries()) values.emplace(e.name, e.value);
  return values;
}

// The sum of primitives that read the same x.
LayerResult run(const std::vector<const char*>& primitives, int stride, bool fused) {
  ParameterSet params(3), buffers;
  Graph g;
  Layers layers(g, params, {.statistics = Statistics::updating, .buffers = &buffers});
  const Tensor x = g.leaf(made_up({3, 8, 12, 12}, 1), "x");
  std::vector<DeferredNorm> terms;
  std::vector<Layers::NamedPrimitive> staged;
  for (const char* primitive : primitives) {
    const Primitive& p = find_primitive(primitive);
    if (fused && layers.has_stages(p)) {
      staged.push_back({p, primitive});
    } else {
      terms.push_back(fused ? layers.deferred_primitive(p, primitive, x, stride)
                            : DeferredNorm{layers.primitive(p, primitive, x, stride), {}});
    }
  }
  if (!staged.empty()) {
    const std::vector<DeferredNorm> first = layers.first_stages(staged, x, stride);
    for (size_t i = 0; i < staged.size(); ++i) terms.push_back(layers.last_stage(staged[i], first[i]));
  }
  const Tensor y = norm_sum(terms);
  const Storage out = g.bind_output(y);
  std::vector<Tensor> wrt{x};
  for (const auto& [name, value] : by_name(params)) wrt.push_back(g.leaf(value, name));
  const Tensor loss = sum_all(mul(y, g.leaf(made_up(y.shape(), 2))));
  std::vector<Storage> gradient;
  for (const Tensor& t : gradients(loss, wrt)) gradient.push_back(g.bind_output(t));
  params.values();
  buffers.values();
  Program program = compile(g);
  program.run();
  LayerResult r;
  r.nodes = program.stats().nodes;
  r.values.push_back(out.to_vector());
  for (const Storage& s : gradient) r.values.push_back(s.to_vector());
  for (const auto& [name, value] : by_name(buffers)) r.values.push_back(value.to_vector());
  return r;
}

}  // namespace

TEST_CASE("layers: fused ops of training give what single layers give", "[nas][layers]") {
  const std::vector<std::vector<const char*>> cases{
      {"sep_conv_3x3"}, {"sep_conv_5x5"}, {"sep_conv_7x7"}, {"dil_conv_3x3"},
      {"dil_conv_5x5"}, {"skip_connect"}, {"max_pool_3x3"}, {"sep_conv_3x3", "dil_conv_5x5", "sep_conv_5x5"}};
  for (const std::vector<const char*>& names : cases)
    for (int stride : {1, 2}) {
      const std::string name = fmt::format("{}", fmt::join(names, " + "));
      INFO(name << " stride " << stride);
      const LayerResult plain = run(names, stride, false), fused = run(names, stride, true);
      REQUIRE(plain.values.size() == fused.values.size());
      for (size_t k = 0; k < plain.values.size(); ++k) {
        INFO("value " << k);
        REQUIRE(plain.values[k].size() == fused.values[k].size());
        float largest = 0, difference = 0;
        for (size_t i = 0; i < plain.values[k].size(); ++i) {
          largest = std::max(largest, std::abs(plain.values[k][i]));
          difference = std::max(difference, std::abs(plain.values[k][i] - fused.values[k][i]));
        }
        CHECK(difference <= 1e-3f * largest);
      }
      const bool separable = name.find("conv") != std::string::npos && name.find("7x7") == std::string::npos;
      if (separable) CHECK(fused.nodes < plain.nodes);
    }
}
