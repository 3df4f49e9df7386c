// One run of a program as Chrome trace events ("Trace Event Format", JSON object form), which ui.perfetto.dev
// and chrome://tracing open.
#pragma once

#include <string>

#include "core/json_file.h"
#include "predictor/profile.h"

namespace ladarts {

// Times are microseconds from the start of the run. One track holds the nodes as complete events ("X") with
// shapes, FLOPs and bytes as arguments, inside of slices for the parts of their scope (cell, node, edge,
// primitive): consecutive nodes that share a part share its slice, and a parent precedes its children. A
// second track shows a whole run without timers. Where kernels
// were traced, a third track shows them. Counters give GFLOP/s and GB/s. `about` goes into
// "otherData".
Json chrome_trace(const ProgramProfile& profile, const std::string& title, const Json& about);

}  // namespace ladarts
