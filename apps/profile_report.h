// A program's profile as JSON and as tables, for `ladarts profile` and `ladarts bench`.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/json_file.h"
#include "predictor/profile.h"

namespace ladarts {

// Where in a network a node stands, read from its scope: "cell3/node1/edge4/sep_conv_3x3/backward".
struct Place {
  std::string part;                     // "stem", "cell3", "head"; "other" outside of all
  int cell = -1, node = -1, edge = -1;  // -1: not inside of one
  std::string primitive;                // "sep_conv_3x3"; empty outside of edges
  bool backward = false;
  // What it serves: its primitive, or "preprocess", "sum", "concat", "stem", ...
  std::string role() const;
};
Place place_of(const std::string& scope);

// What a report says of a node besides its op: names a group.
using GroupKey = std::function<std::string(const NodeInfo&)>;
std::string by_op(const NodeInfo& node);
std::string by_part(const NodeInfo& node);  // in the order of the network
std::string by_role(const NodeInfo& node);
std::string by_kernel(const NodeInfo& node);  // whose kernel it has

// Arrays of {name, us, share, nodes, flops, bytes, gflops, gbs} and, where the machine's peaks are known,
// {floor_us, share_of_floor, bound}; share is of the sum of all nodes. Slowest first, or in order of
// appearance.
Json group_json(const ProgramProfile& profile, const std::optional<MachinePeak>& peak, const GroupKey& key,
                bool in_order = false);
// One object for each node, in order: as above with op, where, cell, node, edge, primitive, spread, inputs
// and outputs (shapes), scratch_bytes, kernel, start_us (of the run that the trace shows), and where they
// were traced kernels: {name, us, start_us, grid, block}.
Json nodes_json(const ProgramProfile& profile, const std::optional<MachinePeak>& peak);
// Kernels by name and launch, slowest first: {name, launches, us, share (of all kernels), grid, block (of the
// slowest launch), registers, shared_bytes, local_bytes}. Empty where none were traced.
Json kernels_json(const ProgramProfile& profile);
std::string kernels_table(const Json& kernels, size_t limit);
// {whole_us, ..., gap_us, clock_us, repeats, disturbed, noisy}, and where kernels were asked for {kernels_us,
// kernel_span_us, kernel_gap_us} or {no_kernels}.
Json times_json(const ProgramProfile& profile);
// {floor_us, share_of_floor, memory_bound_us, compute_bound_us}: the whole against the sum of its nodes'
// floors.
Json floor_json(const ProgramProfile& profile, const MachinePeak& peak);

// Of group_json(), or of nodes_json() with `where` as a column; at most `limit` rows.
std::string profile_table(const std::string& title, const Json& rows, size_t limit = size_t(-1));

}  // namespace ladarts
