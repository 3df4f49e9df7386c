// Which nodes of a program run at the same time. Small nodes of a network that computes one image spend much
// of their time on forking, joining and the borders between threads; those that do not depend on each other
// are better off side by side, each on one thread.
#pragma once

#include <vector>

#include "core/graph.h"

namespace ladarts {

// Nodes to run at the same time: one on all threads, or as many as there are threads on one each.
using NodeGroup = std::vector<size_t>;

// All of `nodes`, which are given in an order that works, in such an order by groups. Groups of several are
// made where no node of `nodes` changes a value that exists already.
std::vector<NodeGroup> schedule(const Graph& graph, const std::vector<size_t>& nodes, int threads);

}  // namespace ladarts
