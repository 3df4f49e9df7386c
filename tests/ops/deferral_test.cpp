// core/deferral.h: a normalisation left to its readers gives what it gives when it is carried out.
#include "core/deferral.h"

#include <algorithm>

#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "ops/batch_norm.h"
#include "ops/norm_sum.h"
#include "ops/pool2d.h"
#include "ops/separable_stage.h"
#include "ops/sum_conv2d.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

struct Result {
  int deferred = 0, nodes = 0;
  std::vector<std::vector<float>> values;  // losses, gradients, running statistics
};

Storage made_up(Shape shape, uint64_t stream, float low, float high) {
  Random random(3, stream);
  std::vector<float> values(size_t(shape.elements()));
  for (float& v : values) v = random.uniform(low, high);
  Storage s = test_storage(shape);
  s.upload(std::span<const float>(values));
  return s;
}

// A normalisation of x (N, C, H, W), read as `read` says; its results are squared, weighted and summed up.
template <class F>
Result run(Shape shape, bool defer, bool recompute, F read) {
  Result r;
  Graph g(test_device());
  const int64_t c = shape[1];
  const std::vector<Storage> leaves{made_up(shape, 1, -1, 3),
                                    made_up({c}, 2, .5f, 2),
                                    made_up({c}, 3, -1, 1),
                                    made_up({c, 1, 3, 3}, 4, -1, 1),
                                    made_up({c, c, 1, 1}, 5, -1, 1),
                                    made_up({c, 1, 5, 5}, 6, -1, 1),
                                    made_up({c, 2 * c, 1, 1}, 7, -1, 1),
                                    made_up({2, c}, 8, .5f, 1)};
  std::vector<Tensor> wrt;
  for (const Storage& s : leaves) wrt.push_back(g.leaf(s));
  const BatchNormState running{made_up({c}, 9, -1, 1), made_up({c}, 10, 1, 2)};
  const Tensor n = batch_norm(wrt[0], wrt[1], wrt[2], running);
  Tensor loss;
  for (const Tensor& y : read(n, wrt)) {
    const Tensor squares = mean_all(mul(mul(y, y), g.leaf(made_up(y.shape(), 11, -1, 3))));
    loss = loss ? add(loss, squares) : squares;
  }
  std::vector<Storage> wanted{g.bind_output(loss)};
  for (const Tensor& t : gradients(loss, wrt, {.into = {}, .recompute = recompute}))
    wanted.push_back(g.bind_output(t));
  if (defer) r.deferred = defer_norms(g);
  Program program = compile(g);
  program.run();
  program.wait();
  r.nodes = program.stats().nodes;
  wanted.insert(wanted.end(), {running.running_mean, running.running_var});
  for (const Storage& s : wanted) r.values.push_back(s.to_vector());
  return r;
}

// fewer: nodes that deferral saves.
template <class F>
void check_deferral(Shape shape, bool deferred, int fewer, F read) {
  for (const bool recompute : {false, true}) {
    INFO("recompute " << recompute << ", shape " << shape.str());
    const Result plain = run(shape, false, recompute, read), other = run(shape, true, recompute, read);
    CHECK(other.deferred == int(deferred));
    CHECK(other.nodes == plain.nodes - (recompute ? fewer : 0));
    for (size_t i = 0; i < plain.values.size(); ++i) {
      float largest = 0;
      for (const float v : plain.values[i]) largest = std::max(largest, std::abs(v));
      INFO("value " << i << ", largest " << largest);
      for (size_t k = 0; k < plain.values[i].size(); ++k)
        CHECK(other.values[i][k] == Approx(plain.values[i][k]).epsilon(2e-3).margin(2e-4 * double(largest)));
    }
  }
}

std::vector<Tensor> stages(Tensor x, const std::vector<Tensor>& w, int stride) {
  std::vector<Tensor> y;
  for (const DeferredNorm& n :
       separable_stage({{x, {}}}, {{0, w[3], w[4]}, {0, w[5], w[4], 2}}, {.stride = stride}))
    y.push_back(norm_sum({n}));
  return y;
}

}  // namespace

TEST_CASE("deferral: separable stages read a normalisation that is not carried out", "[ops][deferral]") {
  for (const Shape shape : {Shape{3, 4, 8, 8}, Shape{2, 3, 32, 32}, Shape{2, 16, 16, 16}, Shape{2, 5, 7, 9}})
    for (const int stride : {1, 2})
      check_deferral(shape, true, 1,
                     [=](Tensor n, const std::vector<Tensor>& w) { return stages(n, w, stride); });
  // One branch: its gradient is written at once.
  for (const Shape shape : {Shape{3, 4, 8, 8}, Shape{2, 3, 32, 32}})
    check_deferral(shape, true, 1, [](Tensor n, const std::vector<Tensor>& w) {
      return std::vector{norm_sum({separable_stage({{n, {}}}, {{0, w[3], w[4]}})[0]})};
    });
}

TEST_CASE("deferral: sums read it as a term, pooled or not, beside stages", "[ops][deferral]") {
  check_deferral({3, 4, 8, 8}, true, 1, [](Tensor n, const std::vector<Tensor>& w) {
    const Tensor pooled = avg_pool2d(n, {.kernel = 3, .stride = 1, .padding = 1});
    std::vector<Tensor> y = sum_conv2d({{{w[0], w[7]}, {n, {}}}, {{pooled, {}}, {n, {}}}}, {w[6]});
    y.push_back(norm_sum({{n, {}}, {pooled, {}}, {w[0], w[7]}}));
    for (const Tensor& t : stages(n, w, 1)) y.push_back(t);
    return y;
  });
}

TEST_CASE("deferral: what one reader cannot apply is carried out for all", "[ops][deferral]") {
  const Shape shape{3, 4, 8, 8};
  check_deferral(shape, false, 0, [](Tensor n, const std::vector<Tensor>& w) {
    std::vector<Tensor> y = stages(n, w, 1);
    y.push_back(max_pool2d(n, {.kernel = 3, .stride = 1, .padding = 1}));
    return y;
  });
  check_deferral(shape, false, 0, [](Tensor n, const std::vector<Tensor>& w) {
    std::vector<Tensor> y = stages(n, w, 1);
    y.push_back(avg_pool2d(n, {.kernel = 3, .stride = 1, .padding = 1}));  // squared, which cannot
    return y;
  });
  check_deferral(shape, false, 0, [](Tensor n, const std::vector<Tensor>&) { return std::vector{n}; });
}

TEST_CASE("deferral: a result that is bound outside of the graph stays", "[ops][deferral]") {
  Graph g(test_device());
  const Tensor x = g.leaf(made_up({3, 4, 8, 8}, 1, -1, 3));
  const Tensor n = batch_norm(x, {}, {}, {});
  g.bind_output(norm_sum({{n, {}}, {x, {}}}));
  const Storage kept = g.bind_output(n);
  CHECK(defer_norms(g) == 0);
}
