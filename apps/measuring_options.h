// Options and helpers of commands that time networks.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "apps/options.h"
#include "nas/architecture_measuring.h"

namespace ladarts {

// Limits of the timing of one network, and what its threads and caches are like.
void add_timing_options(CLI::App& app, LatencySetup& setup);

// As nas/architecture_measuring.h has it, with progress on the terminal. Throws Interrupted.
std::vector<Timing> measure_in_turn(const LatencySetup& setup, std::span<const Genotype> genotypes,
                                    int rounds, const std::string& title);

// Reads what network_text() wrote. Throws Error for another text.
NetworkShape parse_network_text(const std::string& text, int image);

}  // namespace ladarts
