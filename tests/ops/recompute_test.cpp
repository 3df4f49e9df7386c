// GradientOptions::recompute: values computed again in the backward pass, by every op that offers it.
#include <algorithm>

#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "ops/batch_norm.h"
#include "ops/dropout.h"
#include "ops/norm_sum.h"
#include "ops/pool2d.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// A chain of ops, each result of which the backward pass reads.
struct Chain {
  Storage x = random({4, 6, 8, 8}, 1), gamma = random({6}, 2), beta = random({6}, 3),
          rate = test_storage({1});
  BatchNormState running{test_storage({6}), test_storage({6})};
  RandomState state{5, test_device()};
  std::vector<Storage> gradients;
  ProgramStats stats;

  explicit Chain(bool recompute) {
    rate.upload(std::vector<float>{0.3f});
    running.running_var.upload(std::vector<float>(6, 1.f));
    Graph g(test_device());
    const std::vector<Tensor> wrt{g.leaf(x), g.leaf(gamma), g.leaf(beta)};
    const auto keep = [](Tensor t) { return mul(t, t); };  // its gradient reads t
    Tensor t = keep(batch_norm(wrt[0], wrt[1], wrt[2], running));
    t = keep(batch_norm(t, {}, {}, {}));
    t = keep(norm_sum({{t, {}}, defer_norm(t)}));
    t = keep(max_pool2d(t, {.kernel = 3, .stride = 1, .padding = 1}));
    t = keep(avg_pool2d(t, {.kernel = 3, .stride = 2, .padding = 1}));
    t = keep(add_n({t, t, t}));
    t = keep(drop_path(t, g.leaf(rate), state, 7));
    for (const Storage& s : {x, gamma, beta}) gradients.push_back(test_storage(s.shape()));
    const Tensor loss = mean_all(t);
    g.bind_output(loss);
    ladarts::gradients(loss, wrt, {.into = gradients, .recompute = recompute});
    Program program = compile(g);
    program.run();
    program.wait();
    stats = program.stats();
  }

 private:
  static Storage random(Shape shape, uint64_t stream) {
    Random random(9, stream);
    std::vector<float> values(size_t(shape.elements()));
    for (float& v : values) v = random.uniform(0.5f, 1.5f);
    Storage s = test_storage(shape);
    s.upload(std::span<const float>(values));
    return s;
  }
};

}  // namespace

TEST_CASE("recompute: gradients have the bits that kept values give", "[ops][recompute]") {
  const Chain kept(false), again(true);
  CHECK(again.stats.nodes == kept.stats.nodes + 7);  // one for each op but mul and the statistics
  for (size_t i = 0; i < kept.gradients.size(); ++i) {
    const std::vector<float> expected = kept.gradients[i].to_vector();
    CHECK(again.gradients[i].to_vector() == expected);
    CHECK(std::any_of(expected.begin(), expected.end(), [](float v) { return v != 0; }));
  }
  CHECK(again.running.running_mean.to_vector() == kept.running.running_mean.to_vector());  // updated once
}
