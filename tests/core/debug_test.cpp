// Debug mode against planted bugs, one kind each.
#include <cstdlib>
#include <limits>

#include "core/error.h"
#include "core/program.h"
#include "ops/activations.h"
#include "ops/flat.h"
#include "ops/linear.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

enum class Bug {
  none,
  beyond_end,
  beyond_beginning,
  wrong_on_avx2,
  wrong_integer,
  unwritten,
  not_finite_update
};

// (x: (n)) -> (y: (n), count: (1) i32), y = 2 x; adds 1 to `counter` (1), an input that it updates.
class Faulty : public Op {
 public:
  explicit Faulty(Bug b) : bug(b) {}
  std::string_view name() const override { return "faulty"; }
  Bug bug;
};

template <bool better>
void faulty(const Op& base, const KernelArgs& a) {
  const Bug bug = static_cast<const Faulty&>(base).bug;
  const int64_t n = a.in_shape(0).elements();
  for (int64_t i = 0; i < n - (bug == Bug::unwritten); ++i) a.out(0)[i] = 2 * a.in(0)[i];
  a.out<int32_t>(1)[0] = int32_t(n) + (better && bug == Bug::wrong_integer);
  a.updated(1)[0] += 1;
  if (bug == Bug::beyond_end) a.out(0)[n] = 3;
  if (bug == Bug::beyond_beginning) a.out(0)[-1] = 3;
  if (better && bug == Bug::wrong_on_avx2) a.out(0)[n / 2] += 0.5f;
  if (bug == Bug::not_finite_update) a.updated(1)[0] = std::numeric_limits<float>::infinity();
}

const bool registered = [] {
  register_cpu_kernel(typeid(Faulty), CpuIsa::baseline, faulty<false>);
  register_cpu_kernel(typeid(Faulty), CpuIsa::avx2, faulty<true>);
  return true;
}();

struct Run {
  Storage y = Storage::create({5}), count = Storage::create({1}, DType::i32), counter = Storage::create({1});
  std::string error;

  // With y in the arena, or bound to memory outside of it.
  Run(Bug bug, bool bound) {
    Graph g;
    Storage x = Storage::create({5});
    x.upload(std::vector<float>{1, 2, 3, 4, 5});
    Graph::Scope scope(g, "cell0");
    const auto made = g.add(std::make_shared<Faulty>(bug), {g.leaf(x), g.leaf(counter)},
                            {{Shape{5}}, {Shape{1}, DType::i32}}, {1});
    g.bind(made[1], count);
    if (bound)
      g.bind(made[0], y);
    else
      g.bind(relu(made[0]), y);
    Program p = compile(g, {.debug = true});
    try {
      p.run();
    } catch (const Error& e) {
      error = e.what();
    }
  }
};

}  // namespace

TEST_CASE("debug: a correct program gives what it gives without", "[core][debug]") {
  for (bool bound : {false, true}) {
    Run r(Bug::none, bound);
    CHECK(r.error.empty());
    CHECK(r.y.to_vector() == std::vector<float>{2, 4, 6, 8, 10});
    CHECK(r.counter.item() == 1.f);
  }
}

TEST_CASE("debug: writes beyond a value are named, and stay out of its neighbours", "[core][debug]") {
  for (bool bound : {false, true}) {
    CHECK_THAT(
        Run(Bug::beyond_end, bound).error,
        ContainsSubstring("[faulty] in cell0") && ContainsSubstring("output 0 was written beyond its end"));
    CHECK_THAT(Run(Bug::beyond_beginning, bound).error,
               ContainsSubstring("output 0 was written beyond its beginning"));
  }
}

TEST_CASE("debug: elements that no one wrote are named", "[core][debug]") {
  for (bool bound : {false, true})
    CHECK_THAT(
        Run(Bug::unwritten, bound).error,
        ContainsSubstring("[faulty] in cell0") && ContainsSubstring("output 0 holds nan at element 4 of 5"));
}

TEST_CASE("debug: a value updated in place must stay finite, and is not stored otherwise", "[core][debug]") {
  Run r(Bug::not_finite_update, true);
  CHECK_THAT(r.error, ContainsSubstring("input 1, updated in place, holds inf at element 0 of 1"));
  CHECK(r.counter.item() == 0.f);
}

TEST_CASE("debug: a kernel that disagrees with the baseline's is named", "[core][debug]") {
  if (current_cpu_isa() == CpuIsa::baseline) return;  // the same kernel
  CHECK_THAT(
      Run(Bug::wrong_on_avx2, true).error,
      ContainsSubstring("[faulty] in cell0") &&
          ContainsSubstring("output 0 mismatches: 6.5 where the baseline kernel has 6 at element 2 of 5"));
  CHECK_THAT(Run(Bug::wrong_integer, true).error,
             ContainsSubstring("output 1 mismatches: 6 where the baseline kernel has 5 at element 0 of 1"));
}

TEST_CASE("debug: a NaN is reported where it arises", "[core][debug]") {
  Graph g;
  Storage s = Storage::create({2});
  s.upload(std::vector<float>{1.f, std::numeric_limits<float>::quiet_NaN()});
  Graph::Scope scope(g, "cell0");
  Storage out = g.bind_output(sigmoid(g.leaf(s)));
  Program p = compile(g, {.debug = true});
  CHECK_THROWS_WITH(p.run(), ContainsSubstring("[sigmoid] in cell0") && ContainsSubstring("element 1 of 2"));
}

TEST_CASE("debug: memory that values share is no mistake", "[core][debug]") {
  Graph g;
  const Tensor wide = sigmoid(sigmoid(sigmoid(g.leaf(Storage::create({3, 100})))));
  const Tensor w = g.leaf(Storage::create({1, 100})), one = g.leaf(Storage::create({1, 1}));
  // The narrow values lie where the wide ones were.
  Storage out = g.bind_output(linear(sigmoid(linear(wide, w)), one));
  Program p = compile(g, {.debug = true});
  CHECK(p.stats().arena_bytes < p.stats().value_bytes);
  CHECK_NOTHROW(p.run());
  CHECK_NOTHROW(p.run());
}

TEST_CASE("debug: LADARTS_DEBUG turns it on for every program", "[core][debug]") {
  Graph g;
  Storage s = Storage::create({1});
  s.set(std::numeric_limits<float>::quiet_NaN());
  Storage out = g.bind_output(sigmoid(g.leaf(s)));
  struct Restore {
    ~Restore() { unsetenv("LADARTS_DEBUG"); }
  } restore;
  setenv("LADARTS_DEBUG", "1", 1);
  CHECK_THROWS_WITH(compile(g).run(), ContainsSubstring("[sigmoid]"));
  setenv("LADARTS_DEBUG", "0", 1);
  CHECK_NOTHROW(compile(g).run());
  setenv("LADARTS_DEBUG", "yes", 1);
  CHECK_THROWS_WITH(compile(g), ContainsSubstring("LADARTS_DEBUG=yes is unknown; use 1 (on) or 0 (off)"));
}
