#include "nas/architecture_measuring.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <set>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/philox.h"
#include "nas/encoding.h"
#include "nas/network.h"
#include "nas/sampler.h"
#include "predictor/machine.h"
#include "predictor/speed_probe.h"

namespace ladarts {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ThreadPool& pool_of(const LatencySetup& setup) {
  return setup.pool ? *setup.pool : ThreadPool::global();
}

Storage image_storage(const LatencySetup& setup) {
  const int64_t side = resolve(setup.shape, setup.space).image;
  return Storage::create(Shape{setup.batch, 3, side, side}, DType::f32, setup.device);
}

Program compile_inference(const LatencySetup& setup, const Genotype& genotype, const Storage& images,
                          Storage& logits) {
  Graph graph(setup.device);
  ParameterSet folded(0, setup.device), unused(0, setup.device);
  const Network network =
      record_network(graph, {.space = setup.space, .genotype = genotype, .shape = setup.shape},
                     NetworkMode::inference, folded, unused, graph.leaf(images, "images"));
  logits = graph.bind_output(network.logits);
  folded.values();
  return compile(graph, {.pool = &pool_of(setup)});
}

// Tells when the CPU is disturbed; nothing tells it of a GPU.
std::unique_ptr<SpeedProbe> make_probe(const LatencySetup& setup) {
  return setup.device.kind == DeviceKind::cpu ? std::make_unique<SpeedProbe>(pool_of(setup)) : nullptr;
}

// Runs that `probe` shows to be disturbed are left out.
Timing measure_network(const LatencySetup& setup, InferenceNetwork& network, SpeedProbe* probe) {
  MeasureOptions options = setup.measure;
  if (probe) options.slowdown = [&] { return probe->slowdown(); };
  return measure(
      [&] {
        network.run();
        network.wait();
      },
      options);
}

double median_of(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return 0.5 * (v[(v.size() - 1) / 2] + v[v.size() / 2]);
}

// One run over a range of samples.
class ArchitectureMeasuring {
 public:
  ArchitectureMeasuring(MeasurementStore& store, const LatencySetup& setup, const MeasuringOptions& options)
      : store_(store),
        setup_(setup),
        options_(options),
        sampler_(setup.space, options.seed),
        probe_(make_probe(setup)) {
    require(options.begin >= 0 && options.count >= 1,
            "[measure] samples from {} on, {} of them: nothing to do", options.begin, options.count);
    require(uint64_t(options.begin + options.count) <= sampler_.size(),
            "[measure] samples {} to {} of space '{}', which has {} different architectures", options.begin,
            options.begin + options.count - 1, setup.space.name, sampler_.size());
    context_ = latency_context(setup);
    present_ = store.architectures({.context = context_, .status = "ok", .replica = 0});
  }

  MeasuringSummary run() {
    const Clock::time_point start = Clock::now();
    summary_.requested = options_.count;
    for (int64_t i = 0; i < options_.count; ++i) {
      if (interrupted()) {
        summary_.interrupted = true;
        break;
      }
      sample(i);
    }
    summary_.seconds = seconds_since(start);
    summary_.median_spread = median_of(spreads_);
    find_noise_floor();
    return summary_;
  }

 private:
  void sample(int64_t i) {
    const int64_t index = options_.begin + i;
    const Genotype genotype = sampler_.at(uint64_t(index));
    const std::string text = architecture_text(genotype, setup_.space);
    if (i == 0) reference_ = text;
    Measurement row;
    if (present_.count(text)) {
      ++summary_.present;
      row.architecture = text;
    } else {
      row = measure_row(genotype, index);
      store_.insert(row);
      present_.insert(text);
      const int64_t done = ++(row.status == "ok" ? summary_.measured : summary_.failed);
      if (row.status == "ok") spreads_.push_back(row.relative_spread);
      summary_.noisy += row.noisy;
      if (options_.reference_every > 0 && done % options_.reference_every == 0) measure_reference();
    }
    if (options_.progress) options_.progress(i + 1, options_.count, row);
  }

  // Architectures that cannot run, for want of memory for example, are stored with the reason.
  Measurement measure_row(const Genotype& genotype, int64_t index) {
    Measurement row;
    row.context = context_;
    row.architecture = architecture_text(genotype, setup_.space);
    row.seed = options_.seed;
    row.sample_index = index;
    row.commit = library_commit();
    const Machine machine = this_machine();
    row.governor = machine.governor;
    row.clock_mhz = machine.clock_mhz;
    row.hostname = machine.hostname;
    try {
      time_into(row, genotype);
    } catch (const Error& e) {
      fail_row(row, e.what());
    } catch (const std::bad_alloc&) {
      fail_row(row, "out of memory");
    }
    return row;
  }

  void time_into(Measurement& row, const Genotype& genotype) {
    const Clock::time_point start = Clock::now();
    InferenceNetwork network(setup_, genotype);
    summary_.setup_seconds += seconds_since(start);
    const Timing t = measure_network(setup_, network, probe_.get());
    row.median = t.median_ms;
    row.relative_spread = t.relative_spread;
    row.min = t.min_ms;
    row.mean = t.mean_ms;
    row.repeats = t.repeats;
    row.warmup_runs = t.warmup_runs;
    row.disturbed_runs = t.disturbed_runs;
    row.noisy = t.noisy;
  }

  // Where not even one has run, something is wrong with all of them.
  void fail_row(Measurement& row, const std::string& reason) {
    require(summary_.measured + summary_.present > 0, "[measure] sample {}: {}", row.sample_index, reason);
    row.status = reason;
  }

  void measure_reference() {
    const auto before = store_.rows({.context = context_, .architecture = reference_});
    if (before.empty()) return;
    Measurement row = measure_row(parse_genotype(reference_, setup_.space), options_.begin);
    for (const Measurement& m : before) row.replica = std::max(row.replica, m.replica + 1);
    store_.insert(row);
  }

  void find_noise_floor() {
    std::vector<double> medians;
    for (const Measurement& m :
         store_.rows({.context = context_, .architecture = reference_, .status = "ok"}))
      medians.push_back(m.median);
    summary_.replicas = int64_t(medians.size());
    if (medians.size() >= 3) summary_.noise_floor = summarise_times(medians).relative_spread;
  }

  MeasurementStore& store_;
  const LatencySetup& setup_;
  const MeasuringOptions& options_;
  ArchitectureSampler sampler_;
  std::unique_ptr<SpeedProbe> probe_;
  CostContext context_;
  std::set<std::string> present_;
  std::string reference_;
  std::vector<double> spreads_;
  MeasuringSummary summary_;
};

}  // namespace

std::string network_text(const NetworkShape& shape, const SearchSpace& space) {
  const NetworkShape s = resolve(shape, space);
  return fmt::format("channels={} layers={} classes={} stem={}", s.channels, s.layers, s.classes,
                     s.stem == Stem::imagenet ? "imagenet" : "cifar");
}

CostContext latency_context(const LatencySetup& setup) {
  require(setup.batch >= 1, "[measure] a batch of {} images", setup.batch);
  CostContext context;
  context.space = setup.space.id();
  context.network = network_text(setup.shape, setup.space);
  context.batch = setup.batch;
  context.image_size = resolve(setup.shape, setup.space).image;
  describe_device(context, setup.device, pool_of(setup).threads());
  return context;
}

InferenceNetwork::InferenceNetwork(const LatencySetup& setup, const Genotype& genotype)
    : images_(image_storage(setup)), program_(compile_inference(setup, genotype, images_, logits_)) {
  Random random(0, 0x696d61676573);  // the stream "images"
  std::vector<float> pixels(size_t(images_.shape().elements()));
  for (float& v : pixels) v = random.uniform(-1.7f, 1.7f);  // deviation 1, as normalised images
  images_.upload(std::span<const float>(pixels));
}

Timing measure_latency(const LatencySetup& setup, const Genotype& genotype) {
  InferenceNetwork network(setup, genotype);
  const std::unique_ptr<SpeedProbe> probe = make_probe(setup);
  return measure_network(setup, network, probe.get());
}

std::optional<std::vector<Timing>> measure_in_turn(
    const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest_ms)>& progress) {
  std::vector<std::unique_ptr<InferenceNetwork>> networks;
  for (const Genotype& genotype : genotypes)
    networks.push_back(std::make_unique<InferenceNetwork>(setup, genotype));
  struct Rounds {
    std::vector<double> medians;
    int disturbed = 0, noisy = 0;
  };
  std::vector<Rounds> found(networks.size());
  const std::unique_ptr<SpeedProbe> probe = make_probe(setup);
  int64_t done = 0;
  for (int round = 0; round < rounds; ++round)
    for (size_t i = 0; i < networks.size(); ++i) {
      if (interrupted()) return std::nullopt;
      const Timing t = measure_network(setup, *networks[i], probe.get());
      found[i].medians.push_back(t.median_ms);
      found[i].disturbed += t.disturbed_runs;
      found[i].noisy += t.noisy;
      if (progress) progress(++done, t.median_ms);
    }
  std::vector<Timing> timings;
  for (const Rounds& r : found) {
    Timing t = summarise_times(r.medians);
    t.disturbed_runs = r.disturbed;
    t.noisy = 2 * r.noisy > rounds;  // so the median round is one of them
    timings.push_back(t);
  }
  return timings;
}

MeasuringSummary measure_architectures(MeasurementStore& store, const LatencySetup& setup,
                                       const MeasuringOptions& options) {
  return ArchitectureMeasuring(store, setup, options).run();
}

std::string architecture_text(const Genotype& genotype, const SearchSpace& space) {
  return to_text(genotype.canonical(), space);
}

Dataset measured_dataset(const std::vector<Measurement>& rows, const SearchSpace& space) {
  Dataset data;
  std::set<std::string> seen;
  for (const Measurement& row : rows) {
    require(row.context == rows[0].context,
            "[measurements] rows of different kinds cannot be fitted together: {}; and {}",
            rows[0].context.str(), row.context.str());
    require(row.context.space == space.id(), "[measurements] are of space '{}', not of '{}'",
            row.context.space, space.id());
    if (row.status != "ok" || !seen.insert(row.architecture).second) continue;
    data.features.append(encode(parse_genotype(row.architecture, space), space));
    data.costs.push_back(row.median);
  }
  return data;
}

}  // namespace ladarts
