#include <algorithm>
#include <optional>

#include "apps/chrome_trace.h"
#include "apps/command.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "apps/profile_report.h"
#include "apps/random_inputs.h"
#include "apps/roofline_svg.h"
#include "apps/search_profile.h"
#include "core/atomic_file.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "nas/architecture_measuring.h"
#include "nas/network.h"
#include "nas/train_steps.h"
#include "predictor/machine.h"
#include "predictor/speed_probe.h"

namespace ladarts {
namespace {

class ProfileCommand : public Command {
 public:
  std::string name() const override { return "profile"; }
  std::string summary() const override {
    return "say why a network takes its time, or what each edge of a search costs";
  }
  std::string example() const override {
    return "ladarts profile DARTS_V2 --trace trace.json        # open it in ui.perfetto.dev\n"
           "  ladarts profile genotype.json --batch 32 --top 20 --svg roofline.svg\n"
           "  ladarts profile PC_DARTS_cifar --train --batch 96\n"
           "  ladarts profile --search runs/search --predictor predictor.safetensors\n"
           "  nsys profile ladarts profile DARTS_V2 --device cuda --node-by-node 3\n\n"
           "Every op is timed where it stands in the network, in runs that take turns with whole ones. "
           "ladarts\n"
           "bench times whole steps, to compare versions and programs; ladarts measure gives the latency "
           "that a\n"
           "predictor is fitted on.";
  }

  void declare(CLI::App& app) override {
    auto* genotype = app.add_option("genotype", genotype_, kGenotypeHelp);
    auto* search = app.add_option("--search", search_.folder,
                                  "the folder of a search: what each edge and primitive costs, and what the "
                                  "latency term says of it, in place of a network")
                       ->option_text("DIR")
                       ->excludes(genotype);
    app.add_option("--predictor", search_.predictor, "with --search: the predictor that the search used")
        ->needs(search)
        ->option_text("FILE");
    app.add_flag("--any-device", search_.any_device, "with --search: accept a predictor of another device")
        ->needs(search);
    app.add_option("--batch", batch_, "images at once; 0: 1, or 96 with --train")
        ->check(CLI::Range(0, 65536))
        ->option_text("N [0]")
        ->excludes(search);
    app.add_flag("--train", train_, "a training step instead of inference")->excludes(search);
    app.add_option("--repeats", repeats_, "pairs of a whole run and one in which each op is timed")
        ->check(CLI::Range(1, 100000))
        ->option_text(fmt::format("N [{}]", repeats_));
    app.add_option("--top", top_,
                   "also list this many of the slowest ops, or with --search of the edges' ops")
        ->check(CLI::NonNegativeNumber)
        ->option_text(fmt::format("N [{}]", top_));
    app.add_option("--trace", trace_, "write one run as a trace for ui.perfetto.dev and chrome://tracing")
        ->option_text("FILE")
        ->excludes(search);
    app.add_option("--svg", svg_, "draw the roofline, a dot for each op, into this SVG file")
        ->option_text("FILE")
        ->excludes(search);
    app.add_option("--node-by-node", node_by_node_,
                   "afterwards run a GPU's program this often kernel by kernel, each op under its name (an "
                   "NVTX range) in "
                   "NVIDIA's profilers")
        ->check(CLI::NonNegativeNumber)
        ->option_text("N [0]")
        ->excludes(search);
    add_network_options(app, network_);
    app.callback([this, &app] {
      if (genotype_.empty() && search_.folder.empty())
        throw CLI::RequiredError("an architecture or --search DIR");
      if (search_.folder.empty()) return;
      for (const char* size : {"--space", "--channels", "--layers", "--stem", "--classes", "--image"})
        if (app.get_option(size)->count() > 0) throw CLI::ExcludesError(size, "--search");
    });
  }

  Json run(const CommonOptions& common) override {
    if (!search_.folder.empty()) return profile_search(search_, repeats_, common);
    device_ = Device::parse(common.device);
    require(svg_.empty() || device_.kind == DeviceKind::cpu,
            "[profile] --svg draws the measured peaks of the CPU, and those of {} are not measured; use "
            "--device cpu",
            device_.str());
    require(node_by_node_ == 0 || device_.kind != DeviceKind::cpu,
            "[profile] --node-by-node is for NVIDIA's profilers, and {} is no GPU; use --trace",
            device_.str());
    if (batch_ == 0) batch_ = train_ ? 96 : 1;
    return profile_network(common);
  }

  std::string text(const Json& r) const override {
    if (r.contains("search")) return search_text(r, size_t(top_));
    std::string out = fmt::format("{}\n{}, {} parameters\n\n", text_of(r["what"]), text_of(r["genotype"]),
                                  with_separators(r["parameters"]));
    out += times_text(r);
    for (const auto& [title, key] : {std::pair{"op", "by_op"}, {"part", "by_part"}, {"for", "by_role"}})
      out += "\n" + profile_table(title, r[key]);
    if (r["by_kernel"].size() > 1) out += "\n" + profile_table("kernels", r["by_kernel"]);
    if (r.contains("kernels")) out += "\n" + kernels_table(r["kernels"], size_t(std::max(top_, 10)));
    if (top_ > 0) {
      Json nodes = r["nodes"];
      std::stable_sort(nodes.begin(), nodes.end(), [](const Json& a, const Json& b) {
        return a["us"].get<double>() > b["us"].get<double>();
      });
      out += "\n" + profile_table("slowest", nodes, size_t(top_));
    }
    for (const char* file : {"trace", "svg"})
      if (r.contains(file)) out += fmt::format("\n{} is written to {}", file, text_of(r[file]));
    return r.contains("trace") || r.contains("svg") ? out + "\n" : out;
  }

 private:
  Json profile_network(const CommonOptions& common) {
    const SearchSpace space = network_.load_space();
    const Genotype genotype = parse_genotype(genotype_, space);
    const LatencySetup setup{.space = space, .shape = network_.shape(), .batch = batch_, .device = device_};
    const NetworkConfig config{space, genotype, setup.shape};
    CostContext context = latency_context(setup);
    if (train_) context.metric = "training step";
    // Opened first: a wrong path is not found out after the work.
    std::optional<AtomicFile> trace, svg;
    if (!trace_.empty()) trace.emplace(trace_);
    if (!svg_.empty()) svg.emplace(svg_);

    ProgramStats stats;
    std::optional<MachinePeak> peak;
    const auto measure_peak = [&] {  // before and after: a machine is not at its best all the time
      if (device_.kind != DeviceKind::cpu) return;
      const MachinePeak now = measure_machine_peak(ThreadPool::global());
      peak = peak ? MachinePeak{std::max(peak->gflops, now.gflops), std::max(peak->copy_gbs, now.copy_gbs)}
                  : now;
    };
    measure_peak();
    const ProgramProfile p =
        train_ ? profile_training(config, common.seed, stats) : profile_inference(setup, genotype, stats);
    measure_peak();
    Json r{{"what", context.str()},
           {"genotype", to_text(genotype, space)},
           {"mode", train_ ? "training" : "inference"},
           {"batch", batch_},
           {"device", device_.str()},
           {"threads", ThreadPool::global().threads()},
           {"isa", to_string(current_cpu_isa())},
           {"commit", library_commit()},
           {"parameters", count_network(config).parameters},
           {"ops", stats.nodes},
           {"flops", stats.flops},
           {"bytes_moved", stats.bytes_moved},
           {"arena_bytes", stats.arena_bytes},
           {"value_bytes", stats.value_bytes},
           {"time", times_json(p)}};
    if (peak) {
      r["machine"] = {{"peak_gflops", peak->gflops}, {"copy_gbs", peak->copy_gbs}};
      r["roofline"] = floor_json(p, *peak);
    }
    if (trace) write(*trace, chrome_trace(p, "ladarts profile " + genotype_, r).dump(), r["trace"], trace_);
    if (svg) write(*svg, roofline_svg(p, *peak, svg_title(r)), r["svg"], svg_);
    r["by_op"] = group_json(p, peak, by_op);
    r["by_part"] = group_json(p, peak, by_part, true);
    r["by_role"] = group_json(p, peak, by_role);
    r["by_kernel"] = group_json(p, peak, by_kernel);
    if (!p.kernels.empty()) r["kernels"] = kernels_json(p);
    r["nodes"] = nodes_json(p, peak);
    return r;
  }

  std::string svg_title(const Json& r) const {
    return fmt::format("{}, {}, batch {}, {} threads, {}: {:.2f} ms", genotype_.substr(0, 40),
                       text_of(r["mode"]), batch_, r["threads"].get<int>(), text_of(r["isa"]),
                       r["time"]["whole_us"].get<double>() * 1e-3);
  }

  static void write(AtomicFile& file, const std::string& contents, Json& place, const std::string& path) {
    file.write(contents);
    file.write("\n");
    file.commit();
    place = path;
  }

  ProgramProfile profile_inference(const LatencySetup& setup, const Genotype& genotype, ProgramStats& stats) {
    InferenceNetwork network(setup, genotype);
    stats = network.stats();
    return profiled(network.program());
  }

  ProgramProfile profile_training(const NetworkConfig& network, uint64_t seed, ProgramStats& stats) {
    TrainConfig config;
    config.network = network;
    config.batch = batch_;
    config.drop_path = 0;
    config.seed = seed;
    config.device = device_;
    TrainSteps steps(config);  // its learning rate is 0: the weights stay as they are
    fill_batch(steps.batch, resolve(network.shape, network.space).classes, seed);
    stats = steps.program().stats();
    return profiled(steps.program());
  }

  ProgramProfile profiled(Program& program) const {
    ProfileOptions options{.repeats = repeats_, .kernels = device_.kind != DeviceKind::cpu};
    std::optional<SpeedProbe> probe;
    if (device_.kind == DeviceKind::cpu) {
      probe.emplace(ThreadPool::global());
      options.slowdown = [&] { return probe->slowdown(); };
    }
    Progress progress("profile", repeats_, {.unit = "pair"});
    options.progress = [&](int done) {
      if (interrupted()) throw Interrupted("interrupted; nothing was written");
      progress.update(done);
    };
    ProgramProfile p = profile_program(program, options);
    progress.finish();
    for (int i = 0; i < node_by_node_; ++i) {
      program.run_node_by_node();
      program.wait();
    }
    return p;
  }

  static std::string times_text(const Json& r) {
    const Json& t = r["time"];
    auto us = [&](const char* key) { return t[key].get<double>(); };
    std::string out = fmt::format(
        "{} ops, {:.3f} GFLOP, {:.1f} MB moved; planned {:.2f} MB in an arena of {:.2f} MB\n\n"
        "whole run         {:10.1f} us   median of {}, spread {}; best {:.1f}\n"
        "sum of its ops    {:10.1f} us   each timed alone, medians\n"
        "gap               {:10.1f} us   {} of the whole, outside of ops: median over pairs of runs\n"
        "timed run         {:10.1f} us   with a reading of the clock after each op, {:.1f} us of it\n",
        r["ops"].get<int>(), r["flops"].get<double>() * 1e-9, r["bytes_moved"].get<double>() * 1e-6,
        r["value_bytes"].get<double>() * 1e-6, r["arena_bytes"].get<double>() * 1e-6, us("whole_us"),
        t["repeats"].get<int>(), percent(us("whole_spread")), us("whole_best_us"), us("nodes_us"),
        us("gap_us"), percent(us("gap_us") / us("whole_us")), us("timed_us"), us("clock_us"));
    if (t.contains("kernels_us"))
      out += fmt::format(
          "its kernels       {:10.1f} us   as CUPTI saw them in runs without timers, sum of medians\n"
          "between kernels   {:10.1f} us   {} of the {:.1f} us from the first one's begin to the last one's "
          "end\n",
          us("kernels_us"), us("kernel_gap_us"), percent(us("kernel_gap_us") / us("kernel_span_us")),
          us("kernel_span_us"));
    if (t.contains("no_kernels"))
      out += fmt::format("single kernels are not known: {}\n", text_of(t["no_kernels"]));
    if (r.contains("roofline")) {
      const Json &f = r["roofline"], &m = r["machine"];
      out += fmt::format(
          "roofline          {:10.1f} us   {} of that speed; {:.1f} us bound by memory, {:.1f} by "
          "arithmetic\n"
          "                               at {:.0f} GFLOP/s and copies of {:.1f} GB/s, nothing in a cache\n",
          f["floor_us"].get<double>(), percent(f["share_of_floor"].get<double>(), 0),
          f["memory_bound_us"].get<double>(), f["compute_bound_us"].get<double>(),
          m["peak_gflops"].get<double>(), m["copy_gbs"].get<double>());
    }
    if (t["disturbed"].get<int>() > 0)
      out += fmt::format(
          "{} pairs ran while the machine was slowed{}\n", t["disturbed"].get<int>(),
          t["noisy"].get<bool>() ? " and count, since too few others were left: NOISY" : " and do not count");
    return out;
  }

  std::string genotype_, trace_, svg_;
  SearchProfileOptions search_;
  int batch_ = 0, repeats_ = 30, top_ = 10, node_by_node_ = 0;
  bool train_ = false;
  NetworkOptions network_;
  Device device_;
};

}  // namespace

std::unique_ptr<Command> make_profile_command() {
  return std::make_unique<ProfileCommand>();
}

}  // namespace ladarts
