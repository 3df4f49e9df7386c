// `ladarts bench ops` on a device with libraries beside our kernels: here the emulated one.
#include "apps/bench_ops.h"

#include <CLI/CLI.hpp>

#include "core/progress.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;

namespace {

struct BenchResult {
  Json json;
  std::string text;
};

BenchResult bench_ops(const std::string& arguments, const std::string& kernels) {
  Progress::set_silent(true);
  const KernelPolicy before = kernel_policy(DeviceKind::cuda);
  set_kernel_policy(DeviceKind::cuda, {});
  CommonOptions common;
  common.device = "cuda";
  common.kernels = kernels;
  choose_kernels(common);
  CLI::App app;
  BenchOps bench;
  bench.declare(app);
  app.parse(arguments);
  BenchResult result;
  result.json = bench.run(common);
  result.text = bench.text(result.json);
  set_kernel_policy(DeviceKind::cuda, before);
  Progress::set_silent(false);
  return result;
}

}  // namespace

TEST_CASE("bench ops: ours and each library's stand side by side, where the library has a kernel",
          "[kernels]") {
  const std::string ops = "--op conv2d,linear,relu --pass both --channels 4 --image 6 --repeats 2";
  const BenchResult all = bench_ops(ops, "ladarts");
  REQUIRE(all.json["rows"].size() == 6);
  for (const Json& row : all.json["rows"]) {
    const Json& times = row["times"];
    INFO(row.dump());
    CHECK(times["ladarts"]["kernels"] == Json::array({"ladarts"}));
    CHECK(times["ladarts"]["median_us"].get<double>() > 0);
    CHECK(times.contains("cudnn") == (row["op"] == "conv2d"));
    CHECK(times.contains("cublas") == (row["op"] == "linear"));
  }
  CHECK(all.json["rows"][0]["times"]["cudnn"]["kernels"][0] == "cudnn implicit_precomp_gemm");
  for (const char* column : {"ladarts us", "cudnn us", "cublas us"})
    CHECK_THAT(all.text, ContainsSubstring(column));

  const BenchResult one = bench_ops(ops, "cublas");
  CHECK_FALSE(one.json["rows"][0]["times"].contains("cudnn"));
  CHECK(one.json["rows"][2]["times"].contains("cublas"));
}
