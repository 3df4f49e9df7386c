#include "benchmarks/predictor/table_reader.h"

#include <fstream>

#include "core/error.h"
#include "core/philox.h"
#include "predictor/gp.h"
#include "predictor/metrics.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
using namespace ladarts::benchmarks;

namespace {

std::string write(const TempFolder& folder, const std::string& name, const std::string& text) {
  const std::string path = (folder / name).string();
  std::ofstream(path) << text;
  return path;
}

}  // namespace

TEST_CASE("table reader: a chain whose costs are sums is predicted exactly", "[nas][tables]") {
  const TempFolder folder;
  Random random(3);
  std::string text = "arch_index,op0,op1,op2,op3,op4,op5,a_ms,params,b_mj\n";
  for (int i = 0; i < 300; ++i) {
    double cost = 2;
    text += std::to_string(i);
    for (int l = 0; l < 6; ++l) {
      const uint32_t op = random.below(3);
      cost += 0.5 * op * (1 + 0.3 * l);
      text += "," + std::to_string(op);
    }
    text += fmt::format(",{},17,{}\n", cost, 3 * cost);
  }
  const CostTable table = read_table(write(folder, "chain.csv", text), {});
  CHECK(table.columns == std::vector<std::string>{"a_ms", "b_mj"});
  CHECK(table.features.rows == 300);
  CHECK(table.features.columns == 18);
  CHECK(table.expansion.groups == std::vector<int64_t>{18, 3, 12});
  CHECK(table.architectures[0].size() == 11);
  for (size_t column = 0; column < 2; ++column) {
    const Dataset data = table.dataset(column);
    std::vector<int64_t> train, test;
    for (int64_t i = 0; i < data.size(); ++i) (i < 40 ? train : test).push_back(i);
    GpOptions options;
    options.expansion = table.expansion;
    const auto model = fit_gp(data.subset(train), options);
    const Dataset rest = data.subset(test);
    const ErrorReport r = error_report(model->predict(rest.features), rest.costs);
    CHECK(r.mean_relative_error < 1e-3);
    CHECK(r.spearman > 0.999);
  }
}

TEST_CASE("table reader: cells and genotypes, rows left out, mistakes with their line", "[nas][tables]") {
  const TempFolder folder;
  const std::string a = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|";
  const std::string b = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|";
  const std::string cells =
      write(folder, "cells.csv",
            "arch_index,arch_str,measured,x_ms\n0," + a + ",0,1.5\n1," + b + ",1,2.5\n2," + a + ",0,1.5\n");
  const std::string live = write(folder, "live.csv", "output_reachable\n1\n0\n1\n");
  CHECK(read_table(cells, {}).costs[0] == std::vector<double>{1.5, 2.5, 1.5});
  CHECK(read_table(cells, {.live = live, .group = ""}).costs[0] == std::vector<double>{1.5, 1.5});
  CHECK(read_table(cells, {.live = live, .group = "measured"}).costs[0] == std::vector<double>{1.5});

  const std::string bad = write(folder, "bad.csv", "op0,x_ms\n0,1\n1,fast\n");
  CHECK_THROWS_WITH(read_table(bad, {}), ContainsSubstring("line 3, x_ms: 'fast' is no number"));
  const std::string ragged = write(folder, "ragged.csv", "op0,x_ms\n0,1,2\n");
  CHECK_THROWS_WITH(read_table(ragged, {}),
                    ContainsSubstring("ragged.csv, line 2: 3 cells, the header has 2"));
  CHECK_THROWS_WITH(read_table(write(folder, "no.csv", "name,x_ms\nq,1\n"), {}),
                    ContainsSubstring("no column arch_str"));
  CHECK_THROWS_WITH(read_table((folder / "missing.csv").string(), {}),
                    ContainsSubstring("missing.csv': open failed"));
}
