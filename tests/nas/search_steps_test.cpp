#include "nas/search_steps.h"

#include <cmath>
#include <cstring>

#include "core/philox.h"
#include "nas/encoding.h"
#include "predictor/additive.h"
#include "tests/support/allocations.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

constexpr int kImage = 8;
constexpr AugmentDesc kAugmentation{.mean = {.5f, .5f, .5f}, .deviation = {.29f, .29f, .29f}};

SearchStepConfig small_config() {
  SearchStepConfig c;
  c.supernet.space = SearchSpace::load("darts");
  c.supernet.shape = {.channels = 4, .layers = 3, .classes = 4, .image = kImage};
  c.supernet.partial_k = 2;
  c.supernet.edge_normalisation = true;
  c.batch = 16;
  c.seed = 11;
  c.term = {};  // the expected encoding: its gradient is that of its value, as finite differences see it
  return c;
}

// A predictor with a different cost for every feature.
std::unique_ptr<Regressor> fitted_predictor(const SearchSpace& space) {
  Random random(5);
  Dataset data;
  for (int i = 0; i < 600; ++i) {
    std::vector<float> row(size_t(encoding_size(space)));
    double cost = 1;
    for (size_t k = 0; k < row.size(); ++k) {
      row[k] = random.uniform() < 0.1f ? 1.f : 0.f;
      cost += row[k] * (0.2 + 0.01 * double(k % 37));
    }
    data.features.append(row);
    data.costs.push_back(cost);
  }
  return fit_additive(data, {});
}

// Batches, and an architecture away from its start, where the best primitive of an edge is one for certain:
// the latency term has a kink where two are equal.
void fill(SearchSteps& steps) {
  Random random(21);
  std::vector<float> values = steps.architecture().set().values().to_vector();
  for (float& v : values) v = random.normal();
  steps.architecture().set().values().upload(std::span<const float>(values));
  for (const StepBatch& b : {steps.training_batch(), steps.validation_batch()}) {
    std::vector<uint8_t> images(size_t(b.images().shape().elements()));
    for (uint8_t& v : images) v = uint8_t(random.bits());
    std::vector<int32_t> labels(size_t(b.labels().shape().elements()));
    for (int32_t& v : labels) v = int32_t(random.below(4));
    b.images().upload(std::span<const uint8_t>(images));
    b.labels().upload(std::span<const int32_t>(labels));
  }
}

// The architecture with one number changed, everything else as at the start.
struct Probe {
  SearchSteps& steps;
  std::vector<float> start = steps.architecture().set().values().to_vector();
  std::vector<float> weights = steps.weights().values().to_vector();

  // L_val (at the unrolled weights in second order) + lambda LAT.
  double loss(size_t index, float change, float lambda, float lr) {
    std::vector<float> direction(start.size(), 0.f);
    direction[index] = 1;
    return loss(direction, change, lambda, lr);
  }
  double loss(const std::vector<float>& direction, float change, float lambda, float lr) {
    std::vector<float> values = start;
    for (size_t i = 0; i < values.size(); ++i) values[i] += change * direction[i];
    steps.architecture().set().values().upload(std::span<const float>(values));
    steps.weights().values().upload(std::span<const float>(weights));
    const double latency = lambda != 0 ? lambda * steps.relaxed_cost() : 0.0;
    return steps.architecture_step(lr).loss + latency;
  }
};

}  // namespace

TEST_CASE("search steps: the gradient of L_val + lambda LAT reaches alpha and beta", "[nas][search]") {
  for (const auto& [lambda, fused] : {std::pair{0.f, false}, {0.7f, false}, {0.7f, true}}) {
    SearchStepConfig config = small_config();
    config.lambda = lambda;
    config.supernet.fused = fused;
    const auto predictor = fitted_predictor(config.supernet.space);
    SearchSteps steps(config, predictor.get(), kAugmentation);
    fill(steps);
    Probe probe{steps};
    probe.loss(0, 0, lambda, 0.1f);
    const std::vector<float> gradient = steps.architecture_gradient();
    const float h = 5e-3f;
    Random random(2);
    for (int i = 0; i < 12; ++i) {
      const size_t index = i < 4 ? gradient.size() - 1 - size_t(random.below(14))  // beta
                                 : random.below(uint32_t(gradient.size()));
      const double expected =
          (probe.loss(index, h, lambda, 0.1f) - probe.loss(index, -h, lambda, 0.1f)) / (2 * h);
      INFO("lambda " << lambda << " fused " << fused << " parameter " << index);
      CHECK(std::fabs(gradient[index] - expected) < 3e-4 + 0.02 * std::fabs(expected));
    }
  }
}

TEST_CASE("search steps: second order is the gradient through the unrolled weight step", "[nas][search]") {
  SearchStepConfig config = small_config();
  config.second_order = true;
  // Many images: the gradient of a ReLU network jumps where a unit switches, and differences see the jumps of
  // a small batch as noise.
  config.batch = 256;
  const float lr = 0.05f;
  SearchSteps steps(config, nullptr, kAugmentation);
  fill(steps);
  Probe probe{steps};
  probe.loss(0, 0, 0, lr);
  CHECK(steps.weights().values().to_vector() == probe.weights);  // weights are put back
  const std::vector<float> gradient = steps.architecture_gradient();
  SearchStepConfig first_order = config;
  first_order.second_order = false;
  SearchSteps plain(first_order, nullptr, kAugmentation);
  fill(plain);
  plain.architecture_step(lr);
  const std::vector<float> without = plain.architecture_gradient();
  // Along the second-order part the two gradients differ most: the unrolled loss must follow the second.
  std::vector<float> direction(gradient.size());
  double length = 0;
  for (size_t i = 0; i < direction.size(); ++i)
    length += std::pow(direction[i] = gradient[i] - without[i], 2);
  length = std::sqrt(length);
  double slope = 0, slope_without = 0;
  for (size_t i = 0; i < direction.size(); ++i) {
    direction[i] = float(direction[i] / length);
    slope += double(direction[i]) * gradient[i];
    slope_without += double(direction[i]) * without[i];
  }
  const float h = 0.1f;
  const double expected = (probe.loss(direction, h, 0, lr) - probe.loss(direction, -h, 0, lr)) / (2 * h);
  INFO("expected " << expected << ", second order " << slope << ", first order " << slope_without);
  CHECK(std::fabs(slope - expected) < 0.3 * std::fabs(slope_without - expected));
}

TEST_CASE("search steps: in second order the latency term adds its own gradient", "[nas][search]") {
  SearchStepConfig config = small_config();
  config.second_order = true;
  const auto predictor = fitted_predictor(config.supernet.space);
  std::vector<std::vector<float>> gradients;
  for (const float lambda : {0.f, 0.7f}) {
    config.lambda = lambda;
    for (const bool second : {true, false}) {
      config.second_order = second;
      SearchSteps steps(config, predictor.get(), kAugmentation);
      fill(steps);
      steps.architecture_step(0.05f);
      gradients.push_back(steps.architecture_gradient());
    }
  }
  double largest = 0;
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    const double second = gradients[2][i] - gradients[0][i], first = gradients[3][i] - gradients[1][i];
    CHECK(std::fabs(second - first) < 1e-5 + 1e-3 * std::fabs(first));
    largest = std::max(largest, std::fabs(first));
  }
  CHECK(largest > 1e-3);
}

TEST_CASE("search steps: weight steps learn a fixed batch, with the same bits for any thread count",
          "[nas][search]") {
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2}) {
    ThreadPool::set_global_threads(threads);
    SearchSteps steps(small_config(), nullptr, kAugmentation);
    fill(steps);
    const float first = steps.weight_step(0.1f).loss;
    float last = first;
    for (int i = 0; i < 8; ++i) {
      steps.architecture_step(0.1f);
      last = steps.weight_step(0.1f).loss;
    }
    CHECK(last < 0.7f * first);
    results.push_back(steps.weights().values().to_vector());
    const auto alpha = steps.architecture().set().values().to_vector();
    results.back().insert(results.back().end(), alpha.begin(), alpha.end());
  }
  ThreadPool::set_global_threads(2);
  for (const auto& r : results)
    CHECK(std::memcmp(r.data(), results[0].data(), r.size() * sizeof(float)) == 0);
}

TEST_CASE("search steps: drawn architectures steer in first and second order alike, anew at each step",
          "[nas][search]") {
  SearchStepConfig config = small_config();
  const auto predictor = fitted_predictor(config.supernet.space);
  config.term.relaxation = {RelaxationKind::gumbel, 2};
  std::vector<std::vector<float>> gradients;
  for (const float lambda : {0.f, 0.7f})
    for (const bool second : {true, false}) {
      config.lambda = lambda;
      config.second_order = second;
      SearchSteps steps(config, predictor.get(), kAugmentation);
      fill(steps);
      const double first_draw = steps.relaxed_cost();
      CHECK(steps.relaxed_cost() == first_draw);
      steps.architecture_step(0.05f);
      gradients.push_back(steps.architecture_gradient());
      CHECK(steps.relaxed_cost() != first_draw);
    }
  double largest = 0;
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    const double second = gradients[2][i] - gradients[0][i], first = gradients[3][i] - gradients[1][i];
    CHECK(std::fabs(second - first) < 1e-5 + 1e-3 * std::fabs(first));
    largest = std::max(largest, std::fabs(first));
  }
  CHECK(largest > 1e-3);
}

TEST_CASE("search steps: lambda without a predictor is refused", "[nas][search]") {
  SearchStepConfig config = small_config();
  config.lambda = 1;
  CHECK_THROWS_WITH(SearchSteps(config, nullptr), ContainsSubstring("there is no predictor"));
}

TEST_CASE("search steps: after the first ones nothing is allocated", "[nas][search]") {
  for (bool fused : {true, false})
    for (bool second_order : {false, true}) {
      SearchStepConfig config = small_config();
      config.supernet.fused = fused;
      config.second_order = second_order;
      config.lambda = 0.5f;
      config.term.relaxation = {RelaxationKind::drawn, 2};
      const auto predictor = fitted_predictor(config.supernet.space);
      SearchSteps steps(config, predictor.get(), kAugmentation);
      fill(steps);
      auto run = [&] {
        steps.architecture_step(0.05f);
        steps.weight_step(0.05f);
      };
      run();
      const int64_t before = testing::allocations();
      for (int i = 0; i < 3; ++i) run();
      const int64_t after = testing::allocations();
      INFO("fused " << fused << " second order " << second_order);
      CHECK(after == before);
    }
}
