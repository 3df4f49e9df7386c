#include <sys/resource.h>

#include <algorithm>
#include <map>

#include "apps/bench_ops.h"
#include "apps/command.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "apps/profile_report.h"
#include "apps/random_inputs.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/philox.h"
#include "nas/architecture_measuring.h"
#include "nas/encoding.h"
#include "nas/sampler.h"
#include "nas/search_steps.h"
#include "nas/train_steps.h"
#include "predictor/mlp_fit_step.h"

namespace ladarts {
namespace {

double peak_rss_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

class BenchCommand : public Command {
 public:
  std::string name() const override { return "bench"; }
  std::string summary() const override {
    return "time the steps of a search, a network or a predictor, or single ops";
  }
  std::string example() const override {
    return "ladarts bench step --partial-k 4 --channels 16 --layers 8 --batch 64     # a search's two steps\n"
           "  ladarts bench train --genotype DARTS_V2 --batch 96\n"
           "  ladarts bench infer --genotype PC_DARTS_cifar --batch 1 --slowest 10\n"
           "  ladarts bench fit --batch 64\n"
           "  ladarts bench ops --op conv2d,depthwise --channels 16,64 --batch 1,32\n"
           "  ladarts bench step --device cuda --kernels fastest     # cuDNN's and cuBLAS' kernels where "
           "they win\n\n"
           "These times are for comparing versions, machines and programs. ladarts profile says why one "
           "network\n"
           "takes its time, place by place.";
  }

  void declare(CLI::App& app) override {
    app.add_option(
           "what", what_,
           "step: weight and architecture step of a search; train: a training step of a network; infer: its "
           "inference; fit: a step of fitting the paper's predictor")
        ->check(CLI::IsMember({"step", "train", "infer", "fit"}));
    app.add_option("--batch", batch_,
                   "images (fit: rows) at once; 0: 64 for step and fit, 96 for train, 1 for infer")
        ->check(CLI::Range(0, 65536))
        ->option_text("N [0]");
    app.add_option("--genotype", genotype_, std::string("train and infer: ") + kGenotypeHelp)
        ->option_text("G [DARTS_V2]");
    app.add_option("--partial-k", partial_k_, "step: 1 is DARTS, 4 is PC-DARTS on CIFAR")
        ->check(CLI::PositiveNumber)
        ->option_text("K [1]");
    app.add_flag("--unfused", unfused_, "step: one op for each layer of the supernet");
    app.add_option("--repeats", repeats_, "timed runs of each program")
        ->check(CLI::Range(1, 100000))
        ->option_text(fmt::format("N [{}]", repeats_));
    app.add_option("--slowest", slowest_, "also list this many of the slowest nodes")
        ->check(CLI::NonNegativeNumber)
        ->option_text("N [0]");
    add_network_options(app, network_);
    ops_app_ =
        app.add_subcommand("ops", "time single ops over a grid of shapes; see ladarts bench ops --help");
    ops_app_->fallthrough();  // --json, --threads, ... are those of bench
    ops_.declare(*ops_app_);
    app.callback([this, &app] {
      if (!ops_app_->parsed() && what_.empty())
        throw CLI::RequiredError("one of step, train, infer, fit, ops");
      if (!ops_app_->parsed()) return;
      for (const CLI::Option* o : app.get_options())  // of bench itself, where ops does not know them
        if (o->count() > 0 && o->get_group() != "Common options")
          throw CLI::ExcludesError("ops", o->get_name());
    });
  }

  Json run(const CommonOptions& common) override {
    if (ops_app_->parsed()) return ops_.run(common);
    device_ = Device::parse(common.device);
    seed_ = common.seed;
    programs_ = Json::object();
    require(what_ == "step" || (partial_k_ == 0 && !unfused_),
            "[bench] --partial-k and --unfused are about a supernet: leave them out, or bench step");
    require(what_ == "train" || what_ == "infer" || genotype_.empty(),
            "[bench] {} has no --genotype: leave it out, or bench train or infer", what_);
    require(what_ != "fit" || (network_.channels == 0 && network_.layers == 0),
            "[bench] a predictor has no --channels and no --layers: leave them out");
    if (partial_k_ == 0) partial_k_ = 1;
    if (genotype_.empty()) genotype_ = "DARTS_V2";
    if (what_ == "step") {
      search();
    } else if (what_ == "train") {
      train();
    } else if (what_ == "infer") {
      infer();
    } else {
      fit();
    }
    Json result{{"what", what_},
                {"device", device_.str()},
                {"threads", ThreadPool::global().threads()},
                {"isa", to_string(current_cpu_isa())},
                {"batch", batch_},
                {"repeats", repeats_},
                {"network", network_json_},
                {"peak_rss_mib", peak_rss_mib()}};
    if (device_.kind == DeviceKind::cpu) {
      // After the programs: what it allocates must not count among their memory.
      const MachinePeak peak = measure_machine_peak(ThreadPool::global());
      result["peak_gflops"] = peak.gflops;
      result["copy_gbs"] = peak.copy_gbs;
      add_floors(peak);
    }
    result["programs"] = programs_;
    return result;
  }

  std::string text(const Json& r) const override {
    if (ops_app_->parsed()) return ops_.text(r);
    std::string out =
        fmt::format("{}, batch {}; {}, {} threads, {}; peak resident {:.0f} MiB\n", described(r["network"]),
                    r["batch"].get<int>(), text_of(r["device"]), r["threads"].get<int>(), text_of(r["isa"]),
                    r["peak_rss_mib"].get<double>());
    if (r.contains("peak_gflops"))
      out += fmt::format("this machine at most: {:.0f} GFLOP/s, copies {:.1f} GB/s\n",
                         r["peak_gflops"].get<double>(), r["copy_gbs"].get<double>());
    for (const auto& [name, p] : r["programs"].items()) out += "\n" + program_text(name, p);
    return out;
  }

 private:
  void search() {
    if (batch_ == 0) batch_ = 64;
    SearchStepConfig config;
    config.supernet = {.space = network_.load_space(), .shape = network_.shape()};
    if (config.supernet.shape.channels == 0) config.supernet.shape.channels = 16;
    if (config.supernet.shape.layers == 0) config.supernet.shape.layers = 8;
    config.supernet.partial_k = partial_k_;
    config.supernet.edge_normalisation = partial_k_ > 1;
    config.supernet.fused = !unfused_;
    config.batch = batch_;
    config.seed = seed_;
    config.device = device_;
    SearchSteps steps(config, nullptr);
    const NetworkShape shape = resolve(config.supernet.shape, config.supernet.space);
    fill_batch(steps.training_batch(), shape.classes, seed_);
    fill_batch(steps.validation_batch(), shape.classes, seed_);
    describe(config.supernet.space, shape, steps.weights().count());
    network_json_["partial_k"] = partial_k_;
    network_json_["fused"] = !unfused_;
    measure("weight_step", steps.weight_program());
    measure("architecture_step", steps.architecture_program());
  }

  void train() {
    if (batch_ == 0) batch_ = 96;
    TrainConfig config;
    config.network = network_config();
    config.batch = batch_;
    config.drop_path = 0;
    config.seed = seed_;
    config.device = device_;
    TrainSteps steps(config);
    const NetworkShape shape = resolve(config.network.shape, config.network.space);
    fill_batch(steps.batch, shape.classes, seed_);
    describe(config.network.space, shape, steps.params.count());
    network_json_["genotype"] = genotype_;
    measure("training_step", steps.program());
  }

  void infer() {
    if (batch_ == 0) batch_ = 1;
    const NetworkConfig config = network_config();
    const LatencySetup setup{
        .space = config.space, .shape = config.shape, .batch = batch_, .device = device_};
    InferenceNetwork network(setup, config.genotype);
    describe(config.space, resolve(config.shape, config.space), count_network(config).parameters);
    network_json_["genotype"] = genotype_;
    measure("inference", network.program());
  }

  void fit() {
    if (batch_ == 0) batch_ = 64;
    const SearchSpace space = network_.load_space();
    const MlpOptions options = MlpOptions::paper();
    MlpRegressor model(encoding_size(space), options, device_);
    MlpFitStep step(model, options, batch_);
    const ArchitectureSampler sampler(space, seed_);
    Random random(seed_, 0x666974);  // stream "fit"
    for (const MlpFitStep::Batch& b : step.batches) {
      std::vector<float> features, costs;
      for (int row = 0; row < batch_; ++row) {
        const std::vector<float> code = encode(sampler.at(uint64_t(row) % sampler.size()), space);
        features.insert(features.end(), code.begin(), code.end());
        costs.push_back(random.uniform(1, 2));
      }
      b.features.upload(std::span<const float>(features));
      b.costs.upload(std::span<const float>(costs));
    }
    step.learning_rate.set(options.learning_rate);
    network_json_ = {{"space", space.name}, {"features", model.features()}, {"hidden", options.hidden}};
    measure("fit_step", step.program());
  }

  NetworkConfig network_config() const {
    const SearchSpace space = network_.load_space();
    const Genotype genotype = parse_genotype(genotype_, space);
    validate(genotype, space);
    return {space, genotype, network_.shape()};
  }

  void describe(const SearchSpace& space, const NetworkShape& shape, int64_t parameters) {
    network_json_ = {{"space", space.name},      {"channels", shape.channels}, {"layers", shape.layers},
                     {"classes", shape.classes}, {"image", shape.image},       {"parameters", parameters}};
  }

  void measure(const char* name, Program& program) {
    const ProgramProfile p =
        profile_program(program, {.warmup_runs = 1, .repeats = repeats_, .progress = [](int) {
                                    if (interrupted()) throw Interrupted("stopped; nothing was written");
                                  }});
    const ProgramStats& stats = program.stats();
    Json slowest = nodes_json(p, {});
    std::stable_sort(slowest.begin(), slowest.end(), [](const Json& a, const Json& b) {
      return a["us"].get<double>() > b["us"].get<double>();
    });
    slowest.erase(slowest.begin() + std::min<ptrdiff_t>(slowest_, ptrdiff_t(slowest.size())), slowest.end());
    programs_[name] = {{"min_ms", p.whole_best_us * 1e-3},
                       {"median_ms", p.whole_us * 1e-3},
                       {"ops", stats.nodes},
                       {"arena_mib", double(stats.arena_bytes) / (1 << 20)},
                       {"planned_mib", double(stats.value_bytes) / (1 << 20)},
                       {"gflop", stats.flops * 1e-9},
                       {"gbytes_moved", stats.bytes_moved * 1e-9},
                       {"by_op", in_milliseconds(group_json(p, {}, by_op))},
                       {"by_kernel", in_milliseconds(group_json(p, {}, by_kernel), "kernel")},
                       {"slowest", in_milliseconds(slowest)}};
    profiles_[name] = p;
  }

  // The fields of a step's report, in its units; `key` says what a row is of.
  static Json in_milliseconds(const Json& rows, const char* key = "op") {
    Json list = Json::array();
    for (const Json& r : rows) {
      Json j{{key, r["name"]}, {"ms", r["us"].get<double>() * 1e-3}};
      for (const char* field : {"nodes", "where"})
        if (r.contains(field)) j[field] = r[field];
      j["gflop"] = r["flops"].get<double>() * 1e-9;
      j["gbytes"] = r["bytes"].get<double>() * 1e-9;
      list.push_back(std::move(j));
    }
    return list;
  }

  void add_floors(const MachinePeak& peak) {
    for (auto& [name, p] : programs_.items()) {
      const double floor_ms = floor_json(profiles_[name], peak)["floor_us"].get<double>() * 1e-3;
      p["floor_ms"] = floor_ms;
      p["share_of_floor"] = floor_ms / p["min_ms"].get<double>();
    }
  }

  static std::string program_text(const std::string& name, const Json& p) {
    std::string title = name;
    std::replace(title.begin(), title.end(), '_', ' ');
    std::string out = fmt::format(
        "{}: {:.2f} ms at best, median {:.2f}; {} ops, arena {:.0f} MiB for {:.0f} MiB of values\n{:.2f} "
        "GFLOP, {:.2f} GB moved: {:.0f} GFLOP/s, {:.1f} GB/s\n",
        title, p["min_ms"].get<double>(), p["median_ms"].get<double>(), p["ops"].get<int>(),
        p["arena_mib"].get<double>(), p["planned_mib"].get<double>(), p["gflop"].get<double>(),
        p["gbytes_moved"].get<double>(), p["gflop"].get<double>() / p["min_ms"].get<double>() * 1e3,
        p["gbytes_moved"].get<double>() / p["min_ms"].get<double>() * 1e3);
    if (p.contains("floor_ms"))
      out += fmt::format("the machine's peaks allow {:.2f} ms were nothing cached: {} of that speed\n",
                         p["floor_ms"].get<double>(), percent(p["share_of_floor"].get<double>()));
    out += "\n" + node_table({"op", "ms", "nodes", "GFLOP/s", "GB/s"}, p["by_op"]);
    if (p["by_kernel"].size() > 1)
      out += "\n" + node_table({"kernels", "ms", "nodes", "GFLOP/s", "GB/s"}, p["by_kernel"]);
    if (!p["slowest"].empty())
      out += "\n" + node_table({"slowest", "ms", "where", "GFLOP/s", "GB/s"}, p["slowest"]);
    return out;
  }

  static std::string node_table(const std::vector<std::string>& header, const Json& list) {
    std::vector<std::vector<std::string>> rows;
    for (const Json& n : list) {
      const double ms = n["ms"].get<double>();
      rows.push_back({text_of(n.begin().value()), fmt::format("{:.3f}", ms),
                      n.contains("where") ? text_of(n["where"]) : std::to_string(n["nodes"].get<int>()),
                      fmt::format("{:.1f}", n["gflop"].get<double>() / ms * 1e3),
                      fmt::format("{:.1f}", n["gbytes"].get<double>() / ms * 1e3)});
    }
    return table(header, rows);
  }

  std::string what_, genotype_;
  int batch_ = 0, partial_k_ = 0, repeats_ = 5, slowest_ = 0;  // 0: not given
  bool unfused_ = false;
  BenchOps ops_;
  CLI::App* ops_app_ = nullptr;
  NetworkOptions network_;
  Device device_;
  uint64_t seed_ = 0;
  Json network_json_, programs_;
  std::map<std::string, ProgramProfile> profiles_;  // of each of programs_
};

}  // namespace

std::unique_ptr<Command> make_bench_command() {
  return std::make_unique<BenchCommand>();
}

}  // namespace ladarts
