// Options and helpers of commands that time networks.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "apps/options.h"
#include "nas/architecture_measuring.h"
#include "nas/meters.h"

namespace ladarts {

// Limits of the timing of one network, and what its threads and caches are like.
void add_timing_options(CLI::App& app, LatencySetup& setup);

// --metric, one of those that ladarts measures itself.
void add_metric_option(CLI::App& app, std::string& metric);

// "i/n" -> shard and shards of the options. Throws Error for another text.
void read_shard(const std::string& text, MeasuringOptions& options);

// As nas/meters.h has it, with progress on the terminal. Throws Interrupted.
std::vector<Measurement> measure_in_turn(const std::string& metric, const LatencySetup& setup,
                                         std::span<const Genotype> genotypes, int rounds,
                                         const std::string& title, double known_probe_ms = 0);

// "measured_ms": names in JSON carry the unit.
std::string with_unit(const std::string& name, const CostContext& context);
// Decimals by size: 12.346 ms, 3.350 million, 0.01235 mJ.
std::string cost_text(double cost);

// Reads what network_text() wrote. Throws Error for another text.
NetworkShape parse_network_text(const std::string& text, int image);

}  // namespace ladarts
