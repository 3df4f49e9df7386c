#include "apps/bench_ops.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "apps/command.h"
#include "apps/format.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "core/thread_pool.h"
#include "predictor/measure.h"
#include "predictor/profile.h"
#include "predictor/speed_probe.h"

namespace ladarts {

namespace {

// Whose kernels are timed, each at every point and in turn.
struct Implementation {
  std::string name;
  KernelPolicy policy;
};

// Ours, and beside them those that --kernels names, else of every library that is there.
std::vector<Implementation> implementations(DeviceKind kind) {
  const KernelPolicy& asked = kernel_policy(kind);
  std::vector<Implementation> all{{kOwnKernel, {}}};
  for (KernelLibrary* library : kernel_libraries(kind)) {
    const std::string name = library->name();
    if (asked.mode != KernelPolicy::Mode::own &&
        std::count(asked.libraries.begin(), asked.libraries.end(), name) == 0)
      continue;
    try {
      all.push_back({name, KernelPolicy::parse(name, kind)});
      all.back().policy.tf32 = asked.tf32;
    } catch (const Error&) {
      if (asked.mode != KernelPolicy::Mode::own)
        throw;  // one that is missing has no column; ladarts info says why
    }
  }
  return all;
}

template <class T>
CLI::Option* add_list(CLI::App& app, const char* name, std::vector<T>& values, const std::string& help,
                      int low, int high) {
  std::string shown;
  for (const T v : values) shown += (shown.empty() ? "" : ",") + std::to_string(v);
  return app.add_option(name, values, help)
      ->delimiter(',')
      ->check(CLI::Range(low, high))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->option_text("N,... [" + shown + "]");
}

// Runs of one op, disturbed ones left out unless they are most.
struct Times {
  Timing timing;  // of single runs, in microseconds
  int disturbed = 0;
};

Times time_op(TimedOp& op, int repeats, SpeedProbe* probe) {
  constexpr int kWarmUp = 3, kBetweenProbes = 10;
  constexpr double kMaxSlowdown = 1.12;
  for (int i = 0; i < kWarmUp; ++i) op.run_us();
  std::vector<double> quiet, all;
  auto slow = [&] { return probe && probe->slowdown() > kMaxSlowdown; };
  bool before = slow();
  while (int(quiet.size()) < repeats && int(all.size()) < 3 * repeats) {
    if (interrupted()) throw Interrupted("interrupted; nothing was written");
    std::vector<double> some;
    for (int i = 0; i < std::min(kBetweenProbes, repeats); ++i) some.push_back(op.run_us());
    const bool after = slow();
    if (!before && !after) quiet.insert(quiet.end(), some.begin(), some.end());
    all.insert(all.end(), some.begin(), some.end());
    before = after;
  }
  Times t;
  t.disturbed = int(all.size() - quiet.size());
  const bool noisy = 2 * int(quiet.size()) < std::min(repeats, int(all.size()));
  t.timing = summarise_times(noisy ? all : quiet);
  t.timing.noisy = noisy;
  return t;
}

Json point_json(const OpPoint& p) {
  const OpFields f = fields_of(p.op);
  Json j{{"op", p.op}, {"pass", to_string(p.pass)}, {"batch", p.batch}, {"channels", p.channels}};
  if (f.image) j["image"] = p.image;
  if (f.kernel) j["kernel"] = p.kernel;
  if (f.stride) j["stride"] = p.stride;
  if (f.dilation) j["dilation"] = p.dilation;
  return j;
}

Json times_json(const Times& t, const Cost& cost, size_t scratch_bytes,
                const std::optional<MachinePeak>& peak) {
  const double us = t.timing.median_ms;
  Json j{{"median_us", us},
         {"best_us", t.timing.min_ms},
         {"spread", t.timing.relative_spread},
         {"repeats", t.timing.repeats},
         {"disturbed", t.disturbed},
         {"noisy", t.timing.noisy},
         {"gflops", cost.flops / us * 1e-3},
         {"gbs", cost.bytes_moved / us * 1e-3},
         {"scratch_bytes", scratch_bytes}};
  if (!peak) return j;
  j["share_of_peak"] = cost.flops / us * 1e-3 / peak->gflops;
  j["share_of_floor"] = roofline(cost, *peak).floor_us / us;
  return j;
}

Json measure_point(const OpPoint& point, Device device, int repeats, SpeedProbe* probe,
                   const std::optional<MachinePeak>& peak) {
  Json row = point_json(point), times = Json::object();
  for (const Implementation& implementation : implementations(device.kind)) {
    const std::unique_ptr<TimedOp> op = make_timed_op(point, device, implementation.policy);
    const std::vector<std::string> kernels = op->kernels();
    if (!times.empty() && kernels == std::vector<std::string>{kOwnKernel}) continue;  // the library has none
    const Cost cost = op->cost();
    row["flops"] = cost.flops;
    row["bytes"] = cost.bytes_moved;
    if (peak) {
      const Roofline r = roofline(cost, *peak);
      row["floor_us"] = r.floor_us;
      row["bound"] = to_string(r.bound);
    }
    times[implementation.name] = times_json(time_op(*op, repeats, probe), cost, op->scratch_bytes(), peak);
    times[implementation.name]["kernels"] = kernels;
  }
  row["times"] = std::move(times);
  return row;
}

}  // namespace

void BenchOps::declare(CLI::App& app) {
  app.add_option("--op", ops_, "which ops, by the list below")
      ->delimiter(',')
      ->check(CLI::IsMember(op_names()))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->option_text("NAME,... [conv2d,depthwise,pointwise]");
  add_list(app, "--channels", channels_, "channels; linear: values", 1, 65536);
  image_ = add_list(app, "--image", images_, "side of the images in pixels", 1, 4096);
  add_list(app, "--batch", batches_, "images at once", 1, 65536);
  kernel_ = add_list(app, "--kernel", kernels_, "side of kernels and windows", 1, 31);
  stride_ = add_list(app, "--stride", strides_, "pixels from window to window", 1, 16);
  dilation_ = add_list(app, "--dilation", dilations_, "pixels from tap to tap of a kernel", 1, 16);
  app.add_option("--pass", pass_, "forward, backward (gradients of the input and of all weights) or both")
      ->check(CLI::IsMember({"forward", "backward", "both"}))
      ->option_text("NAME [forward]");
  app.add_option("--repeats", repeats_, "timed runs of each point")
      ->check(CLI::Range(1, 100000))
      ->option_text(fmt::format("N [{}]", repeats_));
  app.footer(
      "Ops:\n" + op_descriptions() +
      "\nOperands stay the same from run to run, so small ones are in a cache: shares above 100%.\n"
      "Options of every command (--threads, --json, ...): see ladarts bench --help.\n\nExample:\n"
      "  ladarts bench ops --op conv2d,separable --channels 16,32,64 --image 32,16 --batch 1,32\n"
      "  ladarts bench ops --op depthwise --kernel 3,5 --stride 1,2 --pass both --json\n"
      "  ladarts bench ops --op conv2d,linear --device cuda    # ours, cuDNN's and cuBLAS' side by side");
}

void BenchOps::require_concerned(const char* option, const CLI::Option* given, bool OpFields::*field) const {
  if (given->count() == 0) return;
  const bool any =
      std::any_of(ops_.begin(), ops_.end(), [&](const auto& op) { return fields_of(op).*field; });
  require(any, "[bench ops] none of the ops has {}: leave it out", option);
}

std::vector<OpPoint> BenchOps::points() const {
  std::vector<Pass> passes;
  if (pass_ != "backward") passes.push_back(Pass::forward);
  if (pass_ != "forward") passes.push_back(Pass::backward);
  std::vector<OpPoint> grid = {{}};
  const auto expand = [&](const auto& values, auto set, auto applies) {
    std::vector<OpPoint> wider;
    for (const OpPoint& p : grid)
      for (size_t i = 0; i < values.size() && (i == 0 || applies(p)); ++i) {
        wider.push_back(p);
        set(wider.back(), values[i]);
      }
    grid = std::move(wider);
  };
  const auto always = [](const OpPoint&) { return true; };
  const auto has = [](bool OpFields::*field) {
    return [field](const OpPoint& p) { return fields_of(p.op).*field; };
  };
  expand(
      ops_, [](OpPoint& p, const std::string& v) { p.op = v; }, always);
  expand(
      batches_, [](OpPoint& p, int64_t v) { p.batch = v; }, always);
  expand(
      images_, [](OpPoint& p, int64_t v) { p.image = v; }, has(&OpFields::image));
  expand(
      channels_, [](OpPoint& p, int64_t v) { p.channels = v; }, always);
  expand(
      kernels_, [](OpPoint& p, int v) { p.kernel = v; }, has(&OpFields::kernel));
  expand(
      strides_, [](OpPoint& p, int v) { p.stride = v; }, has(&OpFields::stride));
  expand(
      dilations_, [](OpPoint& p, int v) { p.dilation = v; }, has(&OpFields::dilation));
  expand(
      passes, [](OpPoint& p, Pass v) { p.pass = v; }, always);
  return grid;
}

Json BenchOps::run(const CommonOptions& common) const {
  require_concerned("--image", image_, &OpFields::image);
  require_concerned("--kernel", kernel_, &OpFields::kernel);
  require_concerned("--stride", stride_, &OpFields::stride);
  require_concerned("--dilation", dilation_, &OpFields::dilation);
  const Device device = Device::parse(common.device);
  std::optional<MachinePeak> peak;
  std::optional<SpeedProbe> probe;
  if (device.kind == DeviceKind::cpu) {
    peak = measure_machine_peak(ThreadPool::global());
    probe.emplace(ThreadPool::global());
  }
  const std::vector<OpPoint> grid = points();
  Progress progress("bench ops", int64_t(grid.size()), {.unit = "point"});
  Json rows = Json::array(), skipped = Json::array();
  int64_t done = 0;
  for (const OpPoint& point : grid) {
    if (interrupted()) throw Interrupted("interrupted; nothing was written");
    try {
      rows.push_back(measure_point(point, device, repeats_, probe ? &*probe : nullptr, peak));
    } catch (const Error& e) {
      Json row = point_json(point);
      row["reason"] = e.what();
      skipped.push_back(std::move(row));
    }
    progress.update(++done, point.str());
  }
  progress.finish();
  if (rows.empty()) fail("[bench ops] nothing could be timed: {}", text_of(skipped[0]["reason"]));
  Json result{{"what", "ops"},
              {"device", device.str()},
              {"threads", ThreadPool::global().threads()},
              {"isa", to_string(current_cpu_isa())}};
  if (peak) result["machine"] = {{"peak_gflops", peak->gflops}, {"copy_gbs", peak->copy_gbs}};
  result["rows"] = std::move(rows);
  result["skipped"] = std::move(skipped);
  return result;
}

std::string BenchOps::text(const Json& r) const {
  std::string out =
      fmt::format("{}, {} threads, {}", text_of(r["device"]), r["threads"].get<int>(), text_of(r["isa"]));
  const bool peaks = r.contains("machine");
  if (peaks)
    out += fmt::format("; at most {:.0f} GFLOP/s, copies {:.1f} GB/s",
                       r["machine"]["peak_gflops"].get<double>(), r["machine"]["copy_gbs"].get<double>());
  std::vector<std::string> header{"op", "pass", "batch", "channels", "image", "kernel", "stride", "dilation"};
  std::vector<std::string> names;
  for (const Json& row : r["rows"])
    for (const auto& [name, t] : row["times"].items())
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const std::string& name : names) {
    for (const char* column : {" us", " spread", " GFLOP/s", " GB/s"}) header.push_back(name + column);
    if (peaks) header.insert(header.end(), {"of peak", "of roof"});
  }
  if (peaks) header.insert(header.end(), {"roof us", "bound"});
  std::vector<std::vector<std::string>> cells;
  bool noisy = false;
  for (const Json& row : r["rows"]) {
    std::vector<std::string> line;
    for (const char* field : {"op", "pass", "batch", "channels", "image", "kernel", "stride", "dilation"})
      line.push_back(!row.contains(field)     ? ""
                     : row[field].is_string() ? text_of(row[field])
                                              : row[field].dump());
    for (const std::string& name : names) {
      if (!row["times"].contains(name)) {
        line.resize(line.size() + (peaks ? 6 : 4));
        continue;
      }
      const Json& t = row["times"][name];
      noisy = noisy || t["noisy"].get<bool>();
      line.push_back(
          fmt::format("{:.1f}{}", t["median_us"].get<double>(), t["noisy"].get<bool>() ? "*" : ""));
      line.push_back(percent(t["spread"].get<double>()));
      line.push_back(fmt::format("{:.1f}", t["gflops"].get<double>()));
      line.push_back(fmt::format("{:.1f}", t["gbs"].get<double>()));
      if (peaks)
        line.insert(line.end(), {percent(t["share_of_peak"].get<double>(), 0),
                                 percent(t["share_of_floor"].get<double>(), 0)});
    }
    if (peaks)
      line.insert(line.end(), {fmt::format("{:.1f}", row["floor_us"].get<double>()), text_of(row["bound"])});
    cells.push_back(std::move(line));
  }
  out += "\n\n" + table(header, cells);
  if (noisy) out += "* the machine was slowed while it ran\n";
  for (const Json& s : r["skipped"])
    out += fmt::format("left out: {}, {}: {}\n", text_of(s["op"]), text_of(s["pass"]), text_of(s["reason"]));
  return out;
}

}  // namespace ladarts
