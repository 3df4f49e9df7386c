// What profilers are told of a program that runs node by node.
#include "core/program.h"
#include "ops/pool2d.h"
#include "tests/cuda/emulated_device.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

TEST_CASE("cuda programs: kernels that run one by one stand under their node's name in profilers",
          "[cuda][programs]") {
  Graph g(test_device());
  {
    const Graph::Scope scope(g, "cell0");
    g.bind_output(global_avg_pool(max_pool2d(g.leaf(test_storage({1, 2, 4, 4})))));
  }
  Program p = compile(g);
  p.run();  // may go node by node, where libraries' kernels are loaded
  emulated_ranges().clear();
  p.run();
  CHECK(emulated_ranges().empty());  // a recording has none
  p.run_node_by_node();
  CHECK(emulated_ranges() ==
        std::vector<std::string>{"max_pool2d cell0", "end", "global_avg_pool cell0", "end"});
}
